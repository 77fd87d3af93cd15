package drivertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is what datagrams tell their time from, on the machine's clock: the
// sender's is taken before it sends, the receiver's by the kernel when the
// packet comes to its namespace. How soon this process has a processor to read
// it is no part of the delay.
var epoch = time.Now().UnixNano()

func clock() time.Duration { return time.Duration(time.Now().UnixNano() - epoch) }

// Sink is a UDP socket that receives a [Sender]'s datagrams.
type Sink struct {
	conn *net.UDPConn
	Addr netip.AddrPort
}

// Arrival is a datagram that came.
type Arrival struct {
	Seq   uint64
	From  netip.AddrPort
	Sent  time.Duration // since the process began, as is Came
	Came  time.Duration
	Size  int
	Delay time.Duration
}

// NewSink listens on an address of a namespace.
func NewSink(t testing.TB, ns *Namespace, addr netip.Addr) *Sink {
	t.Helper()
	conn, err := ns.ListenUDP(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatalf("listen on %v: %v", addr, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err := errors.Join(err, refused); err != nil {
		t.Fatalf("ask for times of receipt: %v", err)
	}
	_ = conn.SetReadBuffer(8 << 20) // capped by the kernel; what is lost for it is told by the sequence
	return &Sink{conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// Receive waits for the next datagram, until the deadline at most.
func (s *Sink) Receive(deadline time.Time) (Arrival, error) {
	var b [65536]byte
	_ = s.conn.SetReadDeadline(deadline)
	var control [128]byte
	n, k, _, from, err := s.conn.ReadMsgUDPAddrPort(b[:], control[:])
	if err != nil {
		return Arrival{}, err
	}
	came, err := received(control[:k])
	if err != nil {
		return Arrival{}, err
	}
	if n < 16 {
		return Arrival{}, fmt.Errorf("a datagram of %d bytes", n)
	}
	a := Arrival{
		Seq: binary.BigEndian.Uint64(b[:]), Sent: time.Duration(binary.BigEndian.Uint64(b[8:])),
		From: from, Came: came, Size: n,
	}
	a.Delay = came - a.Sent
	return a, nil
}

// received reads the kernel's time of receipt (SCM_TIMESTAMPNS).
func received(control []byte) (time.Duration, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			seconds, ns := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Duration(int64(seconds)*int64(time.Second) + int64(ns) - epoch), nil
		}
	}
	return 0, errors.New("a datagram without a time of receipt")
}

// Collect receives until n have come or the time is over.
func (s *Sink) Collect(n int, within time.Duration) []Arrival {
	var out []Arrival
	deadline := time.Now().Add(within)
	for len(out) < n {
		a, err := s.Receive(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err == nil {
			out = append(out, a)
		}
	}
	return out
}

// Sender is a UDP socket that sends numbered, dated datagrams.
type Sender struct {
	conn *net.UDPConn
	seq  uint64
}

// NewSender opens a socket on an address of a namespace.
func NewSender(t testing.TB, ns *Namespace, addr netip.Addr) *Sender {
	t.Helper()
	conn, err := ns.ListenUDP(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatalf("open a socket on %v: %v", addr, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &Sender{conn: conn}
}

// Send sends one datagram with size bytes of payload, 16 at least.
func (s *Sender) Send(to netip.AddrPort, size int) error {
	b := make([]byte, max(16, size))
	binary.BigEndian.PutUint64(b, s.seq)
	binary.BigEndian.PutUint64(b[8:], uint64(clock()))
	s.seq++
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Delays are the arrivals' delays, sorted.
func Delays(as []Arrival) []time.Duration {
	out := make([]time.Duration, len(as))
	for i, a := range as {
		out[i] = a.Delay
	}
	slices.Sort(out)
	return out
}
