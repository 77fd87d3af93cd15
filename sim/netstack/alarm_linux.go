package netstack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a timer that is more precise than Go's, whose wake-ups come about
// half a millisecond late: a thread of its own sleeps in ppoll(2) with a timer
// slack of 1 ns, which is some 30 µs late.
type alarm struct{ event int }

func newAlarm() alarm {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		panic(fmt.Errorf("netstack: eventfd: %w", err)) // only out of file descriptors or memory
	}
	return alarm{fd}
}

// enter makes the goroutine's thread the alarm's own.
func (a alarm) enter() (release func()) {
	runtime.LockOSThread()
	// Without it the kernel may wake us 50 µs later, which is no error.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// The thread keeps its slack; left locked, it ends with its goroutine.
	return func() {}
}

// wait sleeps for d, or until ring; below 0 it means until ring.
func (a alarm) wait(d time.Duration) {
	var ts *unix.Timespec
	if d >= 0 {
		t := unix.NsecToTimespec(int64(d))
		ts = &t
	}
	fds := []unix.PollFd{{Fd: int32(a.event), Events: unix.POLLIN}}
	n, err := unix.Ppoll(fds, ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		time.Sleep(100 * time.Microsecond) // never spin on a broken descriptor
	}
	if n > 0 {
		var b [8]byte
		_, _ = unix.Read(a.event, b[:])
	}
}

func (a alarm) ring() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(a.event, b[:])
}

func (a alarm) close() { _ = unix.Close(a.event) }
