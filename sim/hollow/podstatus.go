package hollow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

func isTerminal(p corev1.PodPhase) bool {
	return p == corev1.PodSucceeded || p == corev1.PodFailed
}

// report tells the API server of every change, until the pod's end has been
// told and, if it is being deleted, the object is gone.
func (p *pod) report() {
	retry := 100 * time.Millisecond
	for {
		select {
		case <-p.dirty:
		case <-p.ctx.Done():
			return
		}
		over, err := p.tell()
		if err == nil && over {
			return
		}
		if err != nil {
			sleep(p.ctx, retry)
			retry = min(retry*2, 2*time.Second)
			p.touch()
			continue
		}
		retry = 100 * time.Millisecond
	}
}

// tell sends the status if it is news. over means there is nothing left to
// tell, ever.
func (p *pod) tell() (over bool, err error) {
	p.mu.Lock()
	api, gone := p.api, p.deleted
	want := p.status()
	stopped := p.stopped
	p.mu.Unlock()
	if gone {
		return stopped, nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, requestTimeout)
	defer cancel()
	if !equality.Semantic.DeepEqual(want, &api.Status) {
		patch, err := statusPatch(p.uid, &api.Status, want)
		if err != nil {
			return false, err
		}
		got, err := p.k.client.CoreV1().Pods(p.namespace).Patch(ctx, p.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) && strings.Contains(err.Error(), "uid") {
			p.gone()
			return stopped, nil
		}
		if err != nil {
			return false, fmt.Errorf("status of pod %s/%s: %w", p.namespace, p.name, err)
		}
		got.ManagedFields = nil
		p.mu.Lock()
		if p.api == api || p.api.ResourceVersion == api.ResourceVersion {
			p.api = got
		}
		p.mu.Unlock()
	}
	if !stopped {
		return false, nil
	}
	p.mu.Lock()
	deleting := p.api.DeletionTimestamp != nil
	p.mu.Unlock()
	if !deleting {
		// A pod that is over stays until it is deleted: then it is told again.
		return false, nil
	}
	zero := int64(0)
	err = p.k.client.CoreV1().Pods(p.namespace).Delete(ctx, p.name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.uid}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return false, fmt.Errorf("delete pod %s/%s: %w", p.namespace, p.name, err)
	}
	return true, nil
}

// gone notes that the API server knows the pod no more: what still runs of it
// is ended.
func (p *pod) gone() {
	p.mu.Lock()
	p.deleted = true
	p.mu.Unlock()
	p.terminate(p.grace())
	p.touch()
}

// statusPatch is the change of a status that a kubelet sends: it leaves alone
// the conditions of others.
func statusPatch(uid types.UID, from, to *corev1.PodStatus) ([]byte, error) {
	old, err := json.Marshal(corev1.Pod{Status: *from})
	if err != nil {
		return nil, err
	}
	next, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Status: *to})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(old, next, corev1.Pod{})
}

// status computes the pod's status on top of the one the API server has. The
// pod's mutex is held.
func (p *pod) status() *corev1.PodStatus {
	s := p.api.Status.DeepCopy()
	if p.frozen != nil {
		return s
	}
	s.ObservedGeneration = p.api.Generation
	s.StartTime = &p.startTime
	s.HostIP, s.HostIPs = p.k.cfg.Addr.String(), []corev1.HostIP{{IP: p.k.cfg.Addr.String()}}
	if p.addr.IsValid() && (p.sandbox || s.PodIP != "") {
		s.PodIP, s.PodIPs = p.addr.String(), []corev1.PodIP{{IP: p.addr.String()}}
	}
	s.InitContainerStatuses, s.ContainerStatuses = nil, nil
	for _, c := range p.containers {
		if c.kind == mainContainer {
			s.ContainerStatuses = append(s.ContainerStatuses, c.status())
		} else {
			s.InitContainerStatuses = append(s.InitContainerStatuses, c.status())
		}
	}
	s.Phase = p.phase()
	s.Reason, s.Message = p.failed, p.failedMsg
	p.conditions(s)
	return s
}

func (c *container) status() corev1.ContainerStatus {
	started, ready := c.started, c.started && c.ready && c.state.Running != nil
	if c.kind == initContainer {
		ready = c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.image, RestartCount: c.restarts,
		State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(), Ready: ready, Started: &started,
	}
	if c.id != "" {
		s.ContainerID = runtimeName + c.id
	}
	return s
}

