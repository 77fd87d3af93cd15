package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Host is what a host's child does when asked; exported, with its arguments,
// for net/rpc alone.
type Host struct {
	received atomic.Uint64 // bytes, by all TCP readers

	mu      sync.Mutex
	streams []int // file descriptors of the streams this host sends
	sending sync.WaitGroup
	flood   *flood
	capture *capture
}

// None is no argument, and no answer.
type None struct{}

// Received is how much has arrived, and when that was looked up.
type Received struct {
	Bytes uint64
	At    time.Duration // on the machine's monotonic clock
}

// StreamArgs asks for TCP streams that send as fast as they can.
type StreamArgs struct {
	To      netip.AddrPort
	Streams int
}

// The size of one read or write of a stream: what iperf3 uses.
const streamBuffer = 128 << 10

func newHost() *Host { return &Host{} }

// Listen takes TCP connections, and counts and forgets what they bring.
func (h *Host) Listen(_ None, at *netip.AddrPort) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	*at = l.Addr().(*net.TCPAddr).AddrPort()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.drain(conn)
		}
	}()
	return nil
}

// drain reads with blocking system calls: the kernel then wakes the reader's
// thread itself, without a detour through Go's poller.
func (h *Host) drain(conn net.Conn) {
	file, err := conn.(*net.TCPConn).File() // a blocking duplicate
	conn.Close()
	if err != nil {
		return
	}
	defer file.Close()
	fd, buffer := int(file.Fd()), make([]byte, streamBuffer)
	for {
		n, err := unix.Read(fd, buffer)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		h.received.Add(uint64(n))
	}
}

// Received tells what all streams have brought so far.
func (h *Host) Received(_ None, r *Received) error {
	*r = Received{Bytes: h.received.Load(), At: monotonic()}
	return nil
}

// Dial starts streams; they send until Hangup.
func (h *Host) Dial(args StreamArgs, _ *None) error {
	for range args.Streams {
		fd, err := connect(unix.SOCK_STREAM, args.To)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.streams = append(h.streams, fd)
		h.mu.Unlock()
		h.sending.Add(1)
		go func() {
			defer h.sending.Done()
			buffer := make([]byte, streamBuffer)
			for {
				if _, err := unix.Write(fd, buffer); err != nil && err != unix.EINTR {
					return // Hangup, or the path is gone, which the count will show
				}
			}
		}()
	}
	return nil
}

// Hangup ends all streams of this host; what is still queued is thrown away.
func (h *Host) Hangup(_ None, _ *None) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fd := range h.streams {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes its writer
	}
	h.sending.Wait()
	for _, fd := range h.streams {
		_ = unix.Close(fd)
	}
	h.streams = nil
	return nil
}

// connect makes a blocking socket with a peer.
func connect(kind int, to netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Nothing should take this long; a path that leads nowhere is told, not
	// waited for.
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", to, err)
	}
	return fd, nil
}

func monotonic() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // cannot fail for the clocks used here
	return time.Duration(ts.Nano())
}

// sleepUntil waits for a time of the monotonic clock.
func sleepUntil(at time.Duration) {
	ts := unix.NsecToTimespec(int64(at))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}
