package hollow

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/atoll-dev/atoll/sim/program"
)

func TestPodRunsAndIsDeleted(t *testing.T) {
	var r recorder
	w := newWorld(t, program.Images{"app": image(func(ctx context.Context, p *program.Process) error {
		r.add("start " + strings.Join(p.Args[1:], ","))
		<-ctx.Done()
		r.add("end")
		return nil
	})})
	p := w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "docker.io/library/app:1", Args: []string{"a", "$(HOSTNAME)"}}}})
	api := w.await("p", "ready", isReady)
	s := api.Status
	if s.Phase != corev1.PodRunning || s.PodIP != "10.2.0.2" || s.HostIP != "10.1.0.2" || len(s.PodIPs) != 1 {
		t.Errorf("phase %s, pod %s, host %s", s.Phase, s.PodIP, s.HostIP)
	}
	c := s.ContainerStatuses[0]
	if c.State.Running == nil || !*c.Started || !c.Ready || !strings.HasPrefix(c.ContainerID, "atoll://") || c.ImageID == "" {
		t.Errorf("container status %+v", c)
	}
	w.delete(p, 30)
	w.gone("p")
	if got, want := r.list(), []string{"start a,p", "end"}; !slices.Equal(got, want) {
		t.Errorf("program did %q, want %q", got, want)
	}
	if h := w.k.cfg.Network.Host(p.addr); h != nil {
		t.Error("the pod's host is still on the network")
	}
}

func TestInitContainersSidecarsAndEnd(t *testing.T) {
	var r recorder
	step := func(name string, err error) program.Image {
		return image(func(context.Context, *program.Process) error { r.add(name); return err })
	}
	tries := 0
	images := program.Images{
		"one": step("one", nil),
		"two": image(func(context.Context, *program.Process) error {
			if tries++; tries == 1 {
				r.add("two fails")
				return &program.ExitError{Code: 3}
			}
			r.add("two")
			return nil
		}),
		"side": image(func(ctx context.Context, _ *program.Process) error {
			r.add("side starts")
			<-ctx.Done()
			r.add("side ends")
			return nil
		}),
		"main": step("main", nil),
	}
	w := newWorld(t, images)
	always := corev1.ContainerRestartPolicyAlways
	w.run(corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyOnFailure,
		InitContainers: []corev1.Container{
			{Name: "one", Image: "one"}, {Name: "side", Image: "side", RestartPolicy: &always}, {Name: "two", Image: "two"},
		},
		Containers: []corev1.Container{{Name: "main", Image: "main"}},
	})
	api := w.await("p", "over", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	// The sidecar has been started before the next init container is, but
	// without a startup probe nobody waits for its first line.
	got := r.list()
	started := slices.Index(got, "side starts")
	if started < 1 || started > slices.Index(got, "side ends") {
		t.Errorf("order %q: the sidecar starts after the first init container", got)
	}
	want := []string{"one", "two fails", "two", "main", "side ends"}
	if others := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "side starts" }); !slices.Equal(others, want) {
		t.Errorf("order %q, want %q", others, want)
	}
	if n := api.Status.InitContainerStatuses[2].RestartCount; n != 1 {
		t.Errorf("second init container restarted %d times, want 1", n)
	}
	if isReady(api) {
		t.Error("a pod that is over is not ready")
	}
}

