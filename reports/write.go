package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/atoll-dev/atoll/suites"
)

// The names of the reports in their folder.
const (
	junitName   = "junit.xml"
	resultsName = "results.json"
	htmlName    = "report.html"
)

// Write writes junit.xml, results.json and report.html into a folder, which
// it makes. The bundle is the name of the failure bundle in that folder, for
// report.html to link to; empty if there is none.
func Write(dir string, r *suites.Result, bundle string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{junitName, func(w io.Writer) error { return WriteJUnit(w, r) }},
		{resultsName, func(w io.Writer) error { return WriteJSON(w, r) }},
		{htmlName, func(w io.Writer) error { return WriteHTML(w, r, bundle) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes a result as JSON. Durations are nanoseconds.
func WriteJSON(w io.Writer, r *suites.Result) error { return writeIndented(w, r) }

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
