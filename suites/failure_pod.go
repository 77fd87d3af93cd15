package suites

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// podReplacedWithin is how long a killed pod's replacement may take where the
// scenario does not say.
const podReplacedWithin = 30 * time.Second

// podFailure kills a pod and looks at what came instead.
func (s *scenario) podFailure(ctx context.Context) error {
	sc := s.spec.PodFailure
	target := lab.PodTarget{Cluster: sc.Cluster, Namespace: cmp.Or(sc.Namespace, metav1.NamespaceDefault), Name: sc.Name}
	within := cmp.Or(sc.Expect.ReplacedWithin.Duration, podReplacedWithin)
	c, err := s.clients.cluster(sc.Cluster)
	if err != nil {
		return err
	}
	killer, ok := s.lab.(lab.PodKiller)
	if !ok {
		return fmt.Errorf("kill a pod of %s: %w", target, lab.ErrUnsupported)
	}
	what := "a pod of " + target.String()
	if s.opts.Invert {
		return s.podNotKilled(ctx, c, target)
	}
	s.begin("kill %s", what)
	limited, cancel := context.WithTimeoutCause(ctx, within+windowSlack, fmt.Errorf("not within %v", within))
	defer cancel()
	at := time.Now()
	done, err := killer.KillPod(limited, target)
	if done.Pod == "" {
		return err // nothing was killed
	}
	lane := sc.Cluster + "/" + done.Node
	s.rec.fault(at, lane, fmt.Sprintf("%s %s", lab.KillPodKind, done.Pod))
	s.touch(sc.Cluster, resource{Version: "v1", Resource: "pods"}, target.Namespace, done.Pod)
	seen := fmt.Sprintf("%s on %s", done.Replacement, done.ReplacementNode)
	if err != nil {
		seen = err.Error()
	}
	if !s.checkTimed("pod "+done.Pod+" is replaced", fmt.Sprintf("another ready within %v", within), seen, err == nil && done.Took <= within, done.Took) {
		return nil
	}
	s.rec.markAt(at.Add(done.Took), lane, "replaced by "+done.Replacement)
	s.await(ctx, "pod "+done.Pod, "gone", within, func(ctx context.Context) (string, bool) {
		p, err := c.kube.CoreV1().Pods(target.Namespace).Get(ctx, done.Pod, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return "gone", true
		case err != nil:
			return short(err), false
		case done.Pod == done.Replacement: // of a StatefulSet, by its name
			return "gone, and another of its name", p.DeletionTimestamp == nil
		}
		return string(p.Status.Phase), false
	})
	return nil
}

// podNotKilled expects of a pod that nobody killed what is expected of one
// that was.
func (s *scenario) podNotKilled(ctx context.Context, c *cluster, target lab.PodTarget) error {
	cause := fmt.Sprintf("no pod of %s was killed", target)
	s.rec.inverted(cause)
	pod, err := lab.ReadyPod(ctx, c.kube, target.Namespace, target.Name)
	if err != nil {
		return err
	}
	gone := s.await(ctx, "pod "+pod.Name, "gone", s.patience(podReplacedWithin), func(ctx context.Context) (string, bool) {
		_, err := c.kube.CoreV1().Pods(target.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return short(err), apierrors.IsNotFound(err)
		}
		return "there", false
	})
	if !gone {
		return fmt.Errorf("%s", cause)
	}
	return nil
}
