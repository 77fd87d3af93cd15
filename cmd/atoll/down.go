package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) downCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down [LAB]",
		Short: "Stop a lab and remove everything it made, after a crash too",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := lab.DefaultStore()
			if err != nil {
				return err
			}
			var records []lab.Record
			switch {
			case all && len(args) > 0:
				return usageError(errors.New("down: a lab or --all, not both"))
			case all:
				if records, err = store.List(); err != nil {
					return err
				}
			default:
				name, err := labName(store, args)
				if err != nil {
					if len(args) == 0 && noLabs(store) {
						return a.printf("nothing to take down\n")
					}
					return err
				}
				r, err := store.Get(name)
				if errors.Is(err, lab.ErrNotFound) {
					return a.printf("lab %s is not there\n", name)
				}
				if err != nil {
					return err
				}
				records = append(records, r)
			}
			var errs []error
			for _, r := range records {
				if err := takeDown(cmd.Context(), store, r); err != nil {
					errs = append(errs, fmt.Errorf("lab %s: %w", r.Name, err))
					continue
				}
				errs = append(errs, a.printf("lab %s is down\n", r.Name))
			}
			if all {
				errs = append(errs, a.removeForgotten(cmd.Context(), store))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every lab of this user")
	return cmd
}

// removeForgotten removes what labs of this user have in Docker that the store
// no longer knows: their folder is gone, their labels tell.
func (a *app) removeForgotten(ctx context.Context, s lab.Store) error {
	dirs, err := kind.Left(ctx, s.Root)
	errs := []error{err}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			continue // it could not be taken down, and has been told
		}
		if err := kind.Cleanup(ctx, dir); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, a.printf("what was left of lab %s is removed\n", filepath.Base(dir)))
	}
	return errors.Join(errs...)
}

func noLabs(s lab.Store) bool {
	records, err := s.List()
	return err == nil && len(records) == 0
}
