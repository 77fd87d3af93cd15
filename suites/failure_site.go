package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// site is a stretched cluster whose one site fails, while that is asked.
type site struct {
	s        *scenario
	cluster  *cluster
	region   string
	nodes    []lab.NodeState // of the site
	workload string
	replicas int
}

// siteFailure stops every node of a region under a workload that runs there,
// follows what Kubernetes does about it, and starts them again.
func (s *scenario) siteFailure(ctx context.Context) error {
	sc := s.spec.SiteFailure
	k, err := s.findSite(ctx)
	if err != nil {
		return err
	}
	if err := k.bringHome(ctx); err != nil {
		return err
	}
	s.begin("look where the pods of %s are", k.workload)
	ok := s.await(ctx, "the pods of "+k.workload, fmt.Sprintf("%d ready in %s", k.replicas, k.region), time.Minute,
		func(ctx context.Context) (string, bool) {
			here, elsewhere, err := k.ready(ctx)
			if err != nil {
				return short(err), false
			}
			return fmt.Sprintf("%d ready in %s, %d elsewhere", here, k.region, elsewhere), here == k.replicas && elsewhere == 0
		})
	if !ok {
		return nil
	}

	if !k.askPage(ctx, "before", s.patience(30*time.Second)) {
		return nil
	}
	s.begin("stop %s", k.region)
	failed := time.Now()
	if s.opts.Invert {
		s.rec.inverted(k.notStopped())
	} else {
		for i := range k.nodes {
			at, err := s.inject(ctx, k.fault(i))
			if err != nil {
				return err
			}
			if i == 0 {
				failed = at
			}
		}
	}

	window := s.predict.NotReady
	if d := sc.Expect.NotReadyWithin.Duration; d > 0 {
		window[1] = d
	}
	s.begin("wait for the nodes of %s to be NotReady", k.region)
	ok = s.inWindow(ctx, "every node of "+k.region+" is NotReady", failed, window, func(ctx context.Context) (string, bool) {
		return k.readiness(ctx, func(status string) bool { return status != string(corev1.ConditionTrue) })
	})
	if !ok {
		return k.whetherStopped(ctx)
	}
	s.rec.mark(k.region, "NotReady")

	window = s.predict.Replaced
	if d := sc.Expect.ReplacedWithin.Duration; d > 0 {
		window[1] = d
	}
	s.begin("wait for the pods of %s to be replaced", k.workload)
	ok = s.inWindow(ctx, "the pods of "+k.workload+" are replaced elsewhere", failed, window, func(ctx context.Context) (string, bool) {
		_, elsewhere, err := k.ready(ctx)
		if err != nil {
			return short(err), false
		}
		return fmt.Sprintf("%d of %d ready elsewhere", elsewhere, k.replicas), elsewhere == k.replicas
	})
	if !ok {
		return k.whetherStopped(ctx)
	}
	s.rec.mark(k.region, "replaced")
	if !k.askPage(ctx, "without "+k.region, sitePageWithin) {
		return nil
	}
	return k.comeBack(ctx)
}

// findSite looks up what the scenario is about.
func (s *scenario) findSite(ctx context.Context) (*site, error) {
	sc := s.spec.SiteFailure
	c, err := s.clients.cluster(sc.Cluster)
	if err != nil {
		return nil, err
	}
	k := &site{s: s, cluster: c, region: sc.Region, workload: sc.Workload}
	st, err := s.lab.State(ctx)
	if err != nil {
		return nil, invalid("read the lab's state: %v", err)
	}
	for _, n := range s.plan.Cluster(sc.Cluster).In(sc.Region) {
		found := findNode(st, sc.Cluster, n.Name)
		if found == nil {
			return nil, invalid("the lab has no node %s/%s", sc.Cluster, n.Name)
		}
		s.touch(sc.Cluster, nodes, "", found.Node)
		k.nodes = append(k.nodes, *found)
	}
	s.touch(sc.Cluster, deployments, metav1.NamespaceDefault, k.workload)
	d, err := c.kube.AppsV1().Deployments(metav1.NamespaceDefault).Get(ctx, k.workload, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sc.Cluster, err)
	}
	k.replicas = int(replicasOf(d))
	if k.replicas == 0 {
		return nil, invalid("deployment %s/%s has no replicas: nothing would have to be replaced", sc.Cluster, k.workload)
	}
	return k, nil
}

