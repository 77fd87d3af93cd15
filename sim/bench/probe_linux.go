package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProbeArgs asks for packets that are timed one by one.
type ProbeArgs struct {
	To       netip.AddrPort
	TCP      bool // messages on one connection; UDP packets otherwise
	Run      uint64
	Count    int
	Interval time.Duration
}

// Stamps are times of the machine's real-time clock in nanoseconds, by probe;
// 0 where there is none.
type Stamps []int64

// A probe's payload: the run, so that a straggler of an earlier one is known,
// and its number.
const probeSize = 16

type capture struct {
	mu     sync.Mutex
	run    uint64
	stamps Stamps
	got    int
}

// CaptureArgs says what to expect.
type CaptureArgs struct {
	TCP   bool
	Run   uint64
	Count int
}

// Capture opens a port and notes the arrival of one run's probes.
func (h *Host) Capture(args CaptureArgs, at *netip.AddrPort) error {
	c := &capture{run: args.Run, stamps: make(Stamps, args.Count)}
	h.mu.Lock()
	h.capture = c
	h.mu.Unlock()
	if args.TCP {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "0.0.0.0:0")
		if err != nil {
			return err
		}
		*at = l.Addr().(*net.TCPAddr).AddrPort()
		go func() {
			defer l.Close()
			conn, err := l.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err == nil {
				c.receive(int(file.Fd()))
				file.Close()
			}
		}()
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	*at = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(name.(*unix.SockaddrInet4).Port))
	go func() {
		defer unix.Close(fd)
		c.receive(fd)
	}()
	return nil
}

// receive notes probes until they are complete, the connection ends, or none
// has come for a while.
func (c *capture) receive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	patience := unix.NsecToTimeval(int64(3 * time.Second))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	// No more than one: on TCP, where several may have come together, a stamp
	// is that of the last byte read.
	data, control := make([]byte, probeSize), make([]byte, 256)
	for {
		n, cn, _, _, err := unix.Recvmsg(fd, data, control, unix.MSG_WAITALL)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < probeSize {
			return
		}
		run, seq := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])
		if c.note(run, seq, stampOf(control[:cn], unix.SCM_TIMESTAMPNS)) {
			return
		}
	}
}

func (c *capture) note(run, seq uint64, stamp int64) (complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if run != c.run || seq >= uint64(len(c.stamps)) || c.stamps[seq] != 0 {
		return false
	}
	c.stamps[seq] = stamp
	c.got++
	return seq == uint64(len(c.stamps))-1
}

// Captured tells how many have arrived so far.
func (h *Host) Captured(_ None, got *int) error {
	c := h.capturing()
	c.mu.Lock()
	defer c.mu.Unlock()
	*got = c.got
	return nil
}

// Arrivals tells when they arrived.
func (h *Host) Arrivals(_ None, stamps *Stamps) error {
	c := h.capturing()
	c.mu.Lock()
	defer c.mu.Unlock()
	*stamps = append(Stamps(nil), c.stamps...)
	return nil
}

func (h *Host) capturing() *capture {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.capture == nil {
		return &capture{}
	}
	return h.capture
}

// Probe sends a run and tells when each probe left: for UDP as the kernel
// stamped it on its way into the device, for TCP as this thread's clock showed
// before the send.
func (h *Host) Probe(args ProbeArgs, left *Stamps) error {
	kind := unix.SOCK_DGRAM
	if args.TCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := connect(kind, args.To)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// One nanosecond of slack instead of fifty microseconds: the pace is even.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }()
	if args.TCP {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	} else {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
			unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_ID|unix.SOF_TIMESTAMPING_OPT_TSONLY)
	}
	if err != nil {
		return err
	}
	*left = make(Stamps, args.Count)
	probe := make([]byte, probeSize)
	binary.LittleEndian.PutUint64(probe, args.Run)
	for i, next := 0, monotonic(); i < args.Count; i++ {
		binary.LittleEndian.PutUint64(probe[8:], uint64(i))
		(*left)[i] = int64(clock(unix.CLOCK_REALTIME))
		if _, err := unix.Write(fd, probe); err != nil {
			return fmt.Errorf("probe %d: %w", i, err)
		}
		if !args.TCP {
			departures(fd, *left)
		}
		// Not a multiple of a timer tick: every phase has its turn.
		next += args.Interval + time.Duration(i%7)*13*time.Microsecond
		sleepUntil(next)
	}
	if !args.TCP {
		departures(fd, *left)
	}
	return nil
}

// departures takes the kernel's stamps off a socket's error queue; each
// replaces the sender's own of that packet, which is a few microseconds early.
func departures(fd int, left Stamps) {
	control := make([]byte, 512)
	for {
		_, n, _, _, err := unix.Recvmsg(fd, nil, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		id, ok := departureID(control[:n])
		if stamp := stampOf(control[:n], unix.SCM_TIMESTAMPING); ok && stamp != 0 && id < len(left) {
			left[id] = stamp
		}
	}
}

// stampOf finds the first struct timespec of a control message of a type.
func stampOf(control []byte, kind int32) int64 {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == kind && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano()
		}
	}
	return 0
}

// departureID finds which packet of its socket a stamp is for.
func departureID(control []byte) (int, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_IP || m.Header.Type != unix.IP_RECVERR || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		if e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0])); e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING {
			return int(e.Data), true
		}
	}
	return 0, false
}
