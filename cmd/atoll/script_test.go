package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/atoll-dev/atoll/fixtures/embedded/binaries"
	"github.com/atoll-dev/atoll/fixtures/lab"
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "wired-lab": wiredLab, "repository": repository, "envsubst": envsubst,
		},
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
			address, err := freeAddress()
			e.Setenv("METRICS", address)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "scrape": scrape},
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

// repository DIR NAME serves a folder as a repository of charts, whose address
// is in the environment variable of that name.
func repository(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: repository DIR NAME")
	}
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	ts.Setenv(args[1], s.URL)
}

// envsubst FILE puts the environment's values into a file, for ${NAME}.
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envsubst FILE")
	}
	file := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(file), ts.Getenv)
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// freeAddress is one of this machine's that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// scrapeLimit is how long metrics are waited for: a lab may be coming up.
const scrapeLimit = time.Minute

// scrape ADDRESS REGEXP: what is served there comes to match; for ADDRESS lab,
// what `atoll metrics` prints.
func scrape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: scrape ADDRESS REGEXP")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	err = lab.Until(ctx, 100*time.Millisecond, "metrics", func(ctx context.Context) error {
		text, err := metricsOf(ctx, ts, args[0])
		if err == nil && !want.MatchString(text) {
			err = fmt.Errorf("no match for %s in\n%s", want, text)
		}
		return err
	})
	ts.Check(err)
}

func metricsOf(ctx context.Context, ts *testscript.TestScript, address string) (string, error) {
	if address == "lab" {
		err := ts.Exec("atoll", "metrics")
		return ts.ReadFile("stdout"), err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+metricsPath, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func exitText(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
