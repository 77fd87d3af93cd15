package hollow

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/sim/program"
)

// containerKind is the part a container plays in its pod.
type containerKind int

const (
	initContainer containerKind = iota
	sidecarContainer
	mainContainer
)

// container is one container of a pod through all its restarts. Its state is
// guarded by the pod's mutex.
type container struct {
	pod  *pod
	spec *corev1.Container
	kind containerKind

	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	id       string // of the current or latest run
	image    string // imageID
	started  bool   // past its startup probe and postStart hook
	ready    bool   // by its readiness probe, or without one
	current  *containerRun
	log      *containerLog // of the latest run
	previous *containerLog // of the one before

	startedOnce chan struct{} // closed when it first has started
	crash       backoff
}

// containerRun is one run of a container's program.
type containerRun struct {
	env     environment
	image   program.Image
	ctx     context.Context // done is SIGTERM
	term    context.CancelFunc
	kill    chan struct{} // closed is SIGKILL
	exited  chan struct{} // closed when it has ended
	code    int
	stopped chan struct{} // closed when someone has begun to stop it; guarded by the pod's mutex
	grace   time.Time     // when kill is due, once stopped
}

func newContainer(p *pod, spec *corev1.Container, kind containerKind) *container {
	return &container{
		pod: p, spec: spec, kind: kind,
		state:       corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
		startedOnce: make(chan struct{}),
		crash:       backoff{base: p.k.cfg.BackoffBase, max: p.k.cfg.BackoffMax, reset: 10 * time.Minute},
	}
}

// restartPolicy is the container's own, or its pod's.
func (c *container) restartPolicy() corev1.RestartPolicy {
	if c.kind == sidecarContainer {
		return corev1.RestartPolicyAlways
	}
	p := c.pod.spec.RestartPolicy
	if c.kind == initContainer && p == corev1.RestartPolicyAlways {
		return corev1.RestartPolicyOnFailure // once an init container succeeds it is over
	}
	return p
}

func (c *container) wantsRestart(code int) bool {
	switch c.restartPolicy() {
	case corev1.RestartPolicyAlways:
		return true
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return false
}

// loop runs the container until it is over for good, by its restart policy or
// because the pod ends.
func (c *container) loop() {
	pulls := backoff{base: c.pod.k.cfg.BackoffBase, max: c.pod.k.cfg.BackoffMax}
	pulled := false
	for c.pod.alive() {
		image, repo, err := c.pod.k.cfg.Images.Find(c.spec.Image)
		if err != nil {
			c.imageMissing(&pulls, repo == "", err)
			continue
		}
		if !pulled {
			pulled = true
			c.event(corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine", c.spec.Image)
		}
		run, prog, args, err := c.prepare(image)
		if err != nil {
			c.waiting("CreateContainerConfigError", err.Error())
			c.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
			c.pod.sleep(configRetry)
			continue
		}
		code := c.once(run, prog, args, repo)
		if !c.pod.alive() || !c.wantsRestart(code) {
			return
		}
		if wait := c.crash.next(time.Now()); wait > 0 {
			msg := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", roundDuration(wait), c.spec.Name, c.pod.name, c.pod.namespace, c.pod.uid)
			c.crashLoop(msg)
			c.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.spec.Name, c.pod.name, c.pod.namespace, c.pod.uid)
			c.pod.sleep(wait)
		}
	}
}

// configRetry is how soon a container whose ConfigMap or Secret is missing is
// tried again.
const configRetry = 500 * time.Millisecond

func roundDuration(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(time.Second)
	}
	return d
}