func TestInitContainerFailsPod(t *testing.T) {
	var mains atomic.Int32
	w := newWorld(t, program.Images{
		"bad":  image(func(context.Context, *program.Process) error { return &program.ExitError{Code: 4} }),
		"main": image(func(context.Context, *program.Process) error { mains.Add(1); return nil }),
	})
	w.run(corev1.PodSpec{
		RestartPolicy:  corev1.RestartPolicyNever,
		InitContainers: []corev1.Container{{Name: "i", Image: "bad"}},
		Containers:     []corev1.Container{{Name: "c", Image: "main"}},
	})
	api := w.await("p", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if s := api.Status.InitContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 4 || s.Reason != "Error" {
		t.Errorf("init container %+v", s)
	}
	if mains.Load() != 0 {
		t.Error("the main container ran")
	}
}

func TestExitsAndRestarts(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy corev1.RestartPolicy
		code   int
		phase  corev1.PodPhase // "" means it goes on
	}{
		{"never, well", corev1.RestartPolicyNever, 0, corev1.PodSucceeded},
		{"never, badly", corev1.RestartPolicyNever, 7, corev1.PodFailed},
		{"on failure, well", corev1.RestartPolicyOnFailure, 0, corev1.PodSucceeded},
		{"on failure, badly", corev1.RestartPolicyOnFailure, 7, ""},
		{"always, well", corev1.RestartPolicyAlways, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, program.Images{"app": image(func(context.Context, *program.Process) error {
				if c.code == 0 {
					return nil
				}
				return &program.ExitError{Code: c.code}
			})})
			w.run(corev1.PodSpec{RestartPolicy: c.policy, Containers: []corev1.Container{{Name: "c", Image: "app"}}})
			if c.phase != "" {
				api := w.await("p", "over", func(p *corev1.Pod) bool { return p.Status.Phase == c.phase })
				if s := api.Status.ContainerStatuses[0]; s.State.Terminated.ExitCode != int32(c.code) || s.RestartCount != 0 {
					t.Errorf("status %+v", s)
				}
				return
			}
			api := w.await("p", "crash loop", func(p *corev1.Pod) bool {
				s := p.Status.ContainerStatuses
				return len(s) == 1 && s[0].RestartCount >= 2 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff"
			})
			if s := api.Status.ContainerStatuses[0].LastTerminationState.Terminated; s == nil || s.ExitCode != int32(c.code) {
				t.Errorf("last state %+v", s)
			}
			if api.Status.Phase != corev1.PodRunning {
				t.Errorf("phase %s, want Running between restarts", api.Status.Phase)
			}
		})
	}
}

func TestWaitingReasons(t *testing.T) {
	waiting := func(reason string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses
			return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == reason
		}
	}
	images := program.Images{"app": image(untilDone)}
	t.Run("unknown image", func(t *testing.T) {
		w := newWorld(t, images)
		w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nosuch/image:1"}}})
		w.await("p", "pull", waiting("ErrImagePull"))
		w.await("p", "back-off", waiting("ImagePullBackOff"))
		w.await("p", "pull again", waiting("ErrImagePull"))
	})
	t.Run("bad image name", func(t *testing.T) {
		w := newWorld(t, images)
		w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "No Such"}}})
		w.await("p", "invalid", waiting("InvalidImageName"))
	})
	t.Run("unknown command", func(t *testing.T) {
		w := newWorld(t, images)
		w.run(corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "app", Command: []string{"nosuch"}}}})
		api := w.await("p", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		s := api.Status.ContainerStatuses[0].State.Terminated
		if s.ExitCode != 128 || s.Reason != "StartError" || !strings.Contains(s.Message, `exec: "nosuch": executable file not found in $PATH`) {
			t.Errorf("terminated %+v", s)
		}
	})
	t.Run("missing config map, then there", func(t *testing.T) {
		w := newWorld(t, images)
		w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app", Env: []corev1.EnvVar{{
			Name: "X", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "k"}},
		}}}}})
		w.await("p", "config error", waiting("CreateContainerConfigError"))
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "default"}, Data: map[string]string{"k": "v"}}
		if _, err := w.client.CoreV1().ConfigMaps("default").Create(context.Background(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.await("p", "ready", isReady)
	})
}

func TestGracefulEnd(t *testing.T) {
	stubborn := image(func(ctx context.Context, p *program.Process) error {
		l, err := p.Listen(ctx, "tcp", ":80")
		if err != nil {
			return err
		}
		for { // deaf to SIGTERM, and dies of its sockets alone
			if _, err := l.Accept(); err != nil {
				return err
			}
		}
	})
	w := newWorld(t, program.Images{"app": stubborn})
	p := w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app"}}})
	w.await("p", "ready", isReady)
	start := time.Now()
	w.delete(p, 1)
	w.gone("p")
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("gone after %v: the grace period of 1 s was not given", took)
	}
	if s := p.containers[0].state.Terminated; s == nil || s.ExitCode != 137 {
		t.Errorf("state %+v, want killed (137)", s)
	}
}

