package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Wake wakes a thread again and again and tells how long each time took, in
// nanoseconds: the part of every delay that no driver in user space can take
// back. The thread sleeps as an engine's does, and is scheduled in real time if
// that is permitted.
func (h *Host) Wake(count int, took *Stamps) error {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(bell)
	var rung atomic.Int64 // when
	done := make(chan Stamps)
	go func() {
		runtime.LockOSThread() // never unlocked: its scheduling is nobody else's
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		_ = unix.SchedSetAttr(0, &attr, 0)
		waits := make(Stamps, 0, count)
		b := make([]byte, 8)
		for range count {
			if _, err := unix.Read(bell, b); err != nil && err != unix.EINTR {
				break
			}
			waits = append(waits, int64(monotonic())-rung.Load())
		}
		done <- waits
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	one := binary.NativeEndian.AppendUint64(nil, 1)
	for next := monotonic() + probeInterval; ; next += probeInterval {
		sleepUntil(next)
		rung.Store(int64(monotonic()))
		if _, err := unix.Write(bell, one); err != nil {
			return fmt.Errorf("eventfd: %w", err)
		}
		select {
		case *took = <-done:
			return nil
		default:
		}
	}
}

// wake measures the machine, not a driver; it stands with kernel forwarding.
func wake(ctx context.Context, o Options, l *lane, report report) error {
	var took Stamps
	if err := l.bed.a.call(ctx, "Wake", o.Probes, &took); err != nil {
		return err
	}
	report.times("wake", took)
	return nil
}
