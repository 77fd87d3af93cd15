package hollow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/atoll-dev/atoll/sim/program"
)

// served is a kubelet's server on loopback, with a pod that runs.
func served(t *testing.T) (*world, *httptest.Server) {
	t.Helper()
	img := image(func(ctx context.Context, p *program.Process) error {
		fmt.Fprintln(p.Stdout, "hello")
		fmt.Fprintln(p.Stderr, "world")
		l, err := p.Listen(ctx, "tcp", ":80")
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { l.Close() })
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			fmt.Fprint(c, "HTTP/1.0 200 OK\r\n\r\nhi from port 80")
			c.Close()
		}
	})
	img.Commands["cat"] = func(_ context.Context, p *program.Process) error { _, err := io.Copy(p.Stdout, p.Stdin); return err }
	img.Commands["fail"] = func(_ context.Context, p *program.Process) error {
		fmt.Fprint(p.Stdout, "out")
		fmt.Fprint(p.Stderr, "err")
		return &program.ExitError{Code: 42}
	}
	img.Commands["forever"] = func(ctx context.Context, p *program.Process) error { <-ctx.Done(); return ctx.Err() }
	w := newWorld(t, program.Images{"app": img})
	w.run(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app"}}})
	w.await("p", "ready", isReady)
	srv := httptest.NewServer(w.k.routes())
	t.Cleanup(srv.Close)
	return w, srv
}

func execIn(t *testing.T, srv *httptest.Server, in io.Reader, command ...string) (string, string, error) {
	t.Helper()
	q := url.Values{"command": command, "output": {"1"}, "error": {"1"}}
	if in != nil {
		q.Set("input", "1")
	}
	u, _ := url.Parse(srv.URL + "/exec/default/p/c?" + q.Encode())
	e, err := remotecommand.NewSPDYExecutor(&rest.Config{Host: srv.URL}, "POST", u)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out, errw bytes.Buffer
	err = e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: &out, Stderr: &errw})
	return out.String(), errw.String(), err
}

func TestExec(t *testing.T) {
	_, srv := served(t)
	if out, _, err := execIn(t, srv, strings.NewReader("through"), "cat"); out != "through" || err != nil {
		t.Errorf("cat: %q, %v", out, err)
	}
	out, errw, err := execIn(t, srv, nil, "fail")
	var code utilexec.CodeExitError
	if !errors.As(err, &code) || code.Code != 42 || out != "out" || errw != "err" {
		t.Errorf("fail: %q, %q, %v; want out, err and exit code 42", out, errw, err)
	}
	_, errw, err = execIn(t, srv, nil, "nosuch")
	if !errors.As(err, &code) || code.Code != 127 || !strings.Contains(errw, `exec: "nosuch": executable file not found in $PATH`) {
		t.Errorf("nosuch: %q, %v; want exit code 127", errw, err)
	}
}

func TestServerAnswers(t *testing.T) {
	_, srv := served(t)
	for _, c := range []struct {
		path string
		code int
		body string
	}{
		{"/healthz", 200, "ok"},
		{"/containerLogs/default/p/c", 200, "hello\nworld\n"},
		{"/containerLogs/default/p/c?tailLines=1", 200, "world\n"},
		{"/containerLogs/default/p/c?limitBytes=3", 200, "hel"},
		{"/containerLogs/default/p/c?previous=true", 400, "previous terminated container"},
		{"/containerLogs/default/p/c?tailLines=-1", 422, "tailLines"},
		{"/containerLogs/default/p/c?tailLines=many", 422, "tailLines"},
		{"/containerLogs/default/p/c?sinceTime=yesterday", 422, "sinceTime"},
		{"/containerLogs/default/p/nosuch", 404, "container nosuch not found"},
		{"/containerLogs/default/nosuch/c", 404, `pod "nosuch"`},
		{"/exec/default/p/c", 400, "at least 1 of stdin"},
		{"/exec/default/p/other-uid/c?command=cat&output=1", 404, "not found"},
		{"/pods", 200, `"name":"p"`},
		{"/stats/summary", 200, `"nodeName":"eu-worker-1"`},
		{"/nosuch", 404, ""},
	} {
		resp, err := http.Get(srv.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.code || !strings.Contains(string(body), c.body) {
			t.Errorf("GET %s: %d %q, want %d %q", c.path, resp.StatusCode, body, c.code, c.body)
		}
	}
}

func TestServerFollowsLogs(t *testing.T) {
	w, srv := served(t)
	resp, err := http.Get(srv.URL + "/containerLogs/default/p/c?follow=true&tailLines=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	if line, err := r.ReadString('\n'); line != "world\n" || err != nil {
		t.Fatalf("first line %q, %v", line, err)
	}
	p := w.k.find("default", "p")
	w.delete(p, 5)
	if _, err := r.ReadString('\n'); err != io.EOF {
		t.Errorf("after the container's end: %v, want EOF", err)
	}
}

func TestPortForward(t *testing.T) {
	_, srv := served(t)
	rt, up, err := spdy.RoundTripperFor(&rest.Config{Host: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(srv.URL + "/portForward/default/p")
	dialer := spdy.NewDialer(up, &http.Client{Transport: rt}, "POST", u)
	stop, ready := make(chan struct{}), make(chan struct{})
	var errs bytes.Buffer
	pf, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, io.Discard, &errs)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- pf.ForwardPorts() }()
	<-ready
	ports, err := pf.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatalf("%v (%s)", err, errs.String())
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hi from port 80" {
		t.Errorf("through the tunnel: %q", body)
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