func TestPreStopRunsFirst(t *testing.T) {
	var r recorder
	img := image(func(ctx context.Context, _ *program.Process) error {
		<-ctx.Done()
		r.add("SIGTERM")
		return nil
	})
	img.Commands["hook"] = func(context.Context, *program.Process) error { r.add("preStop"); return nil }
	w := newWorld(t, program.Images{"app": img})
	p := w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app", Lifecycle: &corev1.Lifecycle{
		PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"hook"}}},
	}}}})
	w.await("p", "ready", isReady)
	w.delete(p, 30)
	w.gone("p")
	if got, want := r.list(), []string{"preStop", "SIGTERM"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

// serveStatus is a program whose /ok answers 200 while the flag is set.
func serveStatus(ok *atomic.Bool) program.Image {
	return image(func(ctx context.Context, p *program.Process) error {
		l, err := p.Listen(ctx, "tcp", ":8080")
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !ok.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			io.WriteString(w, "status")
		})}
		context.AfterFunc(ctx, func() { srv.Close() })
		srv.Serve(l)
		return nil
	})
}

func httpGet() corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ok", Port: intstr.FromString("web")}}
}

var webPort = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}

func TestReadiness(t *testing.T) {
	var ok atomic.Bool
	w := newWorld(t, program.Images{"app": serveStatus(&ok)})
	w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app", Ports: webPort,
		ReadinessProbe: &corev1.Probe{ProbeHandler: httpGet(), PeriodSeconds: 1, FailureThreshold: 1}}}})
	w.await("p", "running, not ready", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodRunning && !isReady(p) && *p.Status.ContainerStatuses[0].Started
	})
	ok.Store(true)
	start := time.Now()
	w.await("p", "ready", isReady)
	if took := time.Since(start); took > 700*time.Millisecond {
		t.Errorf("ready %v after its program: within the first period probes come every 100 ms", took)
	}
	ok.Store(false)
	api := w.await("p", "not ready again", func(p *corev1.Pod) bool { return !isReady(p) })
	if api.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("a readiness probe restarted the container")
	}
}

func TestLivenessRestarts(t *testing.T) {
	var ok atomic.Bool
	ok.Store(true)
	w := newWorld(t, program.Images{"app": serveStatus(&ok)})
	w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app", Ports: webPort,
		StartupProbe:  &corev1.Probe{ProbeHandler: httpGet(), PeriodSeconds: 1, FailureThreshold: 30},
		LivenessProbe: &corev1.Probe{ProbeHandler: httpGet(), PeriodSeconds: 1, FailureThreshold: 1}}}})
	w.await("p", "ready", isReady)
	ok.Store(false)
	w.await("p", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	ok.Store(true)
	w.await("p", "ready again", isReady)
}

func TestRebootStartsAnew(t *testing.T) {
	w := newWorld(t, program.Images{"app": image(untilDone)})
	w.runPod(&corev1.Pod{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.2.0.77", ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", RestartCount: 2, ContainerID: "atoll://old", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}},
	})
	api := w.await("p", "ready", isReady)
	s := api.Status.ContainerStatuses[0]
	if s.RestartCount != 3 || s.LastTerminationState.Terminated == nil || s.LastTerminationState.Terminated.ExitCode != 255 {
		t.Errorf("restarts %d, last state %+v", s.RestartCount, s.LastTerminationState)
	}
	if api.Status.PodIP != "10.2.0.2" {
		t.Errorf("pod IP %s: a new sandbox has a new address", api.Status.PodIP)
	}
}

func TestFinishedPodIsLeftAlone(t *testing.T) {
	var starts atomic.Int32
	w := newWorld(t, program.Images{"app": image(func(context.Context, *program.Process) error { starts.Add(1); return nil })})
	p := w.runPod(&corev1.Pod{
		Spec:   corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodSucceeded},
	})
	w.delete(p, 30)
	w.gone("p")
	if starts.Load() != 0 {
		t.Error("a pod that was over ran again")
	}
}

func TestActiveDeadline(t *testing.T) {
	w := newWorld(t, program.Images{"app": image(untilDone)})
	one := int64(1)
	w.run(corev1.PodSpec{ActiveDeadlineSeconds: &one, Containers: []corev1.Container{{Name: "c", Image: "app"}}})
	api := w.await("p", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if api.Status.Reason != "DeadlineExceeded" {
		t.Errorf("reason %q", api.Status.Reason)
	}
}

func TestForcedDeletionEndsPrograms(t *testing.T) {
	ended := make(chan struct{})
	w := newWorld(t, program.Images{"app": image(func(ctx context.Context, _ *program.Process) error {
		<-ctx.Done()
		close(ended)
		return nil
	})})
	w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app"}}})
	api := w.await("p", "ready", isReady)
	if err := w.client.CoreV1().Pods("default").Delete(context.Background(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.k.unseen(api.UID)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the program goes on without its pod")
	}
}
