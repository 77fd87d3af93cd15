package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/existing"
	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/stack"
)

// provider returns the named provider: the only place that chooses one.
func provider(name string) (lab.Provider, error) {
	switch name {
	case embedded.Name:
		return embedded.New(embedded.Config{Images: fixtures.Images(), Executables: fixtures.Executables, Version: fixtures.Version}), nil
	case kind.Name:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return kind.New(kind.Config{Self: self, Version: fixtures.Version, Programs: fixtures.Images()}), nil
	case existing.Name:
		return existing.New(existing.Config{Image: stack.Image(fixtures.Version)}), nil
	default:
		return nil, usageError(fmt.Errorf("--provider %s: want %s, %s or %s", name, embedded.Name, kind.Name, existing.Name))
	}
}

// addProvider adds the flag that chooses one.
func addProvider(flags *pflag.FlagSet, name *string) {
	flags.StringVar(name, "provider", embedded.Name, "what makes the clusters: embedded, kind, or existing for your own")
}

// cleanup removes what the lab in dir left, whoever made it. The process that
// ran it must be gone.
func cleanup(ctx context.Context, provider, dir string) error {
	switch provider {
	case kind.Name:
		return kind.Cleanup(ctx, dir)
	case existing.Name:
		return existing.Cleanup(ctx, dir)
	}
	return embedded.Cleanup(dir)
}

// downLimit bounds how long a lab may take to go down in order; containers
// take longer than processes.
const downLimit = 2 * time.Minute

// labName finds which lab is meant: by its name, by its topology's file, or,
// with neither, the only one there is.
func labName(s lab.Store, args []string) (string, error) {
	if len(args) > 0 && args[0] != "" {
		name := args[0]
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" || strings.ContainsRune(name, os.PathSeparator) {
			t, err := loadTopology(name)
			if err != nil {
				return "", usageError(err)
			}
			return t.Metadata.Name, nil
		}
		return name, nil
	}
	records, err := s.List()
	if err != nil {
		return "", err
	}
	switch len(records) {
	case 0:
		return "", usageError(errors.New("no lab is up; `atoll up FILE` makes one"))
	case 1:
		return records[0].Name, nil
	}
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Name
	}
	return "", usageError(fmt.Errorf("which lab? there are %s", strings.Join(names, ", ")))
}

// open connects to a running lab.
func open(ctx context.Context, args []string) (*lab.Client, lab.Record, error) {
	s, err := lab.DefaultStore()
	if err != nil {
		return nil, lab.Record{}, err
	}
	name, err := labName(s, args)
	if err != nil {
		return nil, lab.Record{}, err
	}
	r, err := s.Get(name)
	if err != nil {
		return nil, r, err
	}
	if !r.Owner.Alive() {
		return nil, r, invalidError(fmt.Errorf("lab %s: the process that ran it (%d) is gone; `atoll down %s` removes what is left", name, r.Owner.PID, name))
	}
	if !r.Ready {
		return nil, r, invalidError(fmt.Errorf("lab %s is still coming up, for %s now; `atoll status` shows when it is up", name, time.Since(r.Created).Round(time.Second)))
	}
	c, err := lab.Dial(ctx, r.Socket, func(ctx context.Context) error { return takeDown(ctx, s, r) })
	if err != nil {
		return nil, r, invalidError(fmt.Errorf("lab %s does not answer: %w", name, err))
	}
	return c, r, nil
}

// takeDown ends a lab wherever it runs and removes what it made: the owner
// gets the chance to do it in order, then what is left is found and removed.
func takeDown(ctx context.Context, s lab.Store, r lab.Record) error {
	end, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	if err := r.Owner.End(end); err != nil {
		return err
	}
	if err := cleanup(ctx, r.Provider, s.Dir(r.Name)); err != nil {
		return err // its folder stays: without it, what is left is hard to find
	}
	return s.Remove(r)
}
