package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-dev/atoll/suites"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

// example is a run with every outcome in it.
func example(t *testing.T) *suites.Result {
	t.Helper()
	data, err := os.ReadFile("testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	var r suites.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// inverted is the example as an inverted run: one scenario failed for the
// injected cause, one passed all the same, one failed for another reason.
func inverted(t *testing.T) *suites.Result {
	t.Helper()
	r := example(t)
	r.Inverted = true
	r.Scenarios = r.Scenarios[:3]
	r.Scenarios[0].Outcome, r.Scenarios[0].Inverted = suites.Failed, "link eu-west↔us-west cut"
	r.Scenarios[0].Reason = "round trip eu→us: expected 140ms ± 4.8ms, saw none; in force: link eu-west↔us-west cut"
	r.Scenarios[1].Inverted = "no policy"
	r.Scenarios[1].Reason = "timed out"
	r.Scenarios[2].Inverted = "remote secrets absent"
	return r
}

func TestSummary(t *testing.T) {
	var b strings.Builder
	if err := Summary(&b, example(t), SummaryOptions{Reports: "out", Bundle: "bundle.tar"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.txt", b.String())

	b.Reset()
	if err := Summary(&b, inverted(t), SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary-inverted.txt", b.String())

	b.Reset()
	r := example(t)
	r.Invalid = "calibration before the suites: eu→us: median 300ms, configured 140ms ± 4.8ms"
	r.Calibration[2].OK = false
	r.Scenarios = nil
	if err := Summary(&b, r, SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary-invalid.txt", b.String())
}

func TestSummaryKeepsControlCharactersOffTheTerminal(t *testing.T) {
	r := example(t)
	r.Scenarios[1].Checks[6].Seen = "x\x1b[2J\r\nforged line"
	var b strings.Builder
	if err := Summary(&b, r, SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\r") || !strings.Contains(b.String(), "forged line") {
		t.Errorf("%q", b.String())
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJUnit(&b, example(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "junit.xml", b.String())

	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 7 || got.Failures != 1 || got.Errors != 1 || got.Skipped != 1 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped", got.Tests, got.Failures, got.Errors, got.Skipped)
	}
}

func TestJUnitOfAnInvertedRun(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJUnit(&b, inverted(t)); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	failed := map[string]bool{}
	for _, s := range got.Suites {
		for _, c := range s.Cases {
			failed[c.Name] = c.Failure != nil
		}
	}
	if want := map[string]bool{"calibration": false, "peering": false, "placement": true, "traffic": true}; !cmp.Equal(want, failed) {
		t.Errorf("failures: %v, want %v", failed, want)
	}
}

func TestJUnitStaysXML(t *testing.T) {
	r := example(t)
	r.Topology = `<&"'>`
	r.Scenarios[1].Name = "a\x00b\x1b]]>"
	r.Scenarios[1].Reason = "bytes \xff\xfe & <tags>"
	var b bytes.Buffer
	if err := WriteJUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(b.Bytes(), &junitSuites{}); err != nil {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	want := example(t)
	if err := Write(dir, want, "bundle.tar"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{junitName, resultsName, htmlName} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, resultsName))
	if err != nil {
		t.Fatal(err)
	}
	var got suites.Result
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Topology != want.Topology || len(got.Scenarios) != len(want.Scenarios) || got.Plan.Timers != want.Plan.Timers {
		t.Error("results.json does not hold the result")
	}
	// And a report made from it says the same.
	var first, second bytes.Buffer
	if err := WriteHTML(&first, want, ""); err != nil {
		t.Fatal(err)
	}
	if err := WriteHTML(&second, &got, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("a report made from results.json differs")
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 500: "500ns", 250 * time.Microsecond: "250µs", 1210 * time.Microsecond: "1.21ms", 140 * time.Millisecond: "140ms",
		2 * time.Second: "2s", 3456 * time.Millisecond: "3.5s", 345 * time.Second: "5m45s", 2 * time.Hour: "2h00m", -time.Second: "-1s",
		59990 * time.Millisecond: "1m00s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	got := shellQuote([]string{"atoll", "run", "my file.yaml", "--only", "a'b", "", "$HOME", "x=1"})
	if want := `atoll run 'my file.yaml' --only 'a'\''b' '' '$HOME' x=1`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