// bringHome restarts the workload where pods of it are elsewhere, as they are
// after the site failed before: the scheduler puts them where they belong, but
// moves none that runs.
func (k *site) bringHome(ctx context.Context) error {
	_, elsewhere, err := k.ready(ctx)
	if err != nil || elsewhere == 0 {
		return err
	}
	k.s.begin("restart %s, so that its pods are scheduled anew", k.workload)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	_, err = k.cluster.kube.AppsV1().Deployments(metav1.NamespaceDefault).Patch(ctx, k.workload, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (k *site) fault(i int) lab.Fault {
	return lab.Fault{Kind: lab.StopNode, Cluster: k.cluster.name, Node: k.nodes[i].Name}
}

// pods lists the workload's pods, those being deleted too.
func (k *site) pods(ctx context.Context) ([]corev1.Pod, error) {
	d, err := k.cluster.kube.AppsV1().Deployments(metav1.NamespaceDefault).Get(ctx, k.workload, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	list, err := k.cluster.kube.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func (k *site) isOfSite(node string) bool {
	return slices.ContainsFunc(k.nodes, func(n lab.NodeState) bool { return n.Node == node })
}

// ready counts the workload's ready pods in the site and elsewhere.
func (k *site) ready(ctx context.Context) (here, elsewhere int, err error) {
	pods, err := k.pods(ctx)
	for i := range pods {
		switch p := &pods[i]; {
		case !podReady(p):
		case k.isOfSite(p.Spec.NodeName):
			here++
		default:
			elsewhere++
		}
	}
	return here, elsewhere, err
}

// readiness tells whether each of the site's nodes has a status that will do.
func (k *site) readiness(ctx context.Context, will func(status string) bool) (string, bool) {
	var seen []string
	all := true
	for _, n := range k.nodes {
		status, err := nodeReady(ctx, k.cluster, n.Node)
		seen = append(seen, n.Name+" Ready="+status)
		all = all && err == nil && will(status)
	}
	return strings.Join(seen, ", "), all
}

func (k *site) notStopped() string {
	return fmt.Sprintf("site %s of %s was not stopped", k.region, k.cluster.name)
}

// whetherStopped accounts for a failure that had no effect: nodes may still run.
func (k *site) whetherStopped(ctx context.Context) error {
	st, err := k.s.lab.State(ctx)
	if err != nil {
		return fmt.Errorf("read the lab's state: %w", err)
	}
	var running []string
	for _, n := range k.nodes {
		if now := findNode(st, k.cluster.name, n.Name); now != nil && now.Running {
			running = append(running, n.Name)
		}
	}
	if len(running) > 0 {
		return fmt.Errorf("%s: the lab says that %s run", k.notStopped(), strings.Join(running, ", "))
	}
	return nil
}

// comeBack starts the site again, and waits until its nodes are Ready and the
// pods that were evicted are gone.
func (k *site) comeBack(ctx context.Context) error {
	const within = 30 * time.Second
	s := k.s
	s.begin("start %s again", k.region)
	for i := range k.nodes {
		if _, err := s.heal(ctx, k.fault(i)); err != nil {
			return err
		}
	}
	ok := s.await(ctx, "every node of "+k.region+" is Ready again", "Ready=True", within, func(ctx context.Context) (string, bool) {
		return k.readiness(ctx, func(status string) bool { return status == string(corev1.ConditionTrue) })
	})
	if !ok {
		return nil
	}
	s.rec.mark(k.region, "Ready again")
	k.askPage(ctx, "with "+k.region+" again", sitePageWithin)
	s.await(ctx, "the evicted pods are gone from "+k.region, "0 left", within, func(ctx context.Context) (string, bool) {
		pods, err := k.pods(ctx)
		if err != nil {
			return short(err), false
		}
		left := 0
		for i := range pods {
			if pods[i].DeletionTimestamp != nil {
				left++
			}
		}
		return fmt.Sprintf("%d left", left), left == 0
	})
	s.await(ctx, "the Deployments of "+k.cluster.name, "all ready", within, func(ctx context.Context) (string, bool) {
		seen := unreadyDeployments(ctx, k.cluster)
		return seen, seen == "all ready"
	})
	return nil
}
