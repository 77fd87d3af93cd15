package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites/agreement"
)

// What an engine answered is kept in a folder that need not be there yet, and
// read again; a file that is none is told by its name.
func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "reports")
	if err := keepRecord(dir, policiesName, &agreement.Record{Engine: "builtin", Seed: 7}); err != nil {
		t.Fatal(err)
	}
	r, err := readRecord[agreement.Record](dir, policiesName)
	if err != nil || r.Engine != "builtin" || r.Seed != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.WriteFile(filepath.Join(dir, policiesName), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = readRecord[agreement.Record](dir, policiesName)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, policiesName)) {
		t.Errorf("no JSON: %v", err)
	}
	if got := noRecord(&reports.Cell{Provider: "builtin"}, err).Error(); !strings.Contains(got, "engine builtin: "+dir) {
		t.Errorf("a run that passed: %s", got)
	}
	if got := noRecord(&reports.Cell{Provider: "builtin", Reason: "no memory"}, err).Error(); got != "engine builtin: no memory" {
		t.Errorf("a run that failed: %s", got)
	}
}
