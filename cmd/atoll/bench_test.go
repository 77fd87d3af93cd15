package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// BenchmarkRun is the README's first command from start to end: the whole of
// three-regions, from an empty folder to an empty folder. The binaries must
// be at hand (`atoll binaries`); finding them is part of the run, making them
// is not.
func BenchmarkRun(b *testing.B) {
	atoll := filepath.Join(b.TempDir(), "atoll")
	if out, err := exec.Command("go", "build", "-o", atoll, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var wall, up, suite, peak, placed []float64
	for b.Loop() {
		dir := b.TempDir()
		cmd := exec.Command(atoll, "run", "three-regions", "--reports", dir, "--quiet", "--seed", "1")
		cmd.Env = append(os.Environ(), "ATOLL_HOME="+filepath.Join(dir, "home"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("run: %v\n%s", err, stderr.Bytes())
		}
		wall = append(wall, time.Since(start).Seconds())
		data, err := os.ReadFile(filepath.Join(dir, "results.json"))
		if err != nil {
			b.Fatal(err)
		}
		var r suites.Result
		if err := json.Unmarshal(data, &r); err != nil {
			b.Fatal(err)
		}
		up, suite = append(up, r.Up.Seconds()), append(suite, r.Elapsed.Seconds())
		// The largest of the children that were waited for is not ours; the
		// command's own peak is.
		peak = append(peak, peakMiB(cmd.ProcessState.SysUsage().(*syscall.Rusage)))
		for _, s := range r.Scenarios {
			if s.Suite != "placement" {
				continue
			}
			for _, c := range s.Checks {
				if c.Elapsed > 0 {
					placed = append(placed, c.Elapsed.Seconds())
				}
			}
		}
	}
	b.ReportMetric(0, "ns/op") // a mean: the medians below say more
	b.ReportMetric(median(wall), "s/run")
	b.ReportMetric(median(up), "s/up")
	b.ReportMetric(median(suite), "s/suites")
	b.ReportMetric(median(peak), "MiB-peak")
	if len(placed) > 0 {
		b.ReportMetric(slices.Max(placed), "s/placement-max")
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
