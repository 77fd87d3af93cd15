package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// testWAN is an engine whose sites are /16s, all joined by one kind of link.
type testWAN struct {
	oneWay, jitter time.Duration
	loss           float64
	block          func(packet []byte) bool

	mu   sync.Mutex
	rand *rand.Rand
	last map[[2]uint32]time.Time
}

func (w *testWAN) SendFrom(now time.Time, _ wan.Ingress, b []byte) wan.Verdict {
	if len(b) < 20 || b[0]>>4 != 4 || int(b[2])<<8|int(b[3]) != len(b) {
		panic(fmt.Sprintf("not an IP packet: %x", b))
	}
	if w.block != nil && w.block(b) {
		return wan.Verdict{Cause: wan.Denied, Link: -1}
	}
	from, to := srcKey(b)>>16, dstKey(b)>>16
	if from == to {
		return wan.Verdict{Local: true, Link: -1}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rand == nil {
		w.rand, w.last = rand.New(rand.NewPCG(1, 2)), map[[2]uint32]time.Time{}
	}
	if w.rand.Float64() < w.loss {
		return wan.Verdict{Cause: wan.Lost}
	}
	at := now.Add(w.oneWay + time.Duration(max(0, w.rand.NormFloat64())*float64(w.jitter)))
	pair := [2]uint32{from, to}
	if at.Before(w.last[pair]) {
		at = w.last[pair]
	}
	w.last[pair] = at
	return wan.Verdict{At: at}
}

func newTest(t testing.TB, e engine) *Network {
	t.Helper()
	n := newNetwork(e)
	t.Cleanup(n.Close)
	return n
}

func addHost(t testing.TB, n *Network, addr string) *Host {
	t.Helper()
	h, err := n.AddHost("host-"+addr, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func withTimeout(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// serveName answers every connection with a name and the caller's address.
func serveName(t testing.TB, h *Host, address, name string) net.Listener {
	t.Helper()
	l, err := h.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "%s %s", name, c.RemoteAddr())
			_ = c.Close()
		}
	}()
	return l
}

func ask(t testing.TB, h *Host, address string) (string, error) {
	t.Helper()
	c, err := h.DialContext(withTimeout(t, 5*time.Second), "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestConnectAndGetTakeFourDelays(t *testing.T) {
	n := newTest(t, &testWAN{oneWay: 50 * time.Millisecond})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go srv.Serve(l)
	defer srv.Close()
	c := &http.Client{Transport: &http.Transport{DialContext: a.DialContext, DisableKeepAlives: true}}
	start := time.Now()
	r, err := c.Get("http://10.2.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	took := time.Since(start)
	_ = r.Body.Close()
	if err != nil || string(body) != "ok" {
		t.Fatalf("got %q, %v", body, err)
	}
	if took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("connect and GET over 50 ms each way took %v, want 200 ms and little more", took)
	}
}

func TestTransferIsIntactUnderLossAndJitter(t *testing.T) {
	size := 64 << 20
	if testing.Short() {
		size = 4 << 20
	}
	n := newTest(t, &testWAN{oneWay: 500 * time.Microsecond, jitter: 300 * time.Microsecond, loss: 0.001})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	l, err := b.Listen("tcp", "10.2.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	want := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		sum := sha256.New()
		_, _ = io.CopyN(io.MultiWriter(c, sum), rand.NewChaCha8([32]byte{7}), int64(size))
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		want <- sum.Sum(nil)
	}()
	c, err := a.DialContext(withTimeout(t, 30*time.Second), "tcp", "10.2.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.New()
	got, err := io.Copy(sum, c)
	if err != nil || got != int64(size) {
		t.Fatalf("read %d of %d bytes: %v", got, size, err)
	}
	if w := <-want; !bytes.Equal(w, sum.Sum(nil)) {
		t.Errorf("hash differs after %d bytes", got)
	}
}

func TestErrorsAreThoseOfPackageNet(t *testing.T) {
	blocked := netip.MustParseAddr("10.9.0.1")
	n := newTest(t, &testWAN{oneWay: time.Millisecond, block: func(b []byte) bool { return dstKey(b) == key4(blocked) }})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")

	t.Run("refused", func(t *testing.T) {
		_, err := a.DialContext(withTimeout(t, 5*time.Second), "tcp", "10.2.0.1:81")
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("got %v, want a *net.OpError with ECONNREFUSED", err)
		}
	})
	t.Run("blocked", func(t *testing.T) {
		_, err := a.DialContext(withTimeout(t, 50*time.Millisecond), "tcp", "10.9.0.1:80")
		var timeout net.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := a.DialContext(ctx, "tcp", "10.9.0.1:80"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context canceled", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		l, err := b.Listen("tcp", ":82")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := a.DialContext(withTimeout(t, 5*time.Second), "tcp", "10.2.0.1:82")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = s.(interface{ SetLinger(int) error }).SetLinger(0)
		_ = s.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want ECONNRESET", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		l, err := b.Listen("tcp", ":83")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := a.DialContext(withTimeout(t, 5*time.Second), "tcp", "10.2.0.1:83")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v, want a timeout", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a connection that is closed meanwhile: %v, want net.ErrClosed", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second close: %v, want net.ErrClosed", err)
		}
	})
	t.Run("listener", func(t *testing.T) {
		l, err := b.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		if addr.Port == 0 || !addr.IP.IsUnspecified() {
			t.Errorf("listens on %v", addr)
		}
		if _, err := b.Listen("tcp", fmt.Sprintf(":%d", addr.Port)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v, want EADDRINUSE", err)
		}
		if _, err := b.Listen("tcp", "10.2.0.9:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("somebody else's address: %v, want EADDRNOTAVAIL", err)
		}
		time.AfterFunc(10*time.Millisecond, func() { _ = l.Close() })
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v, want net.ErrClosed", err)
		}
	})
	t.Run("arguments", func(t *testing.T) {
		for _, bad := range [][2]string{{"unix", "10.2.0.1:1"}, {"tcp", "10.2.0.1"}, {"tcp", "hello:80"}, {"tcp", "[fd00::1]:80"}, {"tcp", "10.2.0.1:99999"}} {
			if c, err := a.DialContext(withTimeout(t, time.Second), bad[0], bad[1]); err == nil {
				_ = c.Close()
				t.Errorf("dial %v succeeded", bad)
			}
		}
		if _, err := n.AddHost("again", a.Addr()); !errors.Is(err, ErrAddressTaken) {
			t.Errorf("second host of an address: %v", err)
		}
		for _, bad := range []string{"fd00::1", "127.0.0.1", "0.0.0.0", "224.0.0.1"} {
			if _, err := n.AddHost("bad", netip.MustParseAddr(bad)); err == nil {
				t.Errorf("host with address %s was added", bad)
			}
		}
	})
}

