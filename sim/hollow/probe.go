package hollow

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// eagerProbe is how often a probe is tried until its first success, within
// its first period.
const eagerProbe = 100 * time.Millisecond

// prober decides, result by result, what a probe says of its container. It is
// the kubelet's state machine without its clock.
type prober struct {
	success, failure int // thresholds
	good             bool
	runs             int // results alike in a row
	last             bool
}

func newProber(p *corev1.Probe, initially bool) *prober {
	s, f := int(p.SuccessThreshold), int(p.FailureThreshold)
	if s < 1 {
		s = 1
	}
	if f < 1 {
		f = 3
	}
	return &prober{success: s, failure: f, good: initially}
}

// result takes one result and tells whether a threshold was reached by it.
func (p *prober) result(ok bool) (decided bool) {
	if p.runs > 0 && ok == p.last {
		p.runs++
	} else {
		p.last, p.runs = ok, 1
	}
	if ok && p.runs >= p.success || !ok && p.runs >= p.failure {
		p.good = ok
		return true
	}
	return false
}

// watch keeps a run's started and ready state by its hook and probes until it
// ends.
func (c *container) watch(run *containerRun) {
	ctx, cancel := context.WithCancel(run.ctx)
	defer cancel()
	defer func() { <-run.exited }()
	if l := c.spec.Lifecycle; l != nil && l.PostStart != nil {
		if err := c.hook(ctx, run, l.PostStart); err != nil && ctx.Err() == nil {
			c.event(corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: %v", err)
			c.stop(c.pod.grace(), "FailedPostStartHook")
			return
		}
	}
	if p := c.spec.StartupProbe; p != nil && !c.await(ctx, run, p) {
		return
	}
	c.pod.change(func() {
		if c.current == run {
			c.started = true
			c.ready = c.spec.ReadinessProbe == nil
		}
		c.markStarted()
	})
	done := make(chan struct{}, 2)
	n := 0
	if p := c.spec.ReadinessProbe; p != nil {
		n++
		go func() { c.readiness(ctx, run, p); done <- struct{}{} }()
	}
	if p := c.spec.LivenessProbe; p != nil {
		n++
		go func() { c.liveness(ctx, run, p); done <- struct{}{} }()
	}
	for range n {
		<-done
	}
}

// markStarted tells who waits for this container's first start. The pod's
// mutex is held.
func (c *container) markStarted() {
	select {
	case <-c.startedOnce:
	default:
		close(c.startedOnce)
	}
}

// await runs the startup probe; false means the container ended or was ended.
func (c *container) await(ctx context.Context, run *containerRun, p *corev1.Probe) bool {
	pr := newProber(p, false)
	ok := false
	c.every(ctx, p, true, func(eager bool) bool {
		err := c.probe(ctx, run, p)
		if ctx.Err() != nil {
			return false
		}
		if err != nil && eager {
			return true
		}
		if err != nil {
			c.unhealthy("Startup", err)
		}
		if pr.result(err == nil) {
			ok = pr.good
			if !ok {
				go c.stop(c.probeGrace(p), fmt.Sprintf("Container %s failed startup probe, will be restarted", c.spec.Name))
			}
			return false
		}
		return true
	})
	return ok
}

func (c *container) readiness(ctx context.Context, run *containerRun, p *corev1.Probe) {
	pr := newProber(p, false)
	c.every(ctx, p, true, func(eager bool) bool {
		err := c.probe(ctx, run, p)
		if ctx.Err() != nil {
			return false
		}
		if err != nil && eager {
			return true
		}
		if err != nil {
			c.unhealthy("Readiness", err)
		}
		if pr.result(err == nil) {
			c.pod.change(func() {
				if c.current == run {
					c.ready = pr.good
				}
			})
		}
		return true
	})
}

func (c *container) liveness(ctx context.Context, run *containerRun, p *corev1.Probe) {
	pr := newProber(p, true)
	c.every(ctx, p, false, func(bool) bool {
		err := c.probe(ctx, run, p)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			c.unhealthy("Liveness", err)
		}
		if pr.result(err == nil) && !pr.good {
			go c.stop(c.probeGrace(p), fmt.Sprintf("Container %s failed liveness probe, will be restarted", c.spec.Name))
			return false
		}
		return true
	})
}

func (c *container) probeGrace(p *corev1.Probe) time.Duration {
	if p.TerminationGracePeriodSeconds != nil {
		return time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
	}
	return c.pod.grace()
}

