package hollow

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Time-outs of a kubelet's streams.
const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
)

// serve opens the kubelet's server on the node's port 10250.
func (k *kubelet) serve() error {
	l, err := k.host.Listen("tcp", fmt.Sprintf(":%d", kubeletPort))
	if err != nil {
		return fmt.Errorf("kubelet server: %w", err)
	}
	k.listener = l
	srv := &http.Server{
		Handler: k.admit(k.routes()),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{k.cfg.ServingCert},
			ClientCAs:    k.cfg.ClientCA,
			ClientAuth:   tls.VerifyClientCertIfGiven,
			NextProtos:   []string{"http/1.1"}, // streams upgrade from it
			MinVersion:   tls.VersionTLS12,
		},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          discardLog,
		BaseContext:       func(net.Listener) context.Context { return k.ctx },
	}
	go func() { _ = srv.ServeTLS(l, "", "") }() // ends with its listener
	context.AfterFunc(k.ctx, func() { srv.Close() })
	return nil
}

// admit lets in who may use the kubelet's API: /healthz anyone, the rest the
// API server and administrators, known by their client certificates.
func (k *kubelet) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			if len(r.TLS.PeerCertificates) == 0 {
				http.Error(w, "Unauthorized", http.StatusUnauthorized)
				return
			}
			who := r.TLS.PeerCertificates[0].Subject
			if who.CommonName != "kube-apiserver-kubelet-client" && !slices.Contains(who.Organization, "system:masters") && !slices.Contains(who.Organization, "kubeadm:cluster-admins") {
				http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes)", who.CommonName, r.Method), http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (k *kubelet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /pods", k.servePods)
	mux.HandleFunc("GET /runningpods/", k.servePods)
	mux.HandleFunc("GET /stats/summary", k.serveStats)
	mux.HandleFunc("GET /containerLogs/{ns}/{pod}/{container}", k.serveLogs)
	for _, m := range []string{"GET", "POST"} {
		mux.HandleFunc(m+" /exec/{ns}/{pod}/{container}", k.serveExec)
		mux.HandleFunc(m+" /exec/{ns}/{pod}/{uid}/{container}", k.serveExec)
		mux.HandleFunc(m+" /attach/{ns}/{pod}/{container}", k.serveAttach)
		mux.HandleFunc(m+" /attach/{ns}/{pod}/{uid}/{container}", k.serveAttach)
		mux.HandleFunc(m+" /portForward/{ns}/{pod}", k.servePortForward)
		mux.HandleFunc(m+" /portForward/{ns}/{pod}/{uid}", k.servePortForward)
	}
	return mux
}

func (k *kubelet) servePods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	k.mu.Lock()
	for _, p := range k.pods {
		p.mu.Lock()
		pod := *p.api
		pod.Status = *p.status()
		p.mu.Unlock()
		list.Items = append(list.Items, pod)
	}
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(list)
}

// asked finds the pod and container a request names, or answers it.
func (k *kubelet) asked(w http.ResponseWriter, r *http.Request) (*pod, *container) {
	ns, name := r.PathValue("ns"), r.PathValue("pod")
	p := k.find(ns, name)
	if p == nil || r.PathValue("uid") != "" && r.PathValue("uid") != string(p.uid) {
		http.Error(w, fmt.Sprintf("pod %q in namespace %q not found", name, ns), http.StatusNotFound)
		return nil, nil
	}
	cn := r.PathValue("container")
	if cn == "" {
		return p, nil
	}
	c := p.container(cn)
	if c == nil {
		http.Error(w, fmt.Sprintf("container %s not found in pod %s_%s", cn, name, ns), http.StatusNotFound)
		return nil, nil
	}
	return p, c
}

// running returns the container's current run.
func (c *container) running() *containerRun {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.current
}

