package bench

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timerLead is for how long before its time the bare timer's thread is awake:
// as the router's by default.
const timerLead = 50 * time.Microsecond

// Timer sleeps until one time after the other, as the router's thread does
// between packets and with the same privileges, and tells how late it was: what
// is left of a router when there are no packets, no Go and no engine in it.
func (h *Host) Timer(count int, late *Stamps) error {
	done := make(chan Stamps)
	go func() {
		runtime.LockOSThread() // never unlocked: its scheduling is nobody else's
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		_ = unix.SchedSetAttr(0, &attr, 0)
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		if awake, err := os.OpenFile("/dev/cpu_dma_latency", os.O_WRONLY, 0); err == nil {
			_, _ = awake.Write(binary.NativeEndian.AppendUint32(nil, 0))
			defer awake.Close()
		}
		stamps := make(Stamps, 0, count)
		for i, next := 0, monotonic()+probeInterval; i < count; i, next = i+1, next+probeInterval {
			for now := monotonic(); now < next; now = monotonic() {
				if left := next - now - timerLead; left > 0 {
					ts := unix.NsecToTimespec(int64(left))
					_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
				}
			}
			stamps = append(stamps, int64(monotonic()-next))
		}
		done <- stamps
	}()
	*late = <-done
	return nil
}

// timer measures the machine, not a driver; it stands with kernel forwarding.
func timer(ctx context.Context, o Options, l *lane, report report) error {
	var late Stamps
	if err := l.bed.a.call(ctx, "Timer", o.Probes, &late); err != nil {
		return err
	}
	report.times("timer", late)
	return nil
}

// times reports a distribution, in µs.
func (report report) times(id string, ns Stamps) {
	var µs []float64
	for _, t := range ns {
		µs = append(µs, float64(t)/float64(time.Microsecond))
	}
	report(id+"/median", "µs", median(µs))
	report(id+"/p99", "µs", quantile(µs, 0.99))
	report(id+"/max", "µs", quantile(µs, 1))
}

// stolen is how long, all in all, a hypervisor has let this machine's
// processors wait for real ones: to 10 ms (proc_stat(5), steal).
func stolen() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const steal = 8
	if len(fields) <= steal {
		return 0
	}
	ticks, _ := strconv.ParseInt(fields[steal], 10, 64) // always a number; else nothing was stolen
	return time.Duration(ticks) * 10 * time.Millisecond
}