// imageMissing reports a failed pull, then the back-off, and waits.
func (c *container) imageMissing(pulls *backoff, invalid bool, err error) {
	if invalid {
		c.waiting("InvalidImageName", fmt.Sprintf("Failed to apply default image tag %q: %v", c.spec.Image, err))
		c.event(corev1.EventTypeWarning, "InspectFailed", "Failed to apply default image tag %q: %v", c.spec.Image, err)
		c.pod.sleep(c.pod.k.cfg.BackoffBase)
		return
	}
	c.event(corev1.EventTypeNormal, "Pulling", "Pulling image %q", c.spec.Image)
	c.event(corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %v", c.spec.Image, err)
	c.event(corev1.EventTypeWarning, "Failed", "Error: ErrImagePull")
	c.waiting("ErrImagePull", err.Error())
	pulls.next(time.Now()) // a pull, unlike a restart, waits from the first failure on
	wait := pulls.wait
	c.pod.sleep(wait / 4)
	if !c.pod.alive() {
		return
	}
	msg := fmt.Sprintf("Back-off pulling image %q", c.spec.Image)
	c.waiting("ImagePullBackOff", fmt.Sprintf("%s: ErrImagePull: %v", msg, err))
	c.event(corev1.EventTypeNormal, "BackOff", "%s", msg)
	c.event(corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
	c.pod.sleep(wait - wait/4)
}

// prepare makes what a run needs: environment, files, program, arguments.
func (c *container) prepare(image program.Image) (*containerRun, func() (program.Func, error), []string, error) {
	p := c.pod
	ctx, cancel := context.WithTimeout(p.ctx, requestTimeout)
	defer cancel()
	services, err := p.k.objects.services(ctx, p.namespace)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars: %w", err)
	}
	base := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + p.hostname()}, image.Env...)
	links := p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks
	env, err := environ(ctx, p.k.objects, p.facts(), c.spec, base, serviceEnv(append([]corev1.Service(nil), services...), p.namespace, links))
	if err != nil {
		return nil, nil, nil, err
	}
	get := newVarList(env).get
	mounts, err := p.volumes.mounts(c.spec, get)
	if err != nil {
		return nil, nil, nil, err
	}
	root := newMemFS()
	for name, text := range image.Files {
		if err := root.WriteFile(name, []byte(text), false); err != nil {
			return nil, nil, nil, err
		}
	}
	for name, text := range p.etc() {
		if err := root.WriteFile(name, []byte(text), false); err != nil {
			return nil, nil, nil, err
		}
	}
	_ = root.Mkdir("tmp") // an image may bring its own
	mounts = append(mounts, mount{at: "bin", volume: p.k.bin(c.spec.Image, image), readOnly: true})
	args := commandLine(image, c.spec, get)
	runCtx, term := context.WithCancel(p.ctx)
	run := &containerRun{
		env:   environment{net: p.net, files: newContainerFS(root, mounts), env: env},
		image: image, ctx: runCtx, term: term,
		kill: make(chan struct{}), exited: make(chan struct{}), stopped: make(chan struct{}),
	}
	find := func() (program.Func, error) {
		if len(args) == 0 {
			return nil, fmt.Errorf("no command specified")
		}
		prog, ok := image.Lookup(args[0])
		if !ok {
			return nil, notFound(args[0])
		}
		return prog, nil
	}
	return run, find, args, nil
}

// notFound is a runtime's answer to a command that an image does not have.
func notFound(command string) error {
	if strings.Contains(command, "/") {
		return fmt.Errorf("exec: %q: stat %s: no such file or directory", command, command)
	}
	return fmt.Errorf("exec: %q: executable file not found in $PATH", command)
}

// commandLine joins the image's and the container's commands and arguments.
func commandLine(image program.Image, c *corev1.Container, get func(string) (string, bool)) []string {
	command, args := image.Entrypoint, image.Cmd
	if len(c.Command) > 0 {
		command, args = c.Command, nil
	}
	if len(c.Args) > 0 {
		args = c.Args
	}
	var out []string
	for _, a := range command {
		out = append(out, expand(a, get))
	}
	for _, a := range args {
		out = append(out, expand(a, get))
	}
	return out
}

