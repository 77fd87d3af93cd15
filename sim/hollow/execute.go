package hollow

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hook runs a lifecycle handler.
func (c *container) hook(ctx context.Context, run *containerRun, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		code, out := c.exec(ctx, run, h.Exec.Command)
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", strings.Join(h.Exec.Command, " "), code, out)
		}
	case h.HTTPGet != nil:
		_, err := c.pod.k.httpProbe(ctx, c, h.HTTPGet)
		return err
	case h.TCPSocket != nil:
		port, err := c.port(h.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := c.pod.k.host.DialContext(ctx, "tcp", net.JoinHostPort(c.pod.address().String(), port))
		if err != nil {
			return err
		}
		return conn.Close()
	case h.Sleep != nil:
		select {
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
		case <-run.exited:
		}
	}
	return nil
}

// exec runs a command beside the container's program and returns its exit code
// and the beginning of its output.
func (c *container) exec(ctx context.Context, run *containerRun, command []string) (int, string) {
	out := &limitedBuffer{max: 10 << 10}
	code, err := run.exec(ctx, command, nil, out, out, false)
	if err != nil {
		return code, err.Error()
	}
	return code, out.String()
}

// port resolves a probe's port, by number or by name.
func (c *container) port(p intstr.IntOrString) (string, error) {
	if p.Type == intstr.Int {
		return fmt.Sprint(p.IntVal), nil
	}
	for _, cp := range c.spec.Ports {
		if cp.Name == p.StrVal {
			return fmt.Sprint(cp.ContainerPort), nil
		}
	}
	return "", fmt.Errorf("couldn't find port: %s in container %s", p.StrVal, c.spec.Name)
}

// exec runs one of the image's commands in the container. The error says that
// it could not be started.
func (r *containerRun) exec(ctx context.Context, command []string, stdin io.Reader, stdout, stderr io.Writer, tty bool) (int, error) {
	if len(command) == 0 {
		return exitNotStarted, fmt.Errorf("no command specified")
	}
	prog, ok := r.image.Lookup(command[0])
	if !ok {
		return 127, notFound(command[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	proc, owner := r.env.start(command, stdin, stdout, stderr)
	proc.TTY = tty
	killed := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		// What does not end by itself when it is told to is left behind.
		time.AfterFunc(execGrace, func() { close(killed) })
	})()
	return runToEnd(ctx, prog, proc, owner, killed), nil
}

// execGrace is how long a cancelled command may go on.
const execGrace = 2 * time.Second
