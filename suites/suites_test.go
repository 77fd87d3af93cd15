package suites_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/suites"
	"github.com/atoll-dev/atoll/topologies"
)

// go test ./suites/... -args -topology FILE
var (
	providerFlag = flag.String("provider", embedded.Name, "what makes the clusters: embedded or kind")
	topologyFlag = flag.String("topology", "", "the topology to test; the library's two-clusters when left out")
	seedFlag     = flag.Uint64("seed", 1, "fixes every random choice")
	labelsFlag   = flag.String("labels", "", "only scenarios that match, in Ginkgo's syntax")
	socketFlag   = flag.String("socket", "", "ask the lab that is served here instead of bringing one up")
	invertFlag   = flag.Bool("invert", false, "break each scenario's world first; every scenario must then fail")
)

// the is the one lab of this process: brought up for the first test that asks
// for it, taken down when all have ended.
var the struct {
	once    sync.Once
	backend lab.Backend
	socket  string
	err     error
	down    []func() error
}

func TestMain(m *testing.M) {
	flag.Parse()
	klog.SetLogger(logr.Discard()) // what matters comes back as an error
	ctrllog.SetLogger(logr.Discard())
	code := m.Run()
	for i := len(the.down) - 1; i >= 0; i-- {
		if err := the.down[i](); err != nil {
			fmt.Fprintln(os.Stderr, "take the lab down:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// theLab returns the lab and the socket on which it is served.
func theLab(t *testing.T) (lab.Backend, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a lab; not with -short")
	}
	the.once.Do(func() { the.err = up() })
	if the.err != nil {
		t.Fatal(the.err)
	}
	return the.backend, the.socket
}

func up() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	the.down = append(the.down, func() error { stop(); return nil })
	if *socketFlag != "" {
		b, err := lab.Dial(ctx, *socketFlag, func(context.Context) error { return nil })
		the.backend, the.socket = b, *socketFlag
		return err
	}
	plan, err := plan()
	if err != nil {
		return err
	}
	provider, err := provider()
	if err != nil {
		return err
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return err
	}
	dir, record, err := store.Create(plan.Name, provider.Name())
	if err != nil {
		return err
	}
	the.down = append(the.down, func() error { return errors.Join(cleanup(dir), store.Remove(record)) })
	start := time.Now()
	b, err := fixtures.Up(ctx, provider, plan, lab.Options{Dir: dir, Events: printEvent})
	if err != nil {
		return err
	}
	fmt.Printf("lab %s is up after %v\n", plan.Name, time.Since(start).Round(10*time.Millisecond))
	the.down = append(the.down, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), downLimit)
		defer cancel()
		return b.Down(ctx)
	})
	l, err := net.Listen("unix", record.Socket)
	if err != nil {
		return err
	}
	serving, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lab.Serve(serving, b, l) }()
	the.down = append(the.down, func() error { cancel(); return <-done })
	the.backend, the.socket = b, record.Socket
	return nil
}

// downLimit bounds how long a lab may take to go down.
const downLimit = 2 * time.Minute

// provider is the flag's. kind needs an atoll executable beside this one, which
// also runs in its containers.
func provider() (lab.Provider, error) {
	switch *providerFlag {
	case embedded.Name:
		return embedded.New(embedded.Config{Images: fixtures.Images(), Executables: fixtures.Executables, Version: fixtures.Version}), nil
	case kind.Name:
		dir, err := os.MkdirTemp("", "atoll-")
		if err != nil {
			return nil, err
		}
		the.down = append(the.down, func() error { return os.RemoveAll(dir) })
		self := filepath.Join(dir, "atoll")
		build := exec.Command("go", "build", "-o", self, "github.com/atoll-dev/atoll/cmd/atoll")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build atoll: %w\n%s", err, out)
		}
		return kind.New(kind.Config{Self: self, Version: fixtures.Version, Programs: fixtures.Images()}), nil
	}
	return nil, fmt.Errorf("-provider %s: want %s or %s", *providerFlag, embedded.Name, kind.Name)
}

func cleanup(dir string) error {
	if *providerFlag == kind.Name {
		ctx, cancel := context.WithTimeout(context.Background(), downLimit)
		defer cancel()
		return kind.Cleanup(ctx, dir)
	}
	return embedded.Cleanup(dir)
}

// plan of the flag's topology, under a name of this process's own.
func plan() (*sim.Plan, error) {
	t, err := topologies.FromLibrary("two-clusters")
	if *topologyFlag != "" {
		t, err = topologies.Load(fromRoot(*topologyFlag))
	}
	if err != nil {
		return nil, err
	}
	t.Metadata.Name = fmt.Sprintf("%s-test-%d", t.Metadata.Name, os.Getpid())
	return fixtures.Plan(t, *seedFlag)
}

// fromRoot finds a file that is named from the repository's root, as one does
// on the command line: go test runs in the package's folder.
func fromRoot(file string) string {
	if _, err := os.Stat(file); err != nil && !filepath.IsAbs(file) {
		return filepath.Join("..", file)
	}
	return file
}

func printEvent(e lab.Event) {
	fmt.Printf("%s %-8s %s %s %s\n", e.Time.Format("15:04:05.000"), e.Status, e.Step, e.Subject, e.Detail)
}

// TestSuites asks the lab every scenario of its topology. Inverted, each has
// to fail, and to name what was broken.
func TestSuites(t *testing.T) {
	b, _ := theLab(t)
	var log io.Writer
	if testing.Verbose() {
		log = os.Stdout
	}
	result, err := suites.Run(t.Context(), b, suites.Options{Events: printEvent, Invert: *invertFlag, LabelFilter: *labelsFlag, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if result.Invalid != "" {
		t.Errorf("invalid: %s", result.Invalid)
	}
	for _, s := range result.Scenarios {
		t.Run(s.Name, func(t *testing.T) { judge(t, &s) })
	}
	if _, err := suites.Run(t.Context(), b, suites.Options{}); !errors.Is(err, suites.ErrRanBefore) {
		t.Errorf("a second run: %v", err)
	}
}

func judge(t *testing.T, s *suites.Scenario) {
	for _, c := range s.Checks {
		t.Logf("%v %s: expected %s, saw %s (%v)", map[bool]string{true: "ok", false: "--"}[c.OK], c.What, c.Expected, c.Seen, c.Elapsed.Round(time.Millisecond))
	}
	for _, m := range s.Timeline {
		t.Logf("%8v %s: %s", m.At.Round(time.Millisecond), m.Lane, m.What)
	}
	switch {
	case s.Outcome == suites.Skipped:
		t.Skip(s.Reason)
	case s.Outcome == suites.Invalid:
		t.Errorf("invalid: %s", s.Reason)
	case s.Inverted == "" && s.Outcome != suites.Passed:
		t.Errorf("seed %d: %s", *seedFlag, s.Reason)
	case *invertFlag && !s.NamesCause():
		t.Errorf("%s with %q broken; its reason has to name that: %s", s.Outcome, s.Inverted, s.Reason)
	}
}

// TestInvertedScenariosFail is the negative control of all scenarios: in a
// broken world each fails, and says what broke. Ginkgo runs once per process,
// so another process asks the same lab.
func TestInvertedScenariosFail(t *testing.T) {
	if *invertFlag {
		t.Skip("this is the other process")
	}
	_, socket := theLab(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSuites$", "-test.v", "-invert", "-socket", socket, "-labels", *labelsFlag)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("inverted: %v", err)
	}
}
