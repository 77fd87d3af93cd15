package example

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// Each cluster is a Kubernetes of its own.
func TestClustersAreApart(t *testing.T) {
	f := features.New("a ConfigMap in east").
		Setup(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			note := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "note", Namespace: "default"}}
			if err := clientOf(ctx, t, "east").Resources().Create(ctx, note); err != nil {
				t.Fatal(err)
			}
			return ctx
		}).
		Assess("is in east, and not in west", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			var note corev1.ConfigMap
			if err := clientOf(ctx, t, "east").Resources().Get(ctx, "note", "default", &note); err != nil {
				t.Error(err)
			}
			if err := clientOf(ctx, t, "west").Resources().Get(ctx, "note", "default", &note); !apierrors.IsNotFound(err) {
				t.Errorf("in west: %v", err)
			}
			return ctx
		}).Feature()
	world.Test(t, f)
}

// A client in east pays the ocean for every question to west, and gets no
// answer while the two are cut apart.
func TestTheOceanIsInBetween(t *testing.T) {
	read := func(ctx context.Context, t *testing.T) (time.Duration, error) {
		start := time.Now()
		var nodes corev1.NodeList
		err := clientFrom(ctx, t, "east", "west").Resources().List(ctx, &nodes)
		return time.Since(start), err
	}
	f := features.New("a client in east that reads from west").
		Assess("waits for the round trips", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			// Connect, TLS, request: three round trips of 80 ms.
			if took, err := read(ctx, t); err != nil || took < 240*time.Millisecond {
				t.Errorf("took %v, %v", took, err)
			}
			return ctx
		}).
		Assess("gets no answer through a partition", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			b := backend(ctx, t)
			if err := b.Apply(ctx, []lab.Fault{{Kind: lab.Partition, Between: []string{"east", "west"}}}); err != nil {
				t.Fatal(err)
			}
			if _, err := read(ctx, t); err == nil {
				t.Error("an answer crossed the partition")
			}
			if err := b.Apply(ctx, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := read(ctx, t); err != nil {
				t.Errorf("healed: %v", err)
			}
			return ctx
		}).Feature()
	world.Test(t, f)
}
