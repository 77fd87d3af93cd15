package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Events come in the order of their names, and say when they were seen in one
// of three fields.
func TestEventsTextIsInTheOrderOfTime(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 28, 12, minute, 0, 0, time.UTC) }
	event := func(name, reason string) corev1.Event {
		return corev1.Event{Type: "Normal", Reason: reason, Message: "two\nlines", InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: name}}
	}
	first, second, third := event("c", "Pulled"), event("b", "Killing"), event("a", "BackOff")
	first.LastTimestamp = metav1.NewTime(at(1))
	second.EventTime = metav1.NewMicroTime(at(2))
	third.EventTime = metav1.NewMicroTime(at(0))
	third.Series = &corev1.EventSeries{Count: 4, LastObservedTime: metav1.NewMicroTime(at(3))}
	want := `12:01:00 Normal   pod/default/c Pulled: two lines
12:02:00 Normal   pod/default/b Killing: two lines
12:03:00 Normal   pod/default/a BackOff: two lines (4 times)
`
	if got := eventsText([]corev1.Event{third, second, first}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
