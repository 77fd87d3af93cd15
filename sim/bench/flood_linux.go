package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FloodArgs asks for UDP packets, one thread's worth.
type FloodArgs struct {
	To      netip.AddrPort
	Payload int // bytes of payload per packet
	// Segments is how many packets one send makes, as one super-packet that is
	// segmented where it has to be (UDP_SEGMENT). 1 sends each alone.
	Segments int
	RateBits float64 // bits per second, IP headers included; 0 is as fast as possible
}

const (
	ipUDPHeaders = 28
	floodBatch   = 64                   // packets per system call, where each is sent alone
	longestDebt  = 5 * time.Millisecond // of a paced flood
)

type flood struct {
	stop atomic.Bool
	done chan error
}

// DeafPort binds a UDP port that nobody reads: packets are delivered to it and
// dropped by it, and no ICMP message is sent about them.
func (h *Host) DeafPort(_ None, at *netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return err
	}
	// Super-packets need not be taken apart only to be dropped; where the
	// kernel does not know the option, they are.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	*at = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(name.(*unix.SockaddrInet4).Port))
	return nil
}

// Flood starts sending, until FloodStop.
func (h *Host) Flood(args FloodArgs, _ *None) error {
	fd, err := connect(unix.SOCK_DGRAM, args.To)
	if err != nil {
		return err
	}
	if args.Segments > 1 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, args.Payload); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("UDP_SEGMENT: %w", err)
		}
	}
	f := &flood{done: make(chan error, 1)}
	h.mu.Lock()
	h.flood = f
	h.mu.Unlock()
	go func() {
		defer unix.Close(fd)
		runtime.LockOSThread()
		if args.Segments > 1 {
			f.done <- f.paced(fd, args)
		} else {
			f.done <- f.alone(fd, args)
		}
	}()
	return nil
}

// FloodStop ends it.
func (h *Host) FloodStop(_ None, _ *None) error {
	h.mu.Lock()
	f := h.flood
	h.flood = nil
	h.mu.Unlock()
	if f == nil {
		return fmt.Errorf("no flood to stop")
	}
	f.stop.Store(true)
	return <-f.done
}

// paced sends super-packets at a rate, looking at the clock twice a millisecond.
// What it was kept from sending for longer it does not make up for: that would
// be a burst, and more in flight than was asked for.
func (f *flood) paced(fd int, args FloodArgs) error {
	buffer := make([]byte, args.Payload*args.Segments)
	bits := float64(8 * args.Segments * (args.Payload + ipUDPHeaders))
	start := monotonic()
	for sent := 0.0; !f.stop.Load(); {
		now := monotonic()
		due := (now - start).Seconds() * args.RateBits / bits
		for sent = max(sent, due-args.RateBits/bits*longestDebt.Seconds()); sent < due; sent++ {
			if err := send(fd, buffer); err != nil {
				return err
			}
		}
		sleepUntil(now + 500*time.Microsecond)
	}
	return nil
}

// send passes over what a full queue refuses: it is not there to arrive.
func send(fd int, b []byte) error {
	switch _, err := unix.Write(fd, b); err {
	case nil, unix.EINTR, unix.ENOBUFS, unix.EAGAIN:
		return nil
	default:
		return err
	}
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// alone sends each packet by itself, many per system call, as fast as it can.
func (f *flood) alone(fd int, args FloodArgs) error {
	payload := make([]byte, args.Payload)
	part := unix.Iovec{Base: &payload[0]}
	part.SetLen(len(payload))
	batch := make([]message, floodBatch)
	for i := range batch {
		batch[i].header.Iov = &part
		batch[i].header.SetIovlen(1)
	}
	for !f.stop.Load() {
		_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&batch[0])), floodBatch, 0, 0, 0)
		switch errno {
		case 0, unix.EINTR, unix.ENOBUFS, unix.EAGAIN:
		default:
			return errno
		}
	}
	runtime.KeepAlive(payload)
	return nil
}
