// Command atoll brings a world of Kubernetes clusters up from one file, breaks
// it, and says what held.
//
//	atoll run topologies/three-regions.yaml
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/pods"
	"github.com/atoll-dev/atoll/sim/bench"
	"github.com/atoll-dev/atoll/topologies"
)

// Exit codes, by whose fault it is.
const (
	exitOK      = 0
	exitFailed  = 1 // a scenario failed: the product's
	exitUsage   = 2 // bad input: the user's
	exitInvalid = 3 // the lab itself failed: the harness's; the product is not judged
)

// app is what the verbs share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	output         string // text | json
	quiet          bool
}

func main() {
	bench.Child() // does not return in a process that a benchmark started
	if repository, ok := pods.Invoked(os.Args, os.Getenv); ok {
		quietLibraries()
		os.Exit(pods.Main(fixtures.Images(), repository, os.Args))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	// The second signal is not caught: who asks twice wants out at once, and
	// `atoll down` removes what is left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	quietLibraries()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, silent := exitCode(err)
	if !silent {
		fmt.Fprintf(a.stderr, "atoll: %v\n", err)
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "atoll",
		Short: "Bring up several Kubernetes clusters from one file, break them, and say what held",
		Long: `Atoll brings a world of Kubernetes clusters up from one topology file: regions,
a WAN with real latencies, a hub with its agents, a mesh, workloads. It runs
scenarios against it, breaks it, and reports what held.

Exit codes: 0 all passed, 1 a scenario failed, 2 bad input, 3 the lab itself failed.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return usageError(fmt.Errorf("-o %s: want text or json", a.output))
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "text or json")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	root.AddCommand(
		a.planCmd(), a.upCmd(), a.serveCmd(), a.statusCmd(), a.testCmd(), a.runCmd(), a.matrixCmd(), a.downCmd(),
		a.faultCmd(), a.captureCmd(), a.metricsCmd(), a.kubeconfigCmd(), a.execCmd(), a.wgCmd(), a.meshCmd(), a.reportCmd(), a.reproCmd(),
		a.doctorCmd(), a.benchCmd(), a.binariesCmd(), a.imagesCmd(), a.schemaCmd(), a.topologiesCmd(), a.versionCmd(), a.insideCmd(),
	)
	for _, cmd := range append(root.Commands(), root) {
		if cmd.HasSubCommands() && cmd.RunE == nil {
			needsVerb(cmd)
		}
	}
	return root
}

// needsVerb makes a command that only groups others print its help when it is
// called alone, and refuse a verb it does not have.
func needsVerb(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
		}
		return usageError(fmt.Errorf("%s has no verb %q%s", cmd.CommandPath(), args[0], hint))
	}
}

// codedError is an error with an exit code. A silent one has been told already.
type codedError struct {
	code   int
	silent bool
	err    error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func usageError(err error) error   { return &codedError{code: exitUsage, err: err} }
func invalidError(err error) error { return &codedError{code: exitInvalid, err: err} }

func exitCode(err error) (code int, silent bool) {
	var coded *codedError
	var bad topologies.Errors
	switch {
	case errors.As(err, &coded):
		return coded.code, coded.silent
	case errors.As(err, &bad), errors.Is(err, lab.ErrExists), errors.Is(err, lab.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return exitUsage, false
	default:
		return exitInvalid, false
	}
}

// usageArgs makes a wrong number of arguments bad input.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(fmt.Errorf("%s: %w; see `%s --help`", cmd.Name(), err, cmd.CommandPath()))
		}
		return nil
	}
}