func TestLoopbackIsTheHostsOwn(t *testing.T) {
	n := newTest(t, &testWAN{})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.1.0.2")
	serveName(t, a, "127.0.0.1:80", "inner")
	serveName(t, a, "10.1.0.1:80", "outer")
	for _, c := range []struct {
		from *Host
		to   string
		want string
	}{{a, "127.0.0.1:80", "inner"}, {a, "10.1.0.1:80", "outer"}, {b, "10.1.0.1:80", "outer"}, {a, ":80", "inner"}} {
		got, err := ask(t, c.from, c.to)
		if err != nil || !strings.HasPrefix(got, c.want+" ") {
			t.Errorf("%s asks %s: got %q, %v; want %s", c.from.Name(), c.to, got, err, c.want)
		}
	}
	if _, err := ask(t, b, "127.0.0.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another host's loopback: %v", err)
	}
}

func TestUDP(t *testing.T) {
	n := newTest(t, &testWAN{oneWay: time.Millisecond})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	pc, err := b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 65536)
		for {
			k, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(buf[:k], from)
		}
	}()
	c, err := a.DialContext(withTimeout(t, time.Second), "udp", "10.2.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{1, 512, 4000} { // the last in fragments
		msg := bytes.Repeat([]byte{'x'}, size)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 65536)
		k, err := c.Read(got)
		if err != nil || !bytes.Equal(got[:k], msg) {
			t.Errorf("echo of %d bytes: %d bytes, %v", size, k, err)
		}
	}
	refused, err := a.DialContext(withTimeout(t, time.Second), "udp", "10.2.0.1:54")
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	_, _ = refused.Write([]byte("x"))
	_ = refused.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v, want ECONNREFUSED", err)
	}
	mapped := &net.UDPAddr{IP: net.ParseIP("10.2.0.1"), Port: 53} // 16 bytes
	own, err := a.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.WriteTo([]byte("y"), mapped); err != nil {
		t.Error(err)
	}
	if _, err := own.WriteTo([]byte("y"), &net.TCPAddr{}); err == nil {
		t.Error("wrote to a TCP address")
	}
}

