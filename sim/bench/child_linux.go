package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A child is this binary again, started with its role in the environment. It
// serves net/rpc on the socket it finds as file 3, and ends when that closes.
const (
	roleVariable = "ATOLL_BENCH_CHILD"
	roleHost     = "host"
	callFile     = 3
	stopGrace    = 3 * time.Second
)

// services are the receivers of the roles, each made in its own process.
var services = map[string]func() any{
	roleHost: func() any { return newHost() },
}

// Child must be the first thing main does (and TestMain, where a test calls
// [Run]): in a process that a benchmark started, it does that child's work and
// exits; everywhere else it returns at once.
func Child() {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	if err := serve(role); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(role string) error {
	make, ok := services[role]
	if !ok {
		return fmt.Errorf("no such role of a benchmark's child")
	}
	file := os.NewFile(callFile, "calls")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("not started by a benchmark: %w", err)
	}
	file.Close()
	service := make()
	server := rpc.NewServer()
	if err := server.RegisterName(role, service); err != nil {
		return err
	}
	server.ServeConn(conn) // until the benchmark closes it, or is no more
	if c, ok := service.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// child is a running one, seen from the benchmark.
type child struct {
	role   string
	cmd    *exec.Cmd
	calls  *rpc.Client
	stderr tail
	ended  chan struct{}
}

// startChild starts one in a namespace. It is killed when ctx ends, and by the
// kernel when the benchmark does.
func startChild(ctx context.Context, ns *namespace, role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "calls"), os.NewFile(uintptr(pair[1]), "calls")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &child{role: role, ended: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, self)
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	c.cmd.ExtraFiles = []*os.File{theirs}
	c.cmd.Stderr = &c.stderr
	// A group of its own: an interrupt at the terminal is the benchmark's to handle.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := ns.do(c.cmd.Start); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c.calls = rpc.NewClient(conn)
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // how it ended is told by what a call misses
	}()
	return c, nil
}

// call asks the child and waits for its answer.
func (c *child) call(ctx context.Context, method string, args, reply any) error {
	call := c.calls.Go(c.role+"."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return ctx.Err()
	}
	var refused rpc.ServerError
	switch err := call.Error; {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %s: %w", c.role, method, err)
	default:
		select { // its last words come with its end
		case <-c.ended:
		case <-ctx.Done():
		}
		return fmt.Errorf("%s: %s: the process ended: %w; it said: %q", c.role, method, err, c.stderr.String())
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks it to end, and makes it end.
func (c *child) stop() {
	c.calls.Close()
	select {
	case <-c.ended:
	case <-time.After(stopGrace):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// tail keeps the last words of a child.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - 2048; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