func (k *kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	p, c := k.asked(w, r)
	if c == nil {
		return
	}
	o, previous, err := parseLogOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	p.mu.Lock()
	log := c.log
	if previous {
		log = c.previous
	}
	waiting := c.state.Waiting
	p.mu.Unlock()
	if log == nil {
		msg := fmt.Sprintf("container %q in pod %q is waiting to start", c.spec.Name, p.name)
		if previous {
			msg = fmt.Sprintf("previous terminated container %q in pod %q not found", c.spec.Name, p.name)
		} else if waiting != nil {
			msg += ": " + waiting.Reason
		}
		http.Error(w, msg, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Transfer-Encoding", "chunked")
	flush := func() { _ = http.NewResponseController(w).Flush() }
	// A client that has gone is no failure of the kubelet.
	_ = log.copy(r.Context(), w, o, flush)
}

func parseLogOptions(r *http.Request) (o logOptions, previous bool, err error) {
	q := r.URL.Query()
	o = logOptions{tail: -1, limit: -1}
	flag := func(name string) bool {
		b, perr := strconv.ParseBool(q.Get(name))
		if q.Has(name) && perr != nil {
			err = fmt.Errorf("%s: %q is neither true nor false", name, q.Get(name))
		}
		return b
	}
	number := func(name string) (int64, bool) {
		if q.Get(name) == "" {
			return 0, false
		}
		n, perr := strconv.ParseInt(q.Get(name), 10, 64)
		if perr != nil || n < 0 {
			err = fmt.Errorf("%s: %q is not a number of 0 or more", name, q.Get(name))
		}
		return n, true
	}
	o.follow, o.timestamps, previous = flag("follow"), flag("timestamps"), flag("previous")
	if n, ok := number("tailLines"); ok {
		o.tail = int(min(n, 1<<30))
	}
	if n, ok := number("limitBytes"); ok {
		o.limit = n
	}
	if n, ok := number("sinceSeconds"); ok {
		o.since = time.Now().Add(-time.Duration(min(n, 1<<31)) * time.Second)
	}
	if s := q.Get("sinceTime"); s != "" {
		t, perr := time.Parse(time.RFC3339, s)
		if perr != nil {
			err = fmt.Errorf("sinceTime: %w", perr)
		}
		o.since = t
	}
	return o, previous, err
}

// streams serves remotecommand and portforward for one container.
type streams struct {
	pod       *pod
	container *container
}

func (k *kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	_, c := k.asked(w, r)
	if c == nil {
		return
	}
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if c.running() == nil {
		http.Error(w, fmt.Sprintf("container not found (%q)", c.spec.Name), http.StatusNotFound)
		return
	}
	remotecommand.ServeExec(w, r, streams{c.pod, c}, c.pod.name, string(c.pod.uid), c.spec.Name, r.Form["command"], o, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) serveAttach(w http.ResponseWriter, r *http.Request) {
	_, c := k.asked(w, r)
	if c == nil {
		return
	}
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, streams{c.pod, c}, c.pod.name, string(c.pod.uid), c.spec.Name, o, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	p, _ := k.asked(w, r)
	if p == nil {
		return
	}
	o, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, streams{p, nil}, p.name, string(p.uid), o, streamIdle, streamCreation, portforward.SupportedProtocols)
}

// ExecInContainer implements remotecommand.Executor.
func (s streams) ExecInContainer(ctx context.Context, _, _, _ string, cmd []string, in io.Reader, out, errw io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	run := s.container.running()
	if run == nil {
		return fmt.Errorf("container %s is not running", s.container.spec.Name)
	}
	if resize != nil {
		go func() { // programs have no use for the size, but its sender waits
			for range resize {
			}
		}()
	}
	// The request's context does not end when a hijacked client leaves. As on
	// a real node, a command without a terminal then goes on until it reads
	// or writes.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := writerOr(out), writerOr(errw)
	if tty {
		var t *terminal
		ctx, t = newTerminal(ctx, in, stdout, cancel)
		in, stdout, stderr = t, t.output(), t.output()
	}
	code, err := run.exec(ctx, cmd, in, stdout, stderr, tty)
	if err != nil {
		// kubectl shows the code alone, so what is wrong goes to stderr.
		fmt.Fprintf(stderr, "OCI runtime exec failed: exec failed: unable to start container process: %v\n", err)
		return utilexec.CodeExitError{Code: code, Err: err}
	}
	if code != 0 {
		return utilexec.CodeExitError{Code: code, Err: fmt.Errorf("exit status %d", code)}
	}
	return nil
}

func writerOr(w io.WriteCloser) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// AttachContainer implements remotecommand.Attacher: it shows the container's
// output from now on. Input goes nowhere: programs that are servers read none.
func (s streams) AttachContainer(ctx context.Context, _, _, _ string, _ io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	s.pod.mu.Lock()
	log := s.container.log
	s.pod.mu.Unlock()
	if log == nil {
		return fmt.Errorf("container %s has not started", s.container.spec.Name)
	}
	err := log.copy(ctx, writerOr(out), logOptions{follow: true, limit: -1, tail: 0}, func() {})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// PortForward implements portforward.PortForwarder: from within the pod, as
// in its network namespace, to its loopback.
func (s streams) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	s.pod.mu.Lock()
	host := s.pod.host
	s.pod.mu.Unlock()
	if host == nil {
		return fmt.Errorf("pod %s has no network yet", s.pod.name)
	}
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := host.DialContext(dctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside pod %s: %w", port, s.pod.name, err)
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, stream)
		_ = closeWrite(conn)
	}()
	_, err = io.Copy(stream, conn)
	return err
}
