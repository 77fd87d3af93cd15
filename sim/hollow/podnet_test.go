package hollow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
)

// testPod is a pod without a kubelet: a network, and processes in it.
func testPod(t *testing.T, n *netstack.Network, addr string) environment {
	t.Helper()
	h := newHost(t, n, addr)
	r := &resolver{host: h, ndots: 5, hosts: map[string]netip.Addr{"localhost": netip.MustParseAddr("127.0.0.1"), "self": h.Addr()}}
	return environment{net: newPodNet(h, r), files: newMemFS()}
}

func (e environment) process(t *testing.T) *program.Process {
	t.Helper()
	p, owner := e.start([]string{"test"}, nil, io.Discard, io.Discard)
	t.Cleanup(owner.end)
	return p
}

// greet accepts connections and says who it is and where they were meant to
// go.
func greet(t *testing.T, p *program.Process, address, who string) {
	t.Helper()
	l, err := p.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dst := "none"
			if to, err := p.OriginalDst(c); err == nil {
				dst = to.String()
			}
			fmt.Fprintf(c, "%s %s", who, dst)
			c.Close()
		}
	}()
}

// hear connects and returns what is said.
func hear(p *program.Process, dial func(context.Context, string, string) (net.Conn, error), to string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := dial(ctx, "tcp", to)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	b, err := io.ReadAll(c)
	if len(b) == 0 {
		return fmt.Sprintf("nothing (%v)", err)
	}
	return string(b)
}

func TestRedirect(t *testing.T) {
	for _, when := range []string{"before listening", "after listening"} {
		t.Run(when, func(t *testing.T) {
			n := newNetwork(t)
			pod, peer := testPod(t, n, "10.2.0.2"), testPod(t, n, "10.2.0.3")
			app, sidecar, other := pod.process(t), pod.process(t), peer.process(t)
			redirect := func() {
				if err := sidecar.Redirect(program.Redirection{Outbound: 15001, Inbound: 15006, Except: []uint16{15020}}); err != nil {
					t.Fatal(err)
				}
			}
			if when == "before listening" {
				redirect()
			}
			greet(t, app, ":8080", "app")
			greet(t, app, ":15020", "excepted")
			greet(t, sidecar, ":15001", "outbound")
			greet(t, sidecar, ":15006", "inbound")
			greet(t, other, ":80", "peer")
			if when == "after listening" {
				redirect()
			}
			for _, c := range []struct {
				what string
				dial func(context.Context, string, string) (net.Conn, error)
				p    *program.Process
				to   string
				want string
			}{
				{"out", app.Dial, app, "10.2.0.3:80", "outbound 10.2.0.3:80"},
				{"out to an address nobody has", app.Dial, app, "10.96.0.1:443", "outbound 10.96.0.1:443"},
				{"out, directly", sidecar.DialDirect, sidecar, "10.2.0.3:80", "peer none"},
				{"out to an excepted port", app.Dial, app, "10.2.0.3:15020", "refused"},
				{"in", other.Dial, other, "10.2.0.2:8080", "inbound 10.2.0.2:8080"},
				{"in to an excepted port", other.Dial, other, "10.2.0.2:15020", "excepted none"},
				{"in to the sidecar itself", other.Dial, other, "10.2.0.2:15006", "inbound none"},
				{"within the pod, by loopback", sidecar.DialDirect, sidecar, "127.0.0.1:8080", "app none"},
				{"within the pod, by name", app.Dial, app, "localhost:8080", "app none"},
				{"within the pod, by its address", app.Dial, app, "10.2.0.2:8080", "app none"},
			} {
				if got := hear(c.p, c.dial, c.to); got != c.want {
					t.Errorf("%s: dialling %s reached %q, want %q", c.what, c.to, got, c.want)
				}
			}
		})
	}
}

func TestRedirectManyAtOnce(t *testing.T) {
	n := newNetwork(t)
	pod := testPod(t, n, "10.2.0.2")
	app, sidecar := pod.process(t), pod.process(t)
	if err := sidecar.Redirect(program.Redirection{Outbound: 15001, Inbound: 15006}); err != nil {
		t.Fatal(err)
	}
	greet(t, sidecar, ":15001", "outbound")
	errs := make(chan string)
	for i := range 50 {
		go func() {
			to := fmt.Sprintf("10.3.0.%d:80", i+1)
			if got, want := hear(app, app.Dial, to), "outbound "+to; got != want {
				errs <- fmt.Sprintf("got %q, want %q", got, want)
				return
			}
			errs <- ""
		}()
	}
	for range 50 {
		if e := <-errs; e != "" {
			t.Error(e)
		}
	}
}

func TestRedirectWithoutSidecar(t *testing.T) {
	n := newNetwork(t)
	pod, peer := testPod(t, n, "10.2.0.2"), testPod(t, n, "10.2.0.3")
	app, other := pod.process(t), peer.process(t)
	greet(t, app, ":8080", "app")
	if err := app.Redirect(program.Redirection{Outbound: 15001, Inbound: 15006}); err != nil {
		t.Fatal(err)
	}
	if got := hear(app, app.Dial, "10.2.0.3:80"); got != "refused" {
		t.Errorf("outbound: %q, want refused", got)
	}
	if got := hear(other, other.Dial, "10.2.0.2:8080"); !strings.HasPrefix(got, "nothing") {
		t.Errorf("inbound: %q, want nothing", got)
	}
	if err := app.Redirect(program.Redirection{Outbound: 15001, Inbound: 15001}); err == nil {
		t.Error("one port for both directions was taken")
	}
}

