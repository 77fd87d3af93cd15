package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
)

// testFlags are those of every verb that runs the suites.
type testFlags struct {
	reports string
	invert  bool
	only    []string
	labels  string
	// policies is how many random policies are placed after the suites.
	policies int
	// views asks the mesh's proxies for what they are told, after the suites.
	views bool

	command []string
	up      time.Duration
}

func (f *testFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.reports, "reports", "", "write junit.xml, results.json and report.html to this folder")
	flags.BoolVar(&f.invert, "invert", false, "break each scenario's world first; every scenario must then fail")
	flags.StringSliceVar(&f.only, "scenario", nil, "run only these scenarios, by name")
	flags.StringVar(&f.labels, "label-filter", "", "run only scenarios that match, as Ginkgo's --label-filter")
	flags.IntVar(&f.policies, "policies", 0, "afterwards place this many random policies, and write what came of each to "+policiesName+" of --reports")
	flags.BoolVar(&f.views, "views", false, "afterwards take the mesh through failures, and write what its proxies were told to "+viewsName+" of --reports")
}

// check tells what is wrong with the flags.
func (f *testFlags) check() error {
	if f.policies < 0 || f.policies > maxPolicies {
		return usageError(fmt.Errorf("--policies %d: want 0 to %d", f.policies, maxPolicies))
	}
	if f.policies > 0 && f.reports == "" {
		return usageError(errors.New("--policies needs --reports: what came of them is written there"))
	}
	if f.views && f.reports == "" {
		return usageError(errors.New("--views needs --reports: what proxies were told is written there"))
	}
	return nil
}

// args are the flags that ask the same again.
func (f *testFlags) args() (args []string) {
	if f.invert {
		args = append(args, "--invert")
	}
	if len(f.only) > 0 {
		args = append(args, "--scenario", strings.Join(f.only, ","))
	}
	if f.labels != "" {
		args = append(args, "--label-filter", f.labels)
	}
	if f.policies > 0 {
		args = append(args, "--policies", fmt.Sprint(f.policies))
	}
	if f.views {
		args = append(args, "--views")
	}
	return args
}

func (a *app) testCmd() *cobra.Command {
	var tf testFlags
	var ef engineFlags
	cmd := &cobra.Command{
		Use:   "test [LAB]",
		Short: "Run the scenarios against a running lab; with --engine, on two engines, and compare",
		Long: `Run the scenarios against a running lab.

With --engine builtin,binaries the argument is a topology's file: it is brought up
once with each engine, the same seeded scenarios and random policies (--policies,
200 when left out) are run on both, and what they answered is compared. With
--engine mesh=builtin,mesh=binaries (or where there is no admin) the mesh is taken
through failures instead, and what its proxies are told is compared. Exit code 1
says that they differ.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(ef.engines) > 0 {
				return a.compareEngines(cmd.Context(), args, &ef, &tf)
			}
			if err := tf.check(); err != nil {
				return err
			}
			b, r, err := open(cmd.Context(), args)
			if err != nil {
				return err
			}
			tf.command = append([]string{"atoll", "test", r.Name}, tf.args()...)
			events, stop := a.events()
			defer stop()
			_, err = a.test(cmd.Context(), b, &tf, events)
			return err
		},
	}
	tf.add(cmd.Flags())
	ef.add(cmd.Flags())
	return cmd
}

// test runs the suites, writes the reports, prints the summary and returns
// the error that carries the exit code.
func (a *app) test(ctx context.Context, b backend, tf *testFlags, events *eventLog) (*suites.Result, error) {
	logFile, err := os.CreateTemp("", "atoll-suites-*.log")
	if err != nil {
		return nil, err
	}
	defer os.Remove(logFile.Name())
	defer logFile.Close()
	result, err := suites.Run(ctx, b, suites.Options{
		Events: events.sink, Invert: tf.invert, Scenarios: tf.only, LabelFilter: tf.labels, Log: logFile,
	})
	if err != nil {
		return nil, invalidError(err)
	}
	if tf.policies > 0 && result.Invalid == "" {
		if err := a.place(ctx, b, tf, result, events); err != nil {
			return result, invalidError(fmt.Errorf("random policies: %w", err))
		}
	}
	if tf.views && result.Invalid == "" {
		if err := a.view(ctx, b, tf, result, events); err != nil {
			return result, invalidError(fmt.Errorf("views: %w", err))
		}
	}
	result.Command, result.Up, result.Events = tf.command, tf.up, events.events()
	verdict := judge(result)
	bundle := ""
	if tf.reports != "" {
		if verdict != nil {
			if bundle, err = writeBundle(context.WithoutCancel(ctx), b, tf.reports, result, logFile.Name()); err != nil {
				fmt.Fprintf(a.stderr, "atoll: bundle: %v\n", err)
			}
		}
		if err := reports.Write(tf.reports, result, bundle); err != nil {
			return result, errors.Join(verdict, invalidError(fmt.Errorf("reports: %w", err)))
		}
	}
	if err := a.summary(result, tf.reports, bundle); err != nil {
		return result, errors.Join(verdict, err)
	}
	return result, verdict
}

// judge turns a result into the error that carries its exit code; nil is 0.
func judge(r *suites.Result) error {
	var failed, invalid, unproven int
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		switch s.Outcome {
		case suites.Failed:
			failed++
			if !s.NamesCause() {
				unproven++
			}
		case suites.Invalid:
			invalid++
		case suites.Passed:
			unproven++
		}
	}
	silent := func(code int, text string) error {
		return &codedError{code: code, silent: true, err: errors.New(text)}
	}
	switch {
	case r.Invalid != "":
		return silent(exitInvalid, r.Invalid)
	case invalid > 0:
		return silent(exitInvalid, "a scenario is invalid")
	case r.Inverted && unproven > 0:
		return silent(exitFailed, "an inverted scenario passed, or failed without naming the injected cause")
	case !r.Inverted && failed > 0:
		return silent(exitFailed, "a scenario failed")
	}
	return nil
}
