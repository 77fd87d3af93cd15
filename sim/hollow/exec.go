package hollow

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"

	"github.com/atoll-dev/atoll/sim/program"
)

// Exit codes that a runtime gives rather than a program.
const (
	exitPanic      = 2   // as the Go runtime does
	exitNotStarted = 128 // the runtime could not start it
	exitKilled     = 137 // SIGKILL
)

// process is one run of a program: what it holds is released when it ends.
type process struct {
	net *podNet

	mu    sync.Mutex
	ended bool
	held  map[io.Closer]struct{}
}

// environment is what a container lends to each of its processes.
type environment struct {
	net   *podNet
	files fs.FS
	env   []string
}

// start returns a Process for a program and the process that owns what it
// will open.
func (e environment) start(args []string, stdin io.Reader, stdout, stderr io.Writer) (*program.Process, *process) {
	pr := &process{net: e.net, held: map[io.Closer]struct{}{}}
	if stdin == nil {
		stdin = eof{}
	}
	return &program.Process{
		Args: args, Env: e.env, Files: e.files,
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return pr.dial(ctx, network, address, false)
		},
		DialDirect: func(ctx context.Context, network, address string) (net.Conn, error) {
			return pr.dial(ctx, network, address, true)
		},
		Listen:       pr.listen,
		ListenPacket: pr.listenPacket,
		LookupHost: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return e.net.names.lookup(ctx, name)
		},
		Redirect:    e.net.setRedirect,
		OriginalDst: e.net.originalDst,
	}, pr
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// runToEnd runs a program to its end and returns its exit code. A program that has
// not returned when killed closes is cut off.
func runToEnd(ctx context.Context, prog program.Func, p *program.Process, pr *process, killed <-chan struct{}) int {
	code := make(chan int, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				fmt.Fprintf(p.Stderr, "panic: %v\n\n%s", r, debug.Stack())
				code <- exitPanic
			}
		}()
		code <- program.ExitCode(ctx, prog(ctx, p), p.Stderr)
	}()
	defer pr.end()
	select {
	case c := <-code:
		return c
	case <-killed:
		return exitKilled
	}
}

// hold registers what is to be closed with the process; false if it ended.
func (p *process) hold(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.held[c] = struct{}{}
	return true
}

func (p *process) drop(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, c)
}

func (p *process) end() {
	p.mu.Lock()
	held := p.held
	p.ended, p.held = true, nil
	p.mu.Unlock()
	for c := range held {
		c.Close()
	}
}

func (p *process) dial(ctx context.Context, network, address string, direct bool) (net.Conn, error) {
	c, err := p.net.dial(ctx, network, address, direct)
	if err != nil {
		return nil, err
	}
	return p.own(c)
}

func (p *process) own(c net.Conn) (net.Conn, error) {
	pc := &procConn{Conn: c, owner: p}
	if !p.hold(pc.Conn) {
		c.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	}
	return pc, nil
}

func (p *process) listen(_ context.Context, network, address string) (net.Listener, error) {
	l, err := p.net.listen(network, address)
	if err != nil {
		return nil, err
	}
	if !p.hold(l) {
		l.Close()
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.ErrClosed}
	}
	return &ownedListener{procListener: l, owner: p}, nil
}

func (p *process) listenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	c, err := p.net.host.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if !p.hold(c) {
		c.Close()
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.ErrClosed}
	}
	return &ownedPacketConn{PacketConn: c, owner: p}, nil
}

// procConn is a connection that ends with its process.
type procConn struct {
	net.Conn
	owner *process
}

func (c *procConn) Close() error {
	c.owner.drop(c.Conn)
	return c.Conn.Close()
}
func (c *procConn) CloseWrite() error { return closeWrite(c.Conn) }

type ownedListener struct {
	*procListener
	owner *process
}

func (l *ownedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.procListener.Accept()
		if err != nil {
			return nil, err
		}
		oc, err := l.owner.own(c)
		if err == nil {
			return oc, nil
		}
	}
}

func (l *ownedListener) Close() error {
	l.owner.drop(l.procListener)
	return l.procListener.Close()
}

type ownedPacketConn struct {
	net.PacketConn
	owner *process
}

func (c *ownedPacketConn) Close() error {
	c.owner.drop(c.PacketConn)
	return c.PacketConn.Close()
}
