package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
	"github.com/atoll-dev/atoll/suites/agreement"
	"github.com/atoll-dev/atoll/suites/agreement/views"
)

const (
	// policiesName is where what came of random policies is kept, among reports.
	policiesName = "policies.json"
	// viewsName is where what proxies were told is kept.
	viewsName       = "views.json"
	defaultPolicies = 200
	maxPolicies     = 10_000
)

// place asks a lab random policies and keeps the answers.
func (a *app) place(ctx context.Context, b backend, tf *testFlags, result *suites.Result, events *eventLog) error {
	record, err := agreement.Ask(ctx, b, agreement.Options{
		Seed: result.Seed, Policies: tf.policies, Events: events.sink,
		Engine: result.Engines["admin"], Versions: result.Versions,
	})
	if record == nil {
		return err
	}
	return errors.Join(err, keepRecord(tf.reports, policiesName, record))
}

// view takes a lab's mesh through failures and keeps what proxies were told.
func (a *app) view(ctx context.Context, b backend, tf *testFlags, result *suites.Result, events *eventLog) error {
	record, err := views.Ask(ctx, b, views.Options{Events: events.sink, Engine: result.Engines["mesh"], Versions: result.Versions})
	if record == nil {
		return err
	}
	return errors.Join(err, keepRecord(tf.reports, viewsName, record))
}

// keepRecord writes what an engine answered, as JSON.
func keepRecord(dir, name string, record any) error {
	text, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644)
}

// noRecord says why there is nothing to compare of an engine: what became of its
// run, or else of the file.
func noRecord(c *reports.Cell, err error) error {
	if c.Reason != "" {
		return fmt.Errorf("engine %s: %s", c.Provider, c.Reason)
	}
	return fmt.Errorf("engine %s: %w", c.Provider, err)
}

// readRecord reads what keepRecord wrote.
func readRecord[T any](dir, name string) (*T, error) {
	file := filepath.Join(dir, name)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	record := new(T)
	if err := json.Unmarshal(text, record); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return record, nil
}

// engineFlags say which engines are compared, and on what.
type engineFlags struct {
	engines  []string
	seed     uint64
	timers   string
	provider string
	limit    time.Duration
}

func (f *engineFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.engines, "engine", nil, "compare two engines of the admin, or of the mesh, on the topology of a file: builtin,binaries; mesh=builtin,mesh=binaries")
	flags.Uint64Var(&f.seed, "seed", 1, "with --engine: fixes every random choice, the same on both")
	flags.StringVar(&f.timers, "timers", "", "with --engine: short or default; overrides the file's")
	flags.StringVar(&f.provider, "provider", embedded.Name, "with --engine: what makes the clusters")
	flags.DurationVar(&f.limit, "limit", 30*time.Minute, "with --engine: how long one engine may take before it is interrupted")
}

// compareEngines runs the same on two engines, each in a process and a lab of
// its own, one after the other, and compares.
func (a *app) compareEngines(ctx context.Context, args []string, ef *engineFlags, tf *testFlags) error {
	switch {
	case len(ef.engines) != 2 || ef.engines[0] == ef.engines[1]:
		return usageError(errors.New("--engine: want two engines to compare, such as builtin,binaries"))
	case len(args) != 1:
		return usageError(errors.New("--engine needs the file of a topology"))
	case tf.invert:
		return usageError(errors.New("--engine and --invert: inverted runs are not compared"))
	}
	t, err := loadTopology(args[0])
	if err != nil {
		return usageError(err)
	}
	part, names := "", []string{}
	for _, text := range ef.engines {
		p, engine, err := partOf(t, text)
		if err != nil {
			return usageError(err)
		}
		if part != "" && p != part {
			return usageError(errors.New("--engine: two engines of one part are compared"))
		}
		part = p
		names = append(names, string(engine))
	}
	if part == partMesh {
		tf.views = true
	} else if tf.policies == 0 {
		tf.policies = defaultPolicies
	}
	dir := tf.reports
	if dir == "" {
		tmp, err := os.MkdirTemp("", "atoll-engines-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	tf.reports = dir
	if err := tf.check(); err != nil {
		return err
	}
	var cells []reports.Cell
	for i, engine := range ef.engines {
		pf := planFlags{seed: ef.seed, timers: ef.timers, engine: engine}
		plan, err := pf.plan(args[0])
		if err != nil {
			return err
		}
		command := slices.Concat([]string{"atoll", "run", args[0], "--provider", ef.provider, "--seed", fmt.Sprint(plan.Seed)}, pf.args(), tf.args())
		cells = append(cells, reports.Cell{Topology: plan.Name, File: args[0], Provider: names[i], Command: command})
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return err
	}
	out := &reports.Agreement{}
	var placed []*agreement.Record
	var told []*views.Record
	for i := range cells {
		c := &cells[i]
		a.line(fmt.Sprintf("[%d/%d] engine %s", i+1, len(cells), c.Provider))
		at := filepath.Join(dir, c.Provider)
		if err := a.runCell(ctx, self, store, at, c, ef.limit); err != nil {
			return err
		}
		a.line(fmt.Sprintf("[%d/%d] engine %s: %s in %s", i+1, len(cells), c.Provider, c.Tell(), c.Elapsed.Round(time.Second)))
		if part == partMesh {
			record, err := readRecord[views.Record](at, viewsName)
			if err != nil {
				return invalidError(noRecord(c, err))
			}
			told = append(told, record)
			continue
		}
		record, err := readRecord[agreement.Record](at, policiesName)
		if err != nil {
			return invalidError(noRecord(c, err))
		}
		placed = append(placed, record)
	}
	if part == partMesh {
		if out.Views, err = views.Compare(told[0], told[1]); err != nil {
			return invalidError(err)
		}
		out.Views.A, out.Views.B = names[0], names[1]
	} else {
		if out.Policies, err = agreement.Compare(placed[0], placed[1]); err != nil {
			return invalidError(err)
		}
		out.Policies.A, out.Policies.B = names[0], names[1]
	}
	return a.tellAgreement(cells, out)
}

// tellAgreement tells what two engines answered, to scenarios and to the rest.
func (a *app) tellAgreement(cells []reports.Cell, out *reports.Agreement) (err error) {
	if x, y := cells[0].Result, cells[1].Result; x != nil && y != nil && len(x.Scenarios) > 0 {
		// That the engines are two is what is compared, not a fault.
		with, in := y.Plan.Topology.Spec.Stack, x.Plan.Topology.Spec.Stack
		if with.Admin != nil {
			with.Admin.Engine = in.Admin.Engine
		}
		if with.Mesh != nil {
			with.Mesh.Engine = in.Mesh.Engine
		}
		if out.Scenarios, err = reports.Compare(x, y); err != nil {
			return invalidError(err)
		}
		out.Scenarios.Runs[0].Name, out.Scenarios.Runs[1].Name = cells[0].Provider, cells[1].Provider
	}
	if err := a.print(out, func() error { return out.Text(a.stdout) }); err != nil {
		return err
	}
	switch {
	case out.Scenarios != nil && out.Scenarios.Invalid() != "":
		return &codedError{code: exitInvalid, silent: true, err: errors.New(out.Scenarios.Invalid())}
	case !out.Good():
		return &codedError{code: exitFailed, silent: true, err: errors.New("the engines differ")}
	}
	return nil
}
