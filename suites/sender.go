package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// senderWithin bounds how long the workload that asks may take to be ready.
const senderWithin = 10 * time.Second

// workloadOf is the workload of CLUSTER/WORKLOAD or WORKLOAD.
func workloadOf(from string) string { return from[strings.Index(from, "/")+1:] }

// findSender finds a ready pod of CLUSTER/WORKLOAD, or of WORKLOAD wherever the
// hub has placed it; of several clusters the first that the plan predicts.
func (s *scenario) findSender(ctx context.Context, place string) (*sender, error) {
	name, _, named := strings.Cut(place, "/")
	workload := workloadOf(place)
	var candidates []string
	switch {
	case named:
		candidates = []string{name}
	case s.plan.Hub != nil:
		candidates = s.plan.Hub.Members
	default:
		return nil, invalid("%q names no cluster, and there is no hub that places it", place)
	}
	var found *cluster
	var pod *corev1.Pod
	_, err := until(ctx, "a ready pod of "+place, senderWithin, func(ctx context.Context) (string, bool) {
		var seen []string
		for _, name := range candidates {
			c, err := s.clients.cluster(name)
			if err != nil {
				return short(err), false
			}
			p, err := lab.ReadyPod(ctx, c.kube, "", workload)
			if err == nil {
				found, pod = c, p
				return p.Name, true
			}
			seen = append(seen, name+": "+short(err))
		}
		return strings.Join(seen, "; "), false
	})
	if err != nil {
		return nil, err
	}
	s.touch(found.name, deployments, metav1.NamespaceDefault, workload)
	if !named {
		s.rec.mark(found.name, workload+" is here")
		if expected := sortedKeys(s.predict.Origins); len(expected) > 0 {
			s.check("where "+workload+" is", strings.Join(expected, " or "), found.name, slices.Contains(expected, found.name))
		}
	}
	return &sender{cluster: found, namespace: pod.Namespace, pod: pod.Name, container: pod.Spec.Containers[0].Name, owned: metav1.GetControllerOf(pod) != nil}, nil
}

// regionCheck judges whether each reply names the region of the cluster whose
// pod gave it.
func (s *scenario) regionCheck(replies []reply, home map[string]string) Check {
	named := map[string]int{}
	right, wrong := 0, ""
	for _, r := range replies {
		c := s.plan.Cluster(home[r.pod])
		if c == nil {
			continue // no answer; that is another check's
		}
		_, rest, there := strings.Cut(r.body, "REGION=")
		region := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz0123456789-"))]
		if !there || region != c.Region {
			wrong = fmt.Sprintf("; one from %s names %q", c.Name, region)
			continue
		}
		named[region]++
		right++
	}
	return Check{
		What: "replies that name their region", Expected: fmt.Sprintf("%d of %d, of several regions", len(replies), len(replies)),
		Seen: fmt.Sprintf("%d of %d (%s)%s", right, len(replies), division(named), wrong),
		OK:   right == len(replies) && len(named) > 1,
	}
}
