package program

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
)

// Func is a program: a function in place of a binary. It returns nil to exit 0,
// an ExitError for another code; it must return soon after ctx is done, which
// is its SIGTERM.
type Func func(ctx context.Context, p *Process) error

// Images maps repository names without a tag or registry shorthand
// ("stefanprodan/podinfo", "curlimages/curl") to what they hold. An image
// that is not in it ends in ErrImagePull.
type Images map[string]Image

// Image is a program under its default command, and the further commands that
// a shell or `kubectl exec` finds in it.
type Image struct {
	Entrypoint []string // the default command, e.g. ["podinfo"]
	Cmd        []string // the default arguments, replaced by a container's args
	Commands   map[string]Func
	Env        []string          // KEY=VALUE, before those of the container
	Files      map[string]string // initial content of files, by name without the leading slash
}

// ExitError is a program's exit code.
type ExitError struct {
	Code int
	Msg  string // for stderr, may be empty
}

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d: %s", e.Code, e.Msg) }

// Process is what a program sees of its container. The same program also runs
// in a real container, where the fields are those of the operating system; so
// a program uses nothing else of the world around it: not os, not net.
type Process struct {
	Args   []string // Args[0] is the program's name
	Env    []string // KEY=VALUE
	Files  fs.FS    // rooted at /; names without the leading slash
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	TTY    bool // whether Stdin and Stdout are a terminal
	UID    int  // the user it runs as; root in a hollow pod
	GID    int

	// Dial connects through the pod's network, resolving names with the
	// cluster's DNS and going through the mesh's redirection where the pod has
	// one. Errors are those of package net: *net.DNSError, *net.OpError.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DialDirect is Dial without redirection: what a sidecar proxy uses.
	DialDirect func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen takes ":PORT", "127.0.0.1:PORT" or "PODIP:PORT".
	Listen       func(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)
	LookupHost   func(ctx context.Context, name string) ([]netip.Addr, error)

	// Redirect sends the pod's connections through a sidecar's listeners, as
	// istio-init does.
	Redirect func(Redirection) error
	// OriginalDst tells where a redirected connection was meant to go, as
	// SO_ORIGINAL_DST does.
	OriginalDst func(c net.Conn) (netip.AddrPort, error)
}

// Redirection is how a pod's connections go through its sidecar: outbound TCP
// to 127.0.0.1:Outbound, inbound TCP for the pod's address to Inbound. Ports in
// Except are left alone in both directions, and so is what the sidecar itself
// sends: in a hollow pod what it dials with DialDirect, in a real one what
// processes of the user ProxyUID send.
type Redirection struct {
	Outbound, Inbound uint16
	Except            []uint16
	ProxyUID          uint32
}

// Check tells what is wrong with it.
func (r Redirection) Check() error {
	if r.Outbound == 0 || r.Inbound == 0 || r.Outbound == r.Inbound {
		return fmt.Errorf("redirect: outbound %d and inbound %d must be two ports", r.Outbound, r.Inbound)
	}
	return nil
}

// Getenv returns the value of an environment variable, or "".
func (p *Process) Getenv(key string) string {
	for i := len(p.Env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(p.Env[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}
