package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/reports"
)

// matrixFlags say which cells there are, and how each is run.
type matrixFlags struct {
	kubernetes []string
	providers  []string
	reports    string
	seed       uint64
	timers     string
	invert     bool
	limit      time.Duration
}

func (a *app) matrixCmd() *cobra.Command {
	var f matrixFlags
	cmd := &cobra.Command{
		Use:   "matrix FILE...",
		Short: "Run several topologies on several Kubernetes versions and providers, one after another, and say in one table what held",
		Long: `Run several topologies on several Kubernetes versions and providers: every
combination is a cell, a run of its own, in a process and a folder of its own.
They run one after another, for labs measure.

Exit code: 1 if a scenario failed in any cell; else 3 if the lab itself failed in
any; 2 for bad input, before anything is run; else 0.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cells, err := f.cells(args)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			m, err := a.runMatrix(cmd.Context(), self, cells, &f)
			if err != nil {
				return err
			}
			if err := a.print(m, func() error { return m.Text(a.stdout) }); err != nil {
				return err
			}
			if code := m.ExitCode(); code != exitOK {
				return &codedError{code: code, silent: true, err: errors.New("not every cell held")}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.kubernetes, "kubernetes", nil, "Kubernetes versions, such as v1.36.3,v1.35.2; the files' own when left out")
	flags.StringSliceVar(&f.providers, "provider", []string{embedded.Name}, "what makes the clusters: embedded, kind or both")
	flags.StringVar(&f.reports, "reports", "", "write matrix.json, junit.xml, and each cell's reports and log, to this folder")
	flags.Uint64Var(&f.seed, "seed", 1, "fixes every random choice, the same in every cell")
	flags.StringVar(&f.timers, "timers", "", "short or default; overrides the files'")
	flags.BoolVar(&f.invert, "invert", false, "break each scenario's world first; every scenario must then fail")
	flags.DurationVar(&f.limit, "limit", 30*time.Minute, "how long one cell may take before it is interrupted")
	return cmd
}

// cells are all combinations, each of them planned: what is wrong with any is
// told before the first is run.
func (f *matrixFlags) cells(files []string) ([]reports.Cell, error) {
	versions := f.kubernetes
	if len(versions) == 0 {
		versions = []string{""}
	}
	var cells []reports.Cell
	var errs []error
	for _, p := range f.providers {
		if _, err := provider(p); err != nil {
			errs = append(errs, err)
		}
	}
	for _, file := range files {
		for _, version := range versions {
			pf := planFlags{seed: f.seed, timers: f.timers, kubernetes: version}
			plan, err := pf.plan(file)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			label := version
			if label == "" {
				var own []string
				for _, c := range plan.Clusters {
					if !slices.Contains(own, c.Kubernetes) {
						own = append(own, c.Kubernetes)
					}
				}
				label = strings.Join(own, "+")
			}
			for _, p := range f.providers {
				cells = append(cells, reports.Cell{
					Topology: plan.Name, File: file, Kubernetes: label, Provider: p,
					Command: f.command(file, version, p),
				})
			}
		}
	}
	names := map[string]bool{}
	for i := range cells {
		if name := cells[i].Name(); names[name] {
			errs = append(errs, fmt.Errorf("%s is there twice: name a topology, version and provider once", name))
		} else {
			names[name] = true
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError(err)
	}
	return cells, nil
}

// command is what a cell runs; a user can run it alone.
func (f *matrixFlags) command(file, version, provider string) []string {
	pf := planFlags{timers: f.timers, kubernetes: version}
	out := append([]string{"atoll", "run", file, "--provider", provider, "--seed", fmt.Sprint(f.seed)}, pf.args()...)
	if f.invert {
		out = append(out, "--invert")
	}
	return out
}

// runMatrix runs the cells. An interrupt ends the one that runs, which takes
// its lab down, and leaves out the rest.
func (a *app) runMatrix(ctx context.Context, self string, cells []reports.Cell, f *matrixFlags) (*reports.Matrix, error) {
	dir := f.reports
	if dir == "" {
		tmp, err := os.MkdirTemp("", "atoll-matrix-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return nil, err
	}
	m := &reports.Matrix{Started: time.Now(), Inverted: f.invert, Cells: cells}
	for i := range m.Cells {
		c := &m.Cells[i]
		c.Dir = c.Name()
		if ctx.Err() != nil {
			c.Outcome, c.Reason = reports.CellNotRun, "interrupted"
			continue
		}
		a.line(fmt.Sprintf("[%d/%d] %s", i+1, len(m.Cells), c.Name()))
		if err := a.runCell(ctx, self, store, filepath.Join(dir, c.Dir), c, f.limit); err != nil {
			return nil, err
		}
		a.line(fmt.Sprintf("[%d/%d] %s: %s in %s", i+1, len(m.Cells), c.Name(), c.Tell(), c.Elapsed.Round(time.Second)))
	}
	m.Elapsed = time.Since(m.Started)
	if f.reports == "" {
		for i := range m.Cells {
			m.Cells[i].Dir = ""
		}
		return m, nil
	}
	return m, m.Write(dir)
}

// runCell runs one cell in a process of its own, for Ginkgo runs once in each,
// with a store of its own, so that a lab which the user has up is not in its
// way. What the process says is kept in run.log beside the cell's reports.
func (a *app) runCell(ctx context.Context, self string, store lab.Store, dir string, c *reports.Cell, limit time.Duration) error {
	if err := os.RemoveAll(dir); err != nil { // of an earlier matrix
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "run.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	home := filepath.Join(filepath.Dir(store.Root), "matrix")
	run := func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Env = append(os.Environ(), "ATOLL_HOME="+home)
		cmd.Stdout, cmd.Stderr = log, log
		// Its lab goes down in order; a second signal, or the delay, ends that too.
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = downLimit + time.Minute
		// The terminal's ctrl-C reaches this process, which passes it on.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd.Run()
	}
	start := time.Now()
	err = run(ctx, append(slices.Clone(c.Command[1:]), "--reports", dir)...)
	c.Elapsed = time.Since(start)
	if left := run(context.WithoutCancel(ctx), "down", "--all"); left != nil {
		c.Reason = fmt.Sprintf("taking down: %v", left)
	}
	code := exitOK
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		code = exitInvalid
		c.Reason = context.Cause(ctx).Error()
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return fmt.Errorf("cell %s: %w", c.Name(), err)
	case c.Reason != "":
		code = exitInvalid
	}
	if r, err := readResult(dir); err == nil {
		c.Result = r
	} else if code == exitOK {
		code, c.Reason = exitInvalid, err.Error()
	}
	if c.Result == nil && c.Reason == "" {
		c.Reason = lastWords(filepath.Join(dir, "run.log"))
	}
	c.Judge(code)
	return nil
}

// lastWords is the last line that a process wrote: its error.
func lastWords(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(lines[len(lines)-1])
}
