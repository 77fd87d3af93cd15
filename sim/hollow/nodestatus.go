package hollow

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// RuntimeVersion is what a hollow node's status names as its container
// runtime: it says that no image ran.
const RuntimeVersion = "atoll://dev"

func newBootID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// register creates the Node, or takes over one that is there, and reports it
// Ready. It tries again until ctx is done.
func (k *kubelet) register(ctx context.Context) error {
	retry := 50 * time.Millisecond
	for {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := k.tryRegister(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if !sleep(ctx, retry) {
			return fmt.Errorf("register: %w", err)
		}
		retry = min(retry*2, time.Second)
	}
}

func (k *kubelet) tryRegister(ctx context.Context) error {
	labels := map[string]string{
		corev1.LabelHostname:   k.cfg.Name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
	maps.Copy(labels, k.cfg.Labels)
	nodes := k.client.CoreV1().Nodes()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.cfg.Name, Labels: labels},
		Spec: corev1.NodeSpec{
			PodCIDR: k.cfg.PodCIDR.String(), PodCIDRs: []string{k.cfg.PodCIDR.String()},
			Taints: k.cfg.Taints,
		},
	}
	k.fill(&node.Status)
	_, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if err == nil || !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	if _, err := nodes.Patch(ctx, k.cfg.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	return k.tellStatus(ctx, true)
}

// fill sets what the kubelet knows of the node's status.
func (k *kubelet) fill(s *corev1.NodeStatus) {
	s.Capacity, s.Allocatable = k.cfg.capacity(), k.cfg.capacity()
	s.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: k.cfg.Addr.String()},
		{Type: corev1.NodeHostName, Address: k.cfg.Name},
	}
	s.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	s.NodeInfo = corev1.NodeSystemInfo{
		MachineID: k.cfg.Name, SystemUUID: k.cfg.Name, BootID: k.boot,
		KernelVersion: "atoll", OSImage: "atoll hollow node", ContainerRuntimeVersion: RuntimeVersion,
		KubeletVersion: k.cfg.Version, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	k.nodeCondition(s, corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	k.nodeCondition(s, corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	k.nodeCondition(s, corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	k.nodeCondition(s, corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status")
}

func (k *kubelet) nodeCondition(s *corev1.NodeStatus, t corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) {
	at := now()
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == t {
			if c.Status != status {
				c.LastTransitionTime = at
			}
			c.Status, c.Reason, c.Message, c.LastHeartbeatTime = status, reason, message, at
			return
		}
	}
	s.Conditions = append(s.Conditions, corev1.NodeCondition{Type: t, Status: status, Reason: reason, Message: message, LastHeartbeatTime: at, LastTransitionTime: at})
}

// statusReport is how often an unchanged status is sent all the same, as a
// kubelet does; the lease is the heartbeat.
const statusReport = 5 * time.Minute

// tellStatus sends the node's status if it differs from what the API server
// has, or with force.
func (k *kubelet) tellStatus(ctx context.Context, force bool) error {
	node, err := k.client.CoreV1().Nodes().Get(ctx, k.cfg.Name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	want := node.Status.DeepCopy()
	k.fill(want)
	if !force && sameNodeStatus(&node.Status, want) {
		return nil
	}
	from, err := json.Marshal(corev1.Node{Status: node.Status})
	if err != nil {
		return err
	}
	to, err := json.Marshal(corev1.Node{Status: *want})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(from, to, corev1.Node{})
	if err != nil {
		return err
	}
	_, err = k.client.CoreV1().Nodes().PatchStatus(ctx, k.cfg.Name, patch)
	return err
}

func sameNodeStatus(a, b *corev1.NodeStatus) bool {
	if len(a.Conditions) != len(b.Conditions) || a.NodeInfo.BootID != b.NodeInfo.BootID {
		return false
	}
	for i := range a.Conditions {
		x, y := a.Conditions[i], b.Conditions[i]
		if x.Status != y.Status || x.Reason != y.Reason || y.LastHeartbeatTime.Sub(x.LastHeartbeatTime.Time) > statusReport {
			return false
		}
	}
	return true
}

// keepStatus reports the node's status every period, and at once after the
// API server could not be reached: it may have called the node Unknown.
func (k *kubelet) keepStatus() {
	tick := time.NewTicker(k.cfg.StatusPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-k.recover:
		case <-k.ctx.Done():
			return
		}
		for {
			ctx, cancel := context.WithTimeout(k.ctx, requestTimeout)
			err := k.tellStatus(ctx, false)
			if apierrors.IsNotFound(err) {
				err = k.tryRegister(ctx) // deleted by someone: a kubelet registers again
			}
			cancel()
			if err == nil || !sleep(k.ctx, min(k.cfg.StatusPeriod, time.Second)) {
				break
			}
		}
	}
}

// keepLease renews the node's lease every quarter of its duration, through any
// outage. After a failure it makes new connections, as a kubelet does: those
// made before a partition would be tried again only after TCP's own back-off.
func (k *kubelet) keepLease() {
	period := k.cfg.LeaseDuration / 4
	var lease *coordv1.Lease
	failing := false
	for {
		ctx, cancel := context.WithTimeout(k.ctx, period)
		next, err := k.renew(ctx, lease)
		cancel()
		if k.ctx.Err() != nil {
			return
		}
		wait := period
		if err != nil {
			k.cfg.Log.V(1).Info("renewing lease", "node", k.cfg.Name, "err", err.Error())
			lease, failing = nil, true
			if answer := apierrors.APIStatus(nil); !errors.As(err, &answer) {
				k.conns.CloseAll()
			}
			wait = min(period, time.Second)
		} else {
			lease = next
			if failing {
				failing = false
				select {
				case k.recover <- struct{}{}:
				default:
				}
			}
		}
		if !sleep(k.ctx, wait) {
			return
		}
	}
}

// renew updates the lease, or reads or creates it first.
func (k *kubelet) renew(ctx context.Context, lease *coordv1.Lease) (*coordv1.Lease, error) {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	if lease == nil {
		got, err := leases.Get(ctx, k.cfg.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			l := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: k.cfg.Name, Namespace: corev1.NamespaceNodeLease}}
			if node, err := k.client.CoreV1().Nodes().Get(ctx, k.cfg.Name, metav1.GetOptions{}); err == nil {
				l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
			}
			k.mark(l)
			return leases.Create(ctx, l, metav1.CreateOptions{})
		}
		if err != nil {
			return nil, err
		}
		lease = got
	}
	lease = lease.DeepCopy()
	k.mark(lease)
	return leases.Update(ctx, lease, metav1.UpdateOptions{})
}

func (k *kubelet) mark(l *coordv1.Lease) {
	seconds := int32((k.cfg.LeaseDuration + time.Second - 1) / time.Second)
	at := metav1.NewMicroTime(time.Now())
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &k.cfg.Name, &seconds, &at
}