func TestProcessHoldsItsConnections(t *testing.T) {
	n := newNetwork(t)
	pod, peer := testPod(t, n, "10.2.0.2"), testPod(t, n, "10.2.0.3")
	p, owner := pod.start([]string{"x"}, nil, io.Discard, io.Discard)
	other := peer.process(t)
	l, err := p.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go l.Accept()
	c, err := other.Dial(t.Context(), "tcp", "10.2.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	owner.end()
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the peer of an ended process reads %v, want the end of the connection", err)
	}
	if got := hear(other, other.Dial, "10.2.0.2:80"); got != "refused" {
		t.Errorf("the port of an ended process: %q, want refused", got)
	}
	if _, err := p.Dial(t.Context(), "tcp", "10.2.0.3:80"); err == nil {
		t.Error("an ended process still dials")
	}
	if _, err := p.Listen(t.Context(), "tcp", ":81"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an ended process still listens: %v", err)
	}
}

// serveDNS answers A queries for the names of a table on a host.
func serveDNS(t *testing.T, h *netstack.Host, names map[string]string) *[]string {
	t.Helper()
	pc, err := h.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	var asked []string
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			m := new(dns.Msg)
			m.SetReply(q)
			name := q.Question[0].Name
			asked = append(asked, name)
			switch a := names[name]; a {
			case "":
				m.Rcode = dns.RcodeNameError
			case "broken":
				m.Rcode = dns.RcodeServerFailure
			default:
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(a)}}
			}
			b, _ := m.Pack()
			pc.WriteTo(b, from)
		}
	}()
	return &asked
}

func TestResolver(t *testing.T) {
	n := newNetwork(t)
	server := newHost(t, n, "10.1.0.10")
	asked := serveDNS(t, server, map[string]string{
		"hello.default.svc.cluster.local.":  "10.96.1.1",
		"hello.other.svc.cluster.local.":    "10.96.1.2",
		"a.b.c.d.e.example.":                "10.96.1.3",
		"broken.default.svc.cluster.local.": "broken", "broken.svc.cluster.local.": "broken", "broken.cluster.local.": "broken", "broken.": "broken",
	})
	h := newHost(t, n, "10.2.0.2")
	r := &resolver{host: h, servers: []netip.Addr{server.Addr()}, ndots: 5,
		search: []string{"default.svc.cluster.local", "svc.cluster.local", "cluster.local"},
		hosts:  map[string]netip.Addr{"localhost": netip.MustParseAddr("127.0.0.1")}}
	for _, c := range []struct{ name, want string }{
		{"hello", "10.96.1.1"},
		{"hello.other", "10.96.1.2"},
		{"hello.default.svc.cluster.local", "10.96.1.1"},
		{"hello.default.svc.cluster.local.", "10.96.1.1"},
		{"a.b.c.d.e.example", "10.96.1.3"},
		{"localhost", "127.0.0.1"},
		{"10.9.9.9", "10.9.9.9"},
		{"nosuch", "no such host"},
		{"hello.", "no such host"},
		{"", "no such host"},
		{strings.Repeat("x", 300), "no such host"},
		{"broken", "server misbehaving"},
	} {
		got := ""
		addrs, err := r.lookup(t.Context(), c.name)
		var de *net.DNSError
		if errors.As(err, &de) {
			got = de.Err
			if (got == "no such host") != de.IsNotFound {
				t.Errorf("%s: IsNotFound is %v with %q", c.name, de.IsNotFound, got)
			}
		} else if len(addrs) > 0 {
			got = addrs[0].String()
		}
		if got != c.want {
			t.Errorf("lookup %.40q = %q, want %q", c.name, got, c.want)
		}
	}
	*asked = nil
	r.lookup(t.Context(), "hello.other")
	want := []string{"hello.other.default.svc.cluster.local.", "hello.other.svc.cluster.local."}
	if !slices.Equal(*asked, want) {
		t.Errorf("asked %q, want %q", *asked, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r.servers = []netip.Addr{netip.MustParseAddr("10.1.0.99")}
	_, err := r.lookup(ctx, "hello")
	var de *net.DNSError
	if !errors.As(err, &de) || !de.IsTimeout {
		t.Errorf("lookup at a silent server: %v, want a time-out", err)
	}
}

func TestExitCodes(t *testing.T) {
	n := newNetwork(t)
	pod := testPod(t, n, "10.2.0.2")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		prog program.Func
		code int
		out  string
	}{
		{"well", t.Context(), func(context.Context, *program.Process) error { return nil }, 0, ""},
		{"its own code", t.Context(), func(context.Context, *program.Process) error { return &program.ExitError{Code: 9, Msg: "nine"} }, 9, "nine\n"},
		{"any error", t.Context(), func(context.Context, *program.Process) error { return io.ErrUnexpectedEOF }, 1, "unexpected EOF\n"},
		{"told to end", canceled, func(ctx context.Context, _ *program.Process) error { return fmt.Errorf("serve: %w", ctx.Err()) }, 143, ""},
		{"told to end, and did well", canceled, func(context.Context, *program.Process) error { return nil }, 0, ""},
		{"panic", t.Context(), func(context.Context, *program.Process) error { panic("oh") }, 2, "panic: oh"},
	} {
		var out bytes.Buffer
		p, owner := pod.start([]string{"x"}, nil, &out, &out)
		if code := runToEnd(c.ctx, c.prog, p, owner, nil); code != c.code || !strings.HasPrefix(out.String(), c.out) {
			t.Errorf("%s: exit %d and %q, want %d and %q", c.name, code, out.String(), c.code, c.out)
		}
	}
}
