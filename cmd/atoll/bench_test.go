package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		most := watchMemory(cmd.Process.Pid)
		if err := cmd.Wait(); err != nil {
			b.Fatalf("run: %v\n%s", err, stderr.Bytes())
		}
		peak = append(peak, most())
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
	b.ReportMetric(median(peak), "MiB-anon-peak")
	if len(placed) > 0 {
		b.ReportMetric(slices.Max(placed), "s/placement-max")
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// watchMemory samples a process's memory until what it returns is called,
// which tells the most it saw.
func watchMemory(pid int) (most func() float64) {
	stop, done := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		peak := 0.0
		for {
			select {
			case <-tick.C:
				peak = max(peak, anonymousMiB(pid))
			case <-stop:
				done <- peak
				return
			}
		}
	}()
	return func() float64 { close(stop); return <-done }
}
