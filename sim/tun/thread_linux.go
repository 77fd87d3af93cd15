package tun

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// thread makes the calling goroutine's thread the router's own; the goroutine
// ends with it. It returns why the thread is not scheduled in real time,
// nothing if it is.
func (r *Router) thread() (why string) {
	runtime.LockOSThread() // never unlocked: the thread's scheduling is nobody else's
	r.totals.thread.Store(int32(unix.Gettid()))
	// The kernel may else wake us 50 µs later; that it does not know of it is no error.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	switch {
	case r.cfg.Ordinary:
		return "not asked for"
	case runtime.NumCPU() < 2:
		return "the only processor is needed for others"
	}
	// Not SCHED_DEADLINE, although Linux' share for ordinary threads ("fair
	// server", 50 ms of each second) does not interrupt it: small packets seemed
	// to take more of the processor with it (docs/benchmarks.md).
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Sprintf("SCHED_FIFO: %v (it takes CAP_SYS_NICE and a share of the cgroup's real-time runtime)", err)
		}
		return fmt.Sprintf("SCHED_FIFO: %v", err)
	}
	return ""
}

// spinShare is the part of the time that may be spent spinning.
const spinShare = 10

// spinner keeps account of the time spent spinning.
type spinner struct {
	length  int64 // how long before a packet is due, in ns
	credit  int64 // how long may be spun yet
	counted int64 // until when the credit is given
}

// before returns how long before a packet is due to wake up.
func (s *spinner) before(now int64) int64 {
	if s.length == 0 {
		return 0
	}
	s.credit = min(s.credit+(now-s.counted)/spinShare, int64(10*time.Millisecond))
	s.counted = now
	if s.credit < s.length {
		return 0
	}
	return s.length
}

func (s *spinner) spent(d int64) { s.credit -= d }

// wakes are the times that the thread's last wake-ups took, as its timer shows:
// some 20 to 50 µs on a virtual machine. By so much the alarm is set too early;
// a thread that wakes up sooner than usual waits for the rest.
type wakes struct {
	last  [16]int64
	n     int
	quick int64
}

// mostWake bounds what is believed of wake-ups: on a machine that is far too
// busy the next may be a quick one.
const mostWake = int64(100 * time.Microsecond)

func (w *wakes) add(took int64) {
	w.last[w.n%len(w.last)] = took
	if w.n++; w.n%len(w.last) == 0 {
		sorted := w.last
		slices.Sort(sorted[:])
		w.quick = min(max(0, sorted[len(sorted)/4]), mostWake)
	}
}

// usual is what three quarters of the last wake-ups took at the least; 0 until
// there were enough to tell.
func (w *wakes) usual() int64 { return w.quick }

// pace tells how often the thread sleeps.
//
// Go's scheduler should know of a sleep, or its monitor sees a goroutine that
// never stops, and a hundred times a second has it wait until some other thread
// has taken note, which on a busy machine takes milliseconds. But telling it
// wakes the monitor each time, which costs more than a packet; so where there is
// much to do, and little time to sleep, it is not told.
type pace struct {
	since int64
	n     int
	much  bool
}

const (
	paceTime = int64(10 * time.Millisecond)
	paceMuch = 50 // sleeps in paceTime
	// longestRaw bounds sleeps that the scheduler is not told of. It has ways
	// to end one, a signal; this is for one that comes just before.
	longestRaw = int64(2 * time.Millisecond)
)

// fast counts a sleep and tells whether there are many.
func (p *pace) fast(now int64) bool {
	if now-p.since >= paceTime {
		p.much = p.n >= paceMuch && now-p.since < 2*paceTime
		p.since, p.n = now, 0
	}
	p.n++
	return p.much
}

// cpu is the processor time of the router's thread.
func (r *Router) cpu() time.Duration {
	t := r.totals.thread.Load()
	if t == 0 {
		return time.Duration(r.totals.spent.Load())
	}
	// The clock of a thread, by its number (clock_getres(2), kernel's MAKE_THREAD_CPUCLOCK).
	var ts unix.Timespec
	if err := unix.ClockGettime(^t<<3|6, &ts); err != nil {
		return time.Duration(r.totals.spent.Load()) // it has just ended
	}
	return time.Duration(ts.Nano())
}

// leave keeps the thread's account when it ends.
func (r *Router) leave() {
	r.totals.spent.Store(int64(r.cpu()))
	r.totals.thread.Store(0)
}