func TestEcho(t *testing.T) {
	n := newTest(t, &testWAN{oneWay: 5 * time.Millisecond, block: func(b []byte) bool {
		return b[9] == protoICMP && int(b[24])<<8|int(b[25]) == echoIdent // rules forbid ordinary echoes
	}})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.2.0.1")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rtt, err := a.Ping(withTimeout(t, 5*time.Second), b.Addr())
			if err != nil || rtt < 10*time.Millisecond || rtt > 2*time.Second {
				t.Errorf("ping: %v, %v; want 10 ms", rtt, err)
			}
		})
	}
	wg.Wait()
	if rtt, err := a.Echo(withTimeout(t, 50*time.Millisecond), b.Addr()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("echo that the rules forbid: %v, %v", rtt, err)
	}
	if rtt, err := a.Ping(withTimeout(t, time.Second), a.Addr()); err != nil || rtt > 2*time.Second {
		t.Errorf("ping of itself: %v, %v", rtt, err)
	}
	if len(a.echoes.waiting) != 0 {
		t.Errorf("%d echoes are still waited for", len(a.echoes.waiting))
	}
}

func TestDownIsSilent(t *testing.T) {
	n := newTest(t, &testWAN{})
	a, b := addHost(t, n, "10.1.0.1"), addHost(t, n, "10.1.0.2")
	serveName(t, b, ":80", "b")
	for _, h := range []*Host{a, b} {
		h.SetUp(false)
		if _, err := a.DialContext(withTimeout(t, 50*time.Millisecond), "tcp", "10.1.0.2:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s is down: %v, want a timeout", h.Name(), err)
		}
		h.SetUp(true)
		if got, err := ask(t, a, "10.1.0.2:80"); err != nil {
			t.Errorf("%s is up again: %q, %v", h.Name(), got, err)
		}
	}
}

func TestCloseResetsAndFrees(t *testing.T) {
	n := newTest(t, &testWAN{oneWay: time.Millisecond})
	a := addHost(t, n, "10.1.0.1")
	before := runtime.NumGoroutine()
	for round := range 3 {
		b := addHost(t, n, "10.2.0.1")
		l := serveName(t, b, ":80", "b") // leaves connections in TIME_WAIT
		if _, err := ask(t, a, "10.2.0.1:80"); err != nil {
			t.Fatal(err)
		}
		held, err := b.Listen("tcp", ":81")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.DialContext(withTimeout(t, 5*time.Second), "tcp", "10.2.0.1:81")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := held.Accept(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		b.Close()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("round %d: close took %v", round, took)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("peer of a closed host: %v, want ECONNRESET", err)
		}
		_ = c.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on a closed host: %v", err)
		}
		if _, err := b.DialContext(withTimeout(t, time.Second), "tcp", "10.1.0.1:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial on a closed host: %v", err)
		}
		b.Close() // again
	}
	waitFor(t, func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, %d before", now, before)
		}
		return nil
	})
}

func TestNetworkCloseEndsAllGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	n := newNetwork(&testWAN{oneWay: time.Second})
	for i := range 20 {
		addHost(t, n, fmt.Sprintf("10.1.0.%d", i+1))
	}
	other := addHost(t, n, "10.2.0.1")
	for range 10 { // packets on the way
		_, _ = other.Ping(withTimeout(t, time.Millisecond), netip.MustParseAddr("10.1.0.1"))
	}
	n.Close()
	if _, err := n.AddHost("late", netip.MustParseAddr("10.1.1.1")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("host on a closed network: %v", err)
	}
	waitFor(t, func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, %d before", now, before)
		}
		return nil
	})
}

func waitFor(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	err := check()
	for ; err != nil && time.Now().Before(deadline); err = check() {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		buf := make([]byte, 1<<16)
		t.Fatalf("%v\n%s", err, buf[:runtime.Stack(buf, true)])
	}
}