func (c *container) unhealthy(kind string, err error) {
	c.event(corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %v", kind, err)
}

// every calls do each period after the initial delay, until it returns false.
// With eager, it calls more often within the first period until do has
// succeeded once, which it learns from the call's own result being followed by
// a ready or started container: do is told that the call is an extra one.
func (c *container) every(ctx context.Context, p *corev1.Probe, eager bool, do func(extra bool) bool) {
	period := time.Duration(p.PeriodSeconds) * time.Second
	if period <= 0 {
		period = 10 * time.Second
	}
	if !sleep(ctx, time.Duration(p.InitialDelaySeconds)*time.Second) {
		return
	}
	if eager {
		for until := time.Now().Add(period - eagerProbe); time.Now().Before(until); {
			if !do(true) {
				return
			}
			if c.settled() {
				break
			}
			if !sleep(ctx, eagerProbe) {
				return
			}
		}
		if c.settled() && !sleep(ctx, period) {
			return
		}
	}
	for do(false) {
		if !sleep(ctx, period) {
			return
		}
	}
}

// settled tells whether the container is started and ready, so that there is
// nothing to be eager for.
func (c *container) settled() bool {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.started && c.ready
}

// sleep waits, and tells whether it did to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// probe makes one attempt. One that failed while the node was paused says
// nothing, and is made again.
func (c *container) probe(ctx context.Context, run *containerRun, p *corev1.Probe) error {
	for {
		pauses := c.pod.k.pauses.await(ctx)
		err := c.attempt(ctx, run, p)
		if err == nil || ctx.Err() != nil || c.pod.k.pauses.await(ctx) == pauses {
			return err
		}
	}
}

// attempt makes one, within the probe's time-out.
func (c *container) attempt(ctx context.Context, run *containerRun, p *corev1.Probe) error {
	timeout := time.Duration(p.TimeoutSeconds) * time.Second
	if timeout <= 0 {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case p.Exec != nil:
		code, out := c.exec(ctx, run, p.Exec.Command)
		if ctx.Err() != nil {
			return fmt.Errorf("command timed out: %q timed out after %s", strings.Join(p.Exec.Command, " "), timeout)
		}
		if code != 0 {
			return errors.New(out)
		}
		return nil
	case p.HTTPGet != nil:
		_, err := c.pod.k.httpProbe(ctx, c, p.HTTPGet)
		return err
	case p.TCPSocket != nil:
		port, err := c.port(p.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := c.pod.k.host.DialContext(ctx, "tcp", net.JoinHostPort(c.probeHost(p.TCPSocket.Host), port))
		if err != nil {
			return err
		}
		return conn.Close()
	case p.GRPC != nil:
		return c.grpcProbe(ctx, p.GRPC)
	}
	return errors.New("missing probe handler")
}

func (c *container) probeHost(host string) string {
	if host != "" {
		return host
	}
	return c.pod.address().String()
}

// httpProbe makes a GET from the node to the pod; a status from 200 to 399 is
// a success.
func (k *kubelet) httpProbe(ctx context.Context, c *container, a *corev1.HTTPGetAction) (int, error) {
	port, err := c.port(a.Port)
	if err != nil {
		return 0, err
	}
	u, err := url.Parse(a.Path)
	if err != nil {
		u = &url.URL{Path: a.Path}
	}
	u.Scheme = strings.ToLower(string(a.Scheme))
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	u.Host = net.JoinHostPort(c.probeHost(a.Host), port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "kube-probe/"+minorVersion(k.cfg.Version))
	req.Header.Set("Accept", "*/*")
	for _, h := range a.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
			continue
		}
		req.Header.Set(h.Name, h.Value)
	}
	client := &http.Client{
		Transport: k.probes,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Hostname() != via[0].URL.Hostname() || len(via) >= 10 {
				return http.ErrUseLastResponse // elsewhere: not the container's business
			}
			return nil
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 10<<10))
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return resp.StatusCode, fmt.Errorf("HTTP probe failed with statuscode: %d: %s", resp.StatusCode, strings.TrimSpace(firstLine(string(body))))
	}
	return resp.StatusCode, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 200)]
}

// minorVersion turns "v1.36.3" into "1.36".
func minorVersion(v string) string {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return v
	}
	return parts[0] + "." + parts[1]
}

// probeTransport makes a connection per probe, as a kubelet does, so that a
// probe says something about connecting, too.
func probeTransport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:        dial,
		DisableKeepAlives:  true,
		DisableCompression: true,
		// A kubelet does not verify either: a probe asks whether, not who.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
}

// grpcProbe calls grpc.health.v1.Health/Check. The two messages are small
// enough to be written by hand: a request is field 1, the service's name, and
// an answer is field 1, the status, of which 1 is SERVING.
func (c *container) grpcProbe(ctx context.Context, a *corev1.GRPCAction) error {
	service := ""
	if a.Service != nil {
		service = *a.Service
	}
	var msg []byte
	if service != "" {
		msg = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	tr := &http.Transport{DialContext: c.pod.k.host.DialContext, Protocols: &h2c}
	defer tr.CloseIdleConnections()
	u := "http://" + net.JoinHostPort(c.pod.address().String(), strconv.Itoa(int(a.Port))) + "/grpc.health.v1.Health/Check"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(string(frame)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	status := resp.Trailer.Get("Grpc-Status")
	if status == "" {
		status = resp.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return fmt.Errorf("service unhealthy (grpc status %s: %s)", status, resp.Trailer.Get("Grpc-Message"))
	}
	if len(body) >= 7 && body[5] == 1<<3 && body[6] == 1 {
		return nil
	}
	return errors.New("service unhealthy (responded with \"NOT_SERVING\")")
}
