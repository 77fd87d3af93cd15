package tun

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// awakeFor is for how long around a packet the processors are kept from
// sleeping: before one is due, and after one was read or written, for the next
// is often near.
const awakeFor = int64(2 * time.Millisecond)

// latencyFile is where the kernel takes the wish for processors that wake up
// within so many microseconds, for as long as the file is open
// (Documentation/power/pm_qos_interface.rst).
const latencyFile = "/dev/cpu_dma_latency"

// What is written into latencyFile.
const (
	latencyNone = 0             // idle processors poll
	latencyAny  = 2_000_000_000 // as if nothing had been asked for
)

// never is when nothing is due.
const never = int64(math.MaxInt64)

// awake keeps the processors from sleeping while packets are near. A sleeping
// one takes long to wake up where it is virtual: the hypervisor has to give it
// a real one first, which this machine took milliseconds for in one case of a
// hundred.
type awake struct {
	fd   int // -1 if it is not permitted
	held bool
	busy int64 // when a packet was last read or written
}

// open returns why the processors cannot be kept awake, nothing if they can.
func (a *awake) open(ordinary bool) (why string) {
	a.fd = -1
	if ordinary {
		return "not asked for"
	}
	fd, err := unix.Open(latencyFile, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Sprintf("%s: %v", latencyFile, err)
	}
	a.fd = fd
	return ""
}

// until tells the kernel whether to keep processors awake while the thread
// sleeps, which it is about to do until due, and returns until when it shall:
// sooner, if something is to be told then.
func (a *awake) until(now, due int64) int64 {
	if a.fd < 0 {
		return due
	}
	calm := a.busy + awakeFor
	switch {
	case due-now <= awakeFor:
		a.hold(true)
		return due
	case now < calm:
		a.hold(true)
		return min(due, calm)
	}
	a.hold(false)
	if due == never {
		return never
	}
	return due - awakeFor
}

func (a *awake) hold(on bool) {
	if a.held == on {
		return
	}
	a.held = on
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], latencyAny)
	if on {
		binary.NativeEndian.PutUint32(b[:], latencyNone)
	}
	_, _ = unix.Write(a.fd, b[:]) // where it fails, packets are later, and counted so
}

func (a *awake) close() {
	if a.fd >= 0 {
		_ = unix.Close(a.fd)
	}
	a.fd = -1
}
