package main

import (
	"encoding/json"
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