// once starts the program, watches it, and returns its exit code.
func (c *container) once(run *containerRun, find func() (program.Func, error), args []string, repo string) int {
	p := c.pod
	log := newContainerLog()
	p.mu.Lock()
	if c.log != nil {
		c.restarts++
		c.previous = c.log
	}
	c.log, c.id, c.image = log, containerID(), "atoll://"+repo
	p.mu.Unlock()
	c.event(corev1.EventTypeNormal, "Created", "Container created")
	prog, err := find()
	if err != nil {
		run.term()
		log.end()
		msg := fmt.Sprintf("failed to create containerd task: failed to create shim task: %v", err)
		c.event(corev1.EventTypeWarning, "Failed", "Error: %s", msg)
		p.change(func() {
			c.retire(corev1.ContainerStateTerminated{ExitCode: exitNotStarted, Reason: "StartError", Message: msg, StartedAt: metav1.Unix(0, 0), FinishedAt: now(), ContainerID: runtimeName + c.id})
		})
		return exitNotStarted
	}
	start := now()
	proc, owner := run.env.start(args, c.stdin(run), log.writer(0), log.writer(1))
	proc.TTY = c.spec.TTY
	p.change(func() {
		c.current = run
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}
	})
	c.event(corev1.EventTypeNormal, "Started", "Container started")
	c.crash.started(time.Now())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(run)
	}()
	run.code = runToEnd(run.ctx, prog, proc, owner, run.kill)
	run.term()
	close(run.exited)
	log.end()
	<-watched
	p.change(func() {
		reason := "Error"
		if run.code == 0 {
			reason = "Completed"
		}
		c.retire(corev1.ContainerStateTerminated{
			ExitCode: int32(run.code), Reason: reason, StartedAt: start, FinishedAt: now(),
			ContainerID: runtimeName + c.id, Message: c.terminationMessage(run, log),
		})
	})
	return run.code
}

// retire records the end of a run. The pod's mutex is held.
func (c *container) retire(t corev1.ContainerStateTerminated) {
	c.current, c.started, c.ready = nil, false, false
	if c.state.Terminated != nil {
		c.last = c.state
	}
	c.state = corev1.ContainerState{Terminated: &t}
}

// stdin is empty and ends at once, or for a container that asks for one, stays
// open until the container ends.
func (c *container) stdin(run *containerRun) io.Reader {
	if !c.spec.Stdin {
		return nil
	}
	return openStdin{run.exited}
}

type openStdin struct{ until <-chan struct{} }

func (s openStdin) Read([]byte) (int, error) { <-s.until; return 0, io.EOF }

// terminationMessage reads what the program left at terminationMessagePath.
func (c *container) terminationMessage(run *containerRun, log *containerLog) string {
	const limit = 4096
	at := c.spec.TerminationMessagePath
	if at == "" {
		at = corev1.TerminationMessagePathDefault
	}
	if f, err := run.env.files.Open(cleanPath(at)); err == nil {
		defer f.Close()
		if b, _ := io.ReadAll(io.LimitReader(f, limit)); len(b) > 0 {
			return string(b)
		}
	}
	if c.spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError && run.code != 0 {
		return log.tail(80, 2048)
	}
	return ""
}

const runtimeName = "atoll://"

func containerID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (c *container) waiting(reason, message string) {
	c.pod.change(func() {
		if c.state.Terminated != nil {
			c.last = c.state
		}
		c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

// crashLoop is a container waiting to be restarted.
func (c *container) crashLoop(message string) { c.waiting("CrashLoopBackOff", message) }

func (c *container) event(kind, reason, format string, args ...any) {
	field := "spec.containers{" + c.spec.Name + "}"
	if c.kind != mainContainer {
		field = "spec.initContainers{" + c.spec.Name + "}"
	}
	c.pod.k.events.pod(c.pod.ref(field), kind, reason, format, args...)
}

// stop ends the current run as a kubelet does: the preStop hook, SIGTERM, and
// SIGKILL when the grace period, which the hook is part of, is over. It waits
// for the end. A second call can only shorten the grace period.
func (c *container) stop(grace time.Duration, why string) {
	p := c.pod
	p.mu.Lock()
	run := c.current
	if run == nil {
		p.mu.Unlock()
		return
	}
	due := time.Now().Add(grace)
	select {
	case <-run.stopped:
		if due.Before(run.grace) {
			run.grace = due
			time.AfterFunc(grace, run.killOnce(p))
		}
		p.mu.Unlock()
		<-run.exited
		return
	default:
	}
	close(run.stopped)
	run.grace = due
	p.mu.Unlock()
	c.event(corev1.EventTypeNormal, "Killing", "%s", why)
	timer := time.AfterFunc(grace, run.killOnce(p))
	defer timer.Stop()
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil {
		ctx, cancel := context.WithTimeout(run.ctx, grace)
		if err := c.hook(ctx, run, l.PreStop); err != nil {
			c.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
		}
		cancel()
	}
	run.term()
	<-run.exited
}

func (r *containerRun) killOnce(p *pod) func() {
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		select {
		case <-r.kill:
		default:
			r.term()
			close(r.kill)
		}
	}
}
