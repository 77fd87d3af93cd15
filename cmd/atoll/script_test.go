package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
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
