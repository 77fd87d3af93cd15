package drivertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace without a name: it is gone with the last
// descriptor of it, after a crash too.
type Namespace struct {
	handle netns.NsHandle
	// Links speaks netlink within the namespace.
	Links *netlink.Handle
}

// Require skips the test where network namespaces cannot be made or joined, or
// where nothing could be told from time, and says why.
func Require(t testing.TB) {
	t.Helper()
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_IDLE {
		t.Skip("this process has idle priority (SCHED_IDLE): on a busy machine its threads wait for each other for minutes")
	}
	ns, err := newNamespace()
	if err != nil {
		t.Skipf("needs the right to make network namespaces (root, or CAP_SYS_ADMIN and CAP_NET_ADMIN): %v", err)
	}
	defer ns.close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b"}
	if err := ns.Links.LinkAdd(pair); err != nil {
		t.Skipf("needs veth pairs: %v", err)
	}
}

// NewNamespace makes a namespace that lasts as long as the test.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	ns, err := newNamespace()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(ns.close)
	lo, err := ns.Links.LinkByName("lo")
	if err == nil {
		err = ns.Links.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatalf("bring up lo: %v", err)
	}
	return ns
}

func newNamespace() (*Namespace, error) {
	n := &Namespace{}
	err := onThread(func() (err error) {
		if n.handle, err = netns.New(); err != nil {
			return err
		}
		n.Links, err = netlink.NewHandle()
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// onThread runs f on a thread of its own, which ends with it: whatever
// namespace f joins is nobody else's.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

func (n *Namespace) close() {
	n.Links.Close()
	_ = n.handle.Close()
}

// Path names the namespace to whoever opens it, in this process or another.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle))
}

// Do runs f inside the namespace. Sockets that it opens stay there.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("join the namespace: %w", err)
		}
		return f()
	})
}

// Listen listens for TCP in the namespace.
func (n *Namespace) Listen(address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		return err
	})
	return l, err
}

// Dial connects by TCP from the namespace.
func (n *Namespace) Dial(address string, timeout time.Duration) (c net.Conn, err error) {
	err = n.Do(func() error {
		c, err = (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), "tcp", address)
		return err
	})
	return c, err
}

// ListenUDP opens a UDP socket in the namespace.
func (n *Namespace) ListenUDP(address string) (c *net.UDPConn, err error) {
	err = n.Do(func() error {
		var p net.PacketConn
		p, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", address)
		if err == nil {
			c = p.(*net.UDPConn)
		}
		return err
	})
	return c, err
}

// Sysctl sets a kernel parameter of the namespace, such as
// "net/ipv4/ip_forward".
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}
