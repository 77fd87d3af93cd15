package hollow

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// events tells the API server what happens, in the background: repeated events
// are counted on one object, a flood is thinned out, and what cannot be sent
// is forgotten.
type events struct {
	ctx       context.Context // after its end nothing is told any more
	recorder  record.EventRecorder
	broadcast record.EventBroadcaster
	node      corev1.ObjectReference
}

func newEvents(ctx context.Context, client kubernetes.Interface, node string) *events {
	b := record.NewBroadcaster(record.WithContext(ctx), record.WithSleepDuration(time.Second))
	b.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return &events{
		ctx:       ctx,
		recorder:  b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: node}),
		broadcast: b,
		node:      corev1.ObjectReference{Kind: "Node", Name: node, UID: types.UID(node)},
	}
}

func (e *events) pod(ref corev1.ObjectReference, kind, reason, format string, args ...any) {
	if e.ctx.Err() != nil {
		return
	}
	e.recorder.Eventf(&ref, kind, reason, format, args...)
}

func (e *events) ofNode(kind, reason, format string, args ...any) {
	e.recorder.Eventf(&e.node, kind, reason, format, args...)
}

func (e *events) stop() { e.broadcast.Shutdown() }
