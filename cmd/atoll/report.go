package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
)

func (a *app) reportCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "report RESULTS",
		Short: "Print the summary of a results.json, or of the folder it is in, and write its reports anew",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readResult(args[0])
			if err != nil {
				return usageError(err)
			}
			if dir != "" {
				if err := reports.Write(dir, r, ""); err != nil {
					return err
				}
			}
			if err := a.summary(r, dir, ""); err != nil {
				return err
			}
			return judge(r)
		},
	}
	cmd.Flags().StringVar(&dir, "reports", "", "write junit.xml, results.json and report.html to this folder")
	cmd.AddCommand(a.reportCompareCmd())
	return cmd
}

func (a *app) reportCompareCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "compare RESULTS RESULTS",
		Short: "Hold two runs of one topology against each other: each value beside its prediction",
		Long: `Hold two runs of one topology against each other, of two providers for example:
each scenario, check and link, what was predicted of it and what each run saw.
RESULTS is a results.json or the folder it is in.

Exit code 0: nothing differs. 1: something does, and is named: a scenario ended
otherwise, a value is as predicted in one run only, or the plans predict
otherwise. 2: these are no two runs of one topology. 3: the harness failed in
one of them.`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var runs [2]*suites.Result
			for i := range runs {
				var err error
				if runs[i], err = readResult(args[i]); err != nil {
					return usageError(err)
				}
			}
			c, err := reports.Compare(runs[0], runs[1])
			if err != nil {
				return usageError(err)
			}
			if dir != "" {
				if err := reports.WriteComparison(dir, c); err != nil {
					return err
				}
			}
			if err := a.print(c, func() error { return c.Text(a.stdout) }); err != nil {
				return err
			}
			switch {
			case c.Invalid() != "":
				return &codedError{code: exitInvalid, silent: true, err: errors.New(c.Invalid())}
			case !c.Good():
				return &codedError{code: exitFailed, silent: true, err: errors.New(c.Headline())}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "reports", "", "write comparison.json and comparison.html to this folder")
	return cmd
}

// readResult reads results.json from a file or from the folder that holds it.
func readResult(path string) (*suites.Result, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "results.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r suites.Result
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Plan == nil {
		return nil, fmt.Errorf("%s: not a result of atoll: it holds no plan", path)
	}
	return &r, nil
}
