package tun_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// A packet may be late, because this machine is; it is never early, however
// the router makes up for its thread's wake-ups. Both times are the kernel's:
// when a datagram left its host's device, and when it was received.
func TestNeverEarly(t *testing.T) {
	const oneWay, count = 10 * time.Millisecond, 400
	for _, c := range []struct {
		name string
		cfg  tun.Config
	}{{"real time", tun.Config{}}, {"ordinary", tun.Config{Ordinary: true}}} {
		t.Run(c.name, func(t *testing.T) {
			n := drivertest.NewNetwork(t)
			defer runRouter(t, open(t, n, n.Policy(oneWay, oneWay), c.cfg))()
			left, arrived := timed(t, n.Sites[2], n.Sites[1], count)
			early, least := 0, time.Duration(1<<62)
			for i, at := range arrived {
				took := time.Duration(at - left[i])
				least = min(least, took)
				if took < oneWay {
					early++
				}
			}
			t.Logf("%d datagrams took %v at least", len(arrived), least)
			if early > 0 {
				t.Errorf("%d of %d datagrams took less than %v, one of them %v", early, len(arrived), oneWay, least)
			}
		})
	}
}

// timed sends datagrams until so many have arrived, and returns when each left
// and arrived, by its number.
func timed(t *testing.T, from, to *drivertest.Site, count int) (left, arrived map[uint64]int64) {
	t.Helper()
	sink, err := to.Node.ListenUDP(netip.AddrPortFrom(to.Addr4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	source, err := from.Node.ListenUDP(netip.AddrPortFrom(from.Addr4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	set(t, sink, unix.SO_TIMESTAMPNS, 1)
	set(t, source, unix.SO_TIMESTAMPING,
		unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_ID|unix.SOF_TIMESTAMPING_OPT_TSONLY)

	stop, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		var p [8]byte
		for i := uint64(0); ; i++ { // what is lost before the links are up is sent again
			binary.BigEndian.PutUint64(p[:], i)
			if _, err := source.WriteToUDPAddrPort(p[:], sink.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
				sent <- err
				return
			}
			select {
			case <-ticker.C:
			case <-stop:
				sent <- nil
				return
			}
		}
	}()
	left, arrived = map[uint64]int64{}, map[uint64]int64{}
	var p, oob [512]byte
	_ = sink.SetReadDeadline(time.Now().Add(patience))
	for len(arrived) < count {
		_, k, _, _, err := sink.ReadMsgUDPAddrPort(p[:], oob[:])
		if err != nil {
			t.Fatal(err)
		}
		arrived[binary.BigEndian.Uint64(p[:])] = stampOf(t, oob[:k], unix.SCM_TIMESTAMPNS)
		departures(t, source, left)
	}
	close(stop)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	departures(t, source, left)
	for i := range arrived {
		if left[i] == 0 {
			t.Fatalf("the kernel did not tell when datagram %d left", i)
		}
	}
	return left, arrived
}

func set(t testing.TB, c *net.UDPConn, option, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// departures takes the kernel's times off a socket's error queue, by the
// number of the send.
func departures(t *testing.T, c *net.UDPConn, left map[uint64]int64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		control := make([]byte, 512)
		for {
			_, n, _, _, err := unix.Recvmsg(int(fd), nil, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return
			}
			messages, err := unix.ParseSocketControlMessage(control[:n])
			if err != nil {
				t.Error(err)
				return
			}
			for _, m := range messages {
				if m.Header.Level != unix.SOL_IP || m.Header.Type != unix.IP_RECVERR {
					continue
				}
				if e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0])); e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING {
					left[uint64(e.Data)] = stampOf(t, control[:n], unix.SCM_TIMESTAMPING)
				}
			}
		}
	})
}

// stampOf finds the time in a control message of a type.
func stampOf(t testing.TB, control []byte, kind int32) int64 {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == kind && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano()
		}
	}
	t.Fatal("no time in the control message")
	return 0
}
