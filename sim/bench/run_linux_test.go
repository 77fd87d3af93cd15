package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestQuick runs everything once: each driver that is there has a figure for
// whatever can be asked of it.
func TestQuick(t *testing.T) {
	r, err := Run(t.Context(), Options{Quick: true, Progress: func(s string) { t.Log(s) }})
	if errors.Is(err, ErrMachine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + b.String())
	want := map[string][]string{
		kernelName:    {"tcp/1/0ms/rate", "tcp/8/0ms/cpu", "packets/rate", "delay/0ms/p99", "wake/median", "timer/p99", "message-delay/0ms/median"},
		tunName:       {"tcp/1/0ms/rate", "tcp/8/50ms/cpu-forwarder", "bare-tcp/8/0ms/cpu-forwarder", "packets/per-core", "delay/150ms/max", "plain-delay/1ms/median", "memory/resident", "links/swap"},
		toxiproxyName: {"tcp/1/0ms/rate", "tcp/8/50ms/cpu-forwarder", "message-delay/150ms/max"},
	}
	for _, d := range r.Drivers {
		if d.Skipped != "" {
			t.Logf("%s skipped: %s", d.Name, d.Skipped)
			continue
		}
		for _, id := range want[d.Name] {
			if m := r.Metric(id); m == nil || len(m.Figures[d.Name].Rounds) != 1 {
				t.Errorf("%s has no %s", d.Name, id)
			}
		}
	}
	if m := r.Metric("tcp/1/0ms/rate"); m == nil || m.Figures[kernelName].Median <= 0 {
		t.Error("kernel forwarding moved nothing")
	}
	// A delay that is configured is there: what is left over is small beside it.
	if m := r.Metric("message-delay/150ms/median"); m != nil && m.Figures[toxiproxyName].Median > 50e3 {
		t.Errorf("150 ms became %v µs more", m.Figures[toxiproxyName].Median)
	}
}

// runForTest is a benchmark in a process that can be killed; see TestKilled.
func runForTest() {
	if os.Getenv("ATOLL_BENCH_TEST") == "" {
		return
	}
	_, err := Run(context.Background(), Options{Rounds: 1000, Progress: func(s string) { fmt.Println(s) }})
	fmt.Println(err)
	os.Exit(1)
}

// TestKilled kills a benchmark in its midst: no process and no namespace of it
// is left.
func TestKilled(t *testing.T) {
	if err := permitted(); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "ATOLL_BENCH_TEST=run")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "round 1") {
		t.Fatalf("it did not begin: %s", lines.Text())
	}
	children := childrenOf(t, cmd.Process.Pid)
	spaces := namespacesOf(t, cmd.Process.Pid, children)
	if len(children) < 4 || len(spaces) < 6 {
		t.Fatalf("children %v, namespaces %v: too few, this would prove nothing", children, spaces)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until(t, "its children end", func() bool {
		return !slices.ContainsFunc(children, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
	if left := holders(spaces); len(left) > 0 {
		t.Errorf("processes %v are still in its namespaces", left)
	}
}

// TestInterrupted cancels a run: it returns at once and leaves no child.
func TestInterrupted(t *testing.T) {
	if err := permitted(); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var children []int
	var cancelled time.Time
	_, err := Run(ctx, Options{Progress: func(string) {
		children, cancelled = childrenOf(t, os.Getpid()), time.Now()
		cancel()
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if took := time.Since(cancelled); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if len(children) < 4 {
		t.Fatalf("children %v: too few, this would prove nothing", children)
	}
	if left := childrenOf(t, os.Getpid()); len(left) > 0 {
		t.Errorf("children %v are left", left)
	}
}

// TestChildThatEnds is told as such, with the child's last words.
func TestChildThatEnds(t *testing.T) {
	ns, err := newNamespace()
	if err != nil {
		t.Skip(err)
	}
	defer ns.close()
	c, err := startChild(t.Context(), ns, "nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	err = c.call(t.Context(), "Anything", None{}, &None{})
	if err == nil || !strings.Contains(err.Error(), "the process ended") || !strings.Contains(err.Error(), "no such role") {
		t.Errorf("error %v", err)
	}
}

// childrenOf lists the processes that any thread of pid has started.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended has none
		}
		for _, field := range strings.Fields(string(data)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// namespacesOf lists the network namespaces that processes and the threads of
// one of them are in, this test's own left out.
func namespacesOf(t *testing.T, pid int, children []int) (spaces []string) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", pid))
	for _, c := range children {
		links = append(links, fmt.Sprintf("/proc/%d/ns/net", c))
	}
	for _, l := range links {
		if s, err := os.Readlink(l); err == nil && s != own && !slices.Contains(spaces, s) {
			spaces = append(spaces, s)
		}
	}
	return spaces
}

// holders lists processes that are in one of some namespaces.
func holders(spaces []string) (left []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/task/*/ns/net")
	for _, l := range links {
		if s, err := os.Readlink(l); err == nil && slices.Contains(spaces, s) {
			left = append(left, l)
		}
	}
	return left
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
