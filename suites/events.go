package suites

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

// eventWithin bounds how long an event may take to be there, on top of the
// WAN's round trips.
const eventWithin = 10 * time.Second

// expectedEvents are the file's, else those that follow from the policy.
func (s *scenario) expectedEvents(i int, step topologies.PlacementStep) []topologies.EventExpect {
	if step.Events != nil {
		return step.Events
	}
	if i < len(s.predict.Events) {
		return s.predict.Events[i]
	}
	return nil
}

// judgeEvents waits for each event on the hub's objects, as `kubectl describe`
// shows them: those about the object as it is, not about a former one of the
// same name.
func (s *scenario) judgeEvents(ctx context.Context, name, namespace string, expected []topologies.EventExpect) error {
	if len(expected) == 0 {
		return nil
	}
	hub, err := s.clients.cluster(lab.HubName)
	if err != nil {
		return err
	}
	objects, err := client.New(hub.cfg, client.Options{Scheme: runtime.NewScheme()}) // knows every kind's resource
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, e := range expected {
		want := strings.TrimSuffix(e.Reason+": "+e.Message, ": ")
		s.await(ctx, fmt.Sprintf("%s: event on %s", name, e.On), want, s.patience(eventWithin+20*s.longestRTT()), func(ctx context.Context) (string, bool) {
			return lookForEvent(ctx, hub, objects, namespace, e)
		})
	}
	return nil
}

func lookForEvent(ctx context.Context, hub *cluster, objects client.Client, namespace string, e topologies.EventExpect) (string, bool) {
	kind, name, _ := strings.Cut(e.On, "/")
	list, err := hub.kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.kind": kind, "involvedObject.name": name}.String(),
	})
	if err != nil {
		return short(err), false
	}
	seen := "no event"
	for i := range list.Items {
		ev := &list.Items[i]
		about := &metav1.PartialObjectMetadata{}
		about.SetGroupVersionKind(schema.FromAPIVersionAndKind(ev.InvolvedObject.APIVersion, kind))
		if err := objects.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, about); err != nil {
			return short(err), false
		}
		if about.UID != ev.InvolvedObject.UID {
			continue
		}
		text := ev.Reason + ": " + ev.Message
		if ev.Reason == e.Reason && strings.Contains(ev.Message, e.Message) {
			return text, true
		}
		seen = "no such event, but " + text
	}
	return seen, false
}