// phase follows the kubelet's getPhase. A phase that is final is told only
// when nothing runs any more.
func (p *pod) phase() corev1.PodPhase {
	if p.failed != "" && p.stopped {
		return corev1.PodFailed
	}
	var waiting, running, stopped, succeeded, pendingInit int
	for _, c := range p.containers {
		t := c.state.Terminated
		if t == nil && c.state.Waiting != nil {
			t = c.last.Terminated
		}
		switch c.kind {
		case initContainer:
			switch {
			case c.state.Terminated != nil && c.state.Terminated.ExitCode == 0:
			case c.state.Terminated != nil && p.spec.RestartPolicy == corev1.RestartPolicyNever:
				if p.stopped {
					return corev1.PodFailed
				}
				pendingInit++
			default:
				pendingInit++
			}
		case sidecarContainer:
			if !c.started && c.last.Terminated == nil && c.state.Terminated == nil {
				pendingInit++
			}
		case mainContainer:
			switch {
			case c.state.Running != nil:
				running++
			case t != nil:
				stopped++
				if t.ExitCode == 0 {
					succeeded++
				}
			default:
				waiting++
			}
		}
	}
	if p.stopped {
		// Over, by its own end or because it was ended: all or nothing.
		if waiting == 0 && pendingInit == 0 && stopped == succeeded {
			return corev1.PodSucceeded
		}
		return corev1.PodFailed
	}
	switch {
	case pendingInit > 0 && running == 0, waiting > 0:
		return corev1.PodPending
	}
	return corev1.PodRunning
}

// conditions sets the kubelet's conditions and leaves the others.
func (p *pod) conditions(s *corev1.PodStatus) {
	completed := s.Phase == corev1.PodSucceeded
	var unreadyInit, unready []string
	for _, c := range p.containers {
		switch {
		case c.kind == initContainer:
			if c.state.Terminated == nil || c.state.Terminated.ExitCode != 0 {
				unreadyInit = append(unreadyInit, c.spec.Name)
			}
		case c.kind == sidecarContainer && !c.started && c.last.Terminated == nil && c.state.Terminated == nil:
			unreadyInit = append(unreadyInit, c.spec.Name)
		}
		if c.kind != initContainer && !(c.started && c.ready && c.state.Running != nil) {
			unready = append(unready, c.spec.Name)
		}
	}
	p.condition(s, corev1.PodReadyToStartContainers, p.sandbox, "", "")
	switch {
	case completed:
		p.condition(s, corev1.PodInitialized, true, "PodCompleted", "")
		p.condition(s, corev1.ContainersReady, false, "PodCompleted", "")
		p.condition(s, corev1.PodReady, false, "PodCompleted", "")
		return
	case s.Phase == corev1.PodFailed:
		p.condition(s, corev1.ContainersReady, false, "PodFailed", "")
		p.condition(s, corev1.PodReady, false, "PodFailed", "")
		return
	}
	if len(unreadyInit) > 0 {
		p.condition(s, corev1.PodInitialized, false, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %v", unreadyInit))
	} else {
		p.condition(s, corev1.PodInitialized, true, "", "")
	}
	if len(unready) > 0 {
		msg := fmt.Sprintf("containers with unready status: %v", unready)
		p.condition(s, corev1.ContainersReady, false, "ContainersNotReady", msg)
		p.condition(s, corev1.PodReady, false, "ContainersNotReady", msg)
		return
	}
	p.condition(s, corev1.ContainersReady, true, "", "")
	var missing []string
	for _, g := range p.spec.ReadinessGates {
		if !conditionTrue(s, g.ConditionType) {
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or is not True.", g.ConditionType))
		}
	}
	if len(missing) > 0 {
		p.condition(s, corev1.PodReady, false, "ReadinessGatesNotReady", strings.Join(missing, ", "))
		return
	}
	p.condition(s, corev1.PodReady, true, "", "")
}

func conditionTrue(s *corev1.PodStatus, t corev1.PodConditionType) bool {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return s.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return false
}

func (p *pod) condition(s *corev1.PodStatus, t corev1.PodConditionType, ok bool, reason, message string) {
	want := corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: p.api.Generation}
	if ok {
		want.Status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == t {
			want.LastTransitionTime = c.LastTransitionTime
			if c.Status != want.Status {
				want.LastTransitionTime = now()
			}
			want.LastProbeTime = c.LastProbeTime
			*c = want
			return
		}
	}
	want.LastTransitionTime = now()
	s.Conditions = append(s.Conditions, want)
}
