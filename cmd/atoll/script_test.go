package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/atoll-dev/atoll/fixtures/embedded/binaries"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"atoll": func() { os.Exit(run(os.Args[1:])) }})
}

// TestScripts are the command line's specification: what is printed where, and
// the exit codes. None brings clusters up.
func TestScripts(t *testing.T) {
	library, err := filepath.Abs("../../topologies")
	if err != nil {
		t.Fatal(err)
	}
	result, err := filepath.Abs("../../reports/testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("ATOLL_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("LIBRARY", library)
			e.Setenv("RESULT", result)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "wired-lab": wiredLab},
	})
}

// TestLabScripts are what a user does to a running lab by the command line,
// with a real kubectl where the Kubernetes binaries hold one.
func TestLabScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real control planes")
	}
	set, err := binaries.Find(t.Context(), binaries.Default, func(l string) { t.Log(l) })
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/lab",
		Setup: func(e *testscript.Env) error {
			e.Setenv("ATOLL_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv(binaries.EnvBin, set.Dir)
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+set.Dir)
			e.Defer(func() { downAll(t, e.Vars) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// downAll removes the labs that a script left, as one that fails does.
func downAll(t *testing.T, env []string) {
	self, err := os.Executable()
	if err != nil {
		t.Error(err)
		return
	}
	// Called by this name, the test's binary is atoll.
	cmd := exec.Command(self, "down", "--all")
	cmd.Args[0], cmd.Env = "atoll", env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("atoll down --all: %v\n%s", err, out)
	}
}

// exits CODE COMMAND [ARG...]: the exit code itself, where `!` only tells it
// from 0.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = exitText(err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func exitText(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
