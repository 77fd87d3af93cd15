package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

// serveCmd is the process behind `atoll up`: it makes the lab, tells its
// parent on file descriptor 3, waits on descriptor 4 for the word to stay, and
// serves the lab until SIGTERM.
func (a *app) serveCmd() *cobra.Command {
	var (
		keep    bool
		prov    string
		metrics string
	)
	cmd := &cobra.Command{
		Use:    "serve LAB",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(cmd.Context(), args[0], prov, metrics, keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "")
	cmd.Flags().StringVar(&prov, "provider", "embedded", "")
	cmd.Flags().StringVar(&metrics, "metrics", "", "")
	return cmd
}

func serve(ctx context.Context, name, prov, metricsAddr string, keep bool) (err error) {
	parent := os.NewFile(3, "events")
	word := os.NewFile(4, "word")
	if parent == nil || word == nil {
		return usageError(errors.New("serve is started by `atoll up`"))
	}
	store, err := lab.DefaultStore()
	if err != nil {
		return err
	}
	record, err := store.Get(name)
	if err != nil {
		return err
	}
	if record.Owner, err = lab.Identify(os.Getpid()); err != nil {
		return err
	}
	if err := store.Put(record); err != nil {
		return err
	}
	dir := store.Dir(name)
	plan, err := readPlan(filepath.Join(dir, planFile))
	if err != nil {
		return err
	}
	p, err := provider(prov)
	if err != nil {
		return err
	}
	kept, err := os.Create(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return err
	}
	defer kept.Close()
	var mu sync.Mutex
	sink := func(e lab.Event) {
		line, err := json.Marshal(e)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		line = append(line, '\n')
		_, _ = kept.Write(line)
		_, _ = parent.Write(line) // fails once the parent has left, which is as it should be
	}

	exporter, err := newExporter(ctx, metricsAddr) // before the lab: an address that is taken is told at once
	if err != nil {
		sink(lab.Event{Time: time.Now(), Step: failedStep, Detail: err.Error()})
		return errors.Join(err, removeUnless(keep, store, record))
	}
	defer exporter.close()
	record.Metrics = exporter.url()

	upCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stay := make(chan struct{})
	go func() {
		var b [1]byte
		if n, _ := word.Read(b[:]); n == 1 && b[0] == keepWord {
			close(stay)
			return
		}
		cancel(errors.New("`atoll up` was ended before the lab was ready"))
	}()
	b, err := fixtures.Up(upCtx, p, plan, lab.Options{Dir: dir, Keep: keep, Events: sink})
	if err != nil {
		if cause := context.Cause(upCtx); cause != nil {
			err = cause
		}
		sink(lab.Event{Time: time.Now(), Step: failedStep, Detail: err.Error()})
		return errors.Join(err, removeUnless(keep, store, record))
	}
	exporter.serve(b)
	stopServing, err := serveLab(ctx, store, &record, b)
	if err != nil {
		sink(lab.Event{Time: time.Now(), Step: failedStep, Detail: err.Error()})
	} else {
		defer stopServing()
		sink(lab.Event{Time: time.Now(), Step: readyStep})
		select {
		case <-stay:
			<-ctx.Done()
		case <-upCtx.Done():
		}
	}
	down, cancelDown := context.WithTimeout(context.WithoutCancel(ctx), downLimit)
	defer cancelDown()
	return errors.Join(err, b.Down(down), store.Remove(record))
}

func removeUnless(keep bool, store lab.Store, r lab.Record) error {
	if keep {
		return nil
	}
	return store.Remove(r)
}

func readPlan(file string) (*sim.Plan, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var p sim.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &p, nil
}
