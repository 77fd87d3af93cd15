package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
)

const (
	// bundleName is the folder's, beside the reports.
	bundleName = "bundle"
	// bundleLimit bounds collecting it: a busy machine takes its time to export
	// the logs of several nodes at once.
	bundleLimit = 3 * time.Minute
	// eventsLimit bounds asking one cluster for its events; one that is down
	// does not answer.
	eventsLimit = 10 * time.Second
)

// writeBundle collects what one needs to understand a failure in a folder
// beside the reports, and returns the folder's name relative to them. What
// can't be had is told, and keeps nothing else from being collected.
func writeBundle(ctx context.Context, b backend, dir string, r *suites.Result, suiteLog string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bundleLimit)
	defer cancel()
	dir = filepath.Join(dir, bundleName)
	if err := os.RemoveAll(dir); err != nil { // of an earlier run
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var errs []error
	write := func(file string, data []byte, err error) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), data, 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
		}
	}
	indented := func(file string, v any) {
		data, err := json.MarshalIndent(v, "", "  ")
		write(file, data, err)
	}
	topology, err := yaml.Marshal(r.Plan.Topology)
	write("topology.yaml", topology, err)
	indented("plan.json", r.Plan)
	indented("wan.json", r.Links)
	indented("events.json", r.Events)
	log, err := os.ReadFile(suiteLog)
	write("suites.log", log, err)
	if repro, err := reports.NewReproduction(r); err == nil {
		data, err := repro.Marshal()
		write(r.Topology+".repro.json", data, err)
	}
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		var objects strings.Builder
		for _, o := range s.Objects {
			fmt.Fprintf(&objects, "---\n# %s: %s\n%s", o.Cluster, o.Name, o.YAML)
		}
		if objects.Len() > 0 {
			write("objects-"+s.Name+".yaml", []byte(objects.String()), nil)
		}
	}
	for cluster, text := range clusterEvents(ctx, b) {
		write("events-"+cluster+".txt", []byte(text), nil)
	}
	// The control planes' and the pods' own logs, as the provider keeps them.
	f, err := os.Create(filepath.Join(dir, "logs.tar"))
	if err != nil {
		return bundleName, errors.Join(append(errs, err)...)
	}
	errs = append(errs, b.Logs(ctx, f), f.Close())
	return bundleName, errors.Join(errs...)
}

// clusterEvents are the events of every cluster and of the hub, the oldest
// first, as text; for one that does not answer, why.
func clusterEvents(ctx context.Context, b backend) map[string]string {
	var (
		mu  sync.Mutex
		wg  sync.WaitGroup
		out = map[string]string{}
	)
	for _, name := range lab.ClusterNames(b) {
		wg.Go(func() {
			text, err := eventsOf(ctx, b, name)
			if err != nil {
				text = "(" + err.Error() + ")\n"
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = text
		})
	}
	wg.Wait()
	return out
}

func eventsOf(ctx context.Context, b backend, cluster string) (string, error) {
	cfg, err := b.RESTConfig(cluster)
	if err != nil {
		return "", err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = eventsLimit
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return "", err
	}
	list, err := client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	return eventsText(list.Items), nil
}

// eventsText is a line for each event, by the time when it was last seen.
func eventsText(events []corev1.Event) string {
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return lastSeen(&a).Compare(lastSeen(&b)) })
	var text strings.Builder
	for i := range events {
		e := &events[i]
		o := e.InvolvedObject
		fmt.Fprintf(&text, "%s %-8s %s/%s/%s %s: %s", lastSeen(e).UTC().Format("15:04:05"), e.Type, strings.ToLower(o.Kind), o.Namespace, o.Name,
			e.Reason, strings.ReplaceAll(strings.TrimSpace(e.Message), "\n", " "))
		if n := max(e.Count, seriesCount(e)); n > 1 {
			fmt.Fprintf(&text, " (%d times)", n)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// lastSeen is an event's time, whichever of its fields the reporter set.
func lastSeen(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

func seriesCount(e *corev1.Event) int32 {
	if e.Series == nil {
		return 0
	}
	return e.Series.Count
}
