package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/wan"
)

// batch is how many packets are read from one device, and how many written,
// before the others have their turn.
const batch = 64

// tidyEvery is how often memory that was not needed is given back, in ns.
const tidyEvery = int64(500 * time.Millisecond)

// loop receives and sends.
func (r *Router) loop() error {
	return r.forward(func() error {
		for _, d := range r.devices {
			if d.ready {
				if err := r.receive(d); err != nil {
					return err
				}
			}
		}
		return r.sendDue()
	})
}

// forward is the router's thread: what it does each time that it is awake is
// pass.
func (r *Router) forward(pass func() error) (err error) {
	why := r.thread()
	defer r.leave()
	drowsy := r.awake.open(r.cfg.Ordinary)
	defer r.awake.close()
	r.mu.Lock()
	r.report.Realtime, r.report.RealtimeWhy = why == "", why
	r.report.Awake, r.report.AwakeWhy = drowsy == "", drowsy
	r.spin.length = int64(r.report.Spin)
	r.mu.Unlock()

	r.memory = newMemory(r.cfg.Memory, systemSlabs())
	defer r.memory.close()
	defer func() {
		r.totals.held.Store(0)
		r.totals.heldBytes.Store(0)
		r.totals.memory.Store(0)
	}()
	var ok bool
	if r.scratch, ok = r.memory.take(readSize); !ok {
		return errors.New("tun: no memory for a single packet")
	}
	if err := r.routes.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.routes.suspend()) }()
	close(r.ready)

	fds := make([]unix.PollFd, 0, len(r.devices)+1)
	for _, d := range r.devices {
		fds = append(fds, unix.PollFd{Fd: int32(d.fd), Events: unix.POLLIN})
	}
	fds = append(fds, unix.PollFd{Fd: int32(r.stop), Events: unix.POLLIN})
	stop := &fds[len(fds)-1]
	for {
		if err := pass(); err != nil {
			return err
		}
		if now := r.since(); now >= r.tidy {
			r.memory.tidy()
			r.tidy = now + tidyEvery
		}
		r.totals.held.Store(uint64(r.queue.Len()))
		r.totals.heldBytes.Store(uint64(r.memory.used))
		r.totals.memory.Store(uint64(r.memory.held * slabSize))
		if err := r.wait(fds); err != nil {
			return err
		}
		if stop.Revents != 0 {
			return nil
		}
		for i, d := range r.devices {
			d.ready = d.ready || fds[i].Revents != 0
		}
	}
}

// since is the time since the router's start, on the monotonic clock.
func (r *Router) since() int64 { return int64(time.Since(r.base)) }

// wait sleeps until a packet is due or can be read; it does not where one is.
func (r *Router) wait(fds []unix.PollFd) error {
	for i := range fds {
		fds[i].Revents = 0
	}
	for _, d := range r.devices {
		if d.ready {
			return poll(fds)
		}
	}
	now, due := r.since(), never
	if at, ok := r.queue.Next(); ok {
		due = int64(at)
	}
	alarm := r.awake.until(now, due)
	if alarm != due {
		return r.sleep(fds, now, alarm-now)
	}
	if due == never {
		if r.memory.untidy() {
			return r.sleep(fds, now, tidyEvery)
		}
		return r.sleep(fds, now, never)
	}
	early := r.spin.before(now)
	timeout := due - now - max(early, r.wakes.usual())
	switch {
	case timeout > 0:
		if err := r.sleep(fds, now, timeout); err != nil {
			return err
		}
		if took := r.since() - now; took >= timeout && !anyReady(fds) {
			r.wakes.add(took - timeout)
		}
		return nil
	case early > 0:
		return r.spinUntil(now, due, fds)
	}
	return poll(fds)
}

// sleep lasts some nanoseconds, and less where something can be read or much
// is going on.
func (r *Router) sleep(fds []unix.PollFd, now, ns int64) error {
	if r.pace.fast(now) {
		ts := unix.NsecToTimespec(min(ns, longestRaw))
		return ppoll(fds, &ts)
	}
	var timeout *unix.Timespec
	if ns != never {
		ts := unix.NsecToTimespec(ns)
		timeout = &ts
	}
	_, err := unix.Ppoll(fds, timeout, nil)
	var e unix.Errno
	errors.As(err, &e)
	return pollError(e)
}

func anyReady(fds []unix.PollFd) bool {
	for i := range fds {
		if fds[i].Revents != 0 {
			return true
		}
	}
	return false
}

// spinUntil polls until a packet is due or something can be read.
func (r *Router) spinUntil(now, due int64, fds []unix.PollFd) error {
	begin := now
	for {
		if err := poll(fds); err != nil {
			return err
		}
		if now = r.since(); now >= due || anyReady(fds) {
			r.spin.spent(now - begin)
			return nil
		}
	}
}

// poll looks once.
func poll(fds []unix.PollFd) error {
	var ts unix.Timespec
	return ppoll(fds, &ts)
}

// ppoll does not tell the Go scheduler that it may block.
func ppoll(fds []unix.PollFd, timeout *unix.Timespec) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
		uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	return pollError(e)
}

func pollError(e unix.Errno) error {
	if e == 0 || e == unix.EINTR {
		return nil
	}
	return fmt.Errorf("tun: ppoll: %w", e)
}

// receive reads what a device has.
func (r *Router) receive(d *device) error {
	for range batch {
		n, e := d.read(r.memory.bytes(r.scratch), r.tail[:])
		switch e {
		case 0:
		case unix.EAGAIN:
			d.ready = false
			return nil
		case unix.EINTR:
			continue
		case unix.EBADFD:
			return d.goneError()
		default:
			return fmt.Errorf("tun: read from %s: %w", d.name, e)
		}
		// A packet's time is when it was read. One time for a batch would
		// release the later ones too early, and so would taking off what the
		// thread probably needed to wake up: some wake up at once.
		now := time.Since(r.base)
		r.awake.busy = int64(now)
		r.accept(d, n, now)
	}
	return nil
}

// accept takes what was read, n bytes with the vnet header, in the scratch
// block and, what did not fit, in the tail.
func (r *Router) accept(d *device, n int, now time.Duration) {
	t := &r.totals
	t.reads.Add(1)
	t.readBytes.Add(uint64(max(0, n-vnetSize)))
	switch {
	case n == readSize+len(r.tail):
		t.oversized.Add(1)
	case n < vnetSize:
		t.malformed.Add(1)
	case n <= readSize:
		r.take(d, n, now)
	default:
		whole, ok := r.memory.take(n)
		if !ok {
			t.overflow.Add(1)
			return
		}
		b := r.memory.bytes(whole)
		copy(b[copy(b, r.memory.bytes(r.scratch)):], r.tail[:])
		usual := r.scratch
		r.scratch = whole
		r.take(d, n, now)
		r.memory.release(r.scratch)
		r.scratch = usual
	}
}

// take asks the engine about a packet of n bytes, vnet header included, in the
// scratch block.
func (r *Router) take(d *device, n int, now time.Duration) {
	t := &r.totals
	b := r.memory.bytes(r.scratch)
	at := r.base.Add(now)
	in := wan.Ingress{From: d.origin}
	packet := b[vnetSize:n]
	if chatter(packet) {
		return
	}
	h := readVnet(b)
	if !h.super() {
		r.obey(d, r.cfg.Engine.SendFrom(at, in, packet), h, n, now)
		return
	}
	t.supers.Add(1)
	s, err := parseSuper(h, packet)
	if err != nil {
		t.malformed.Add(1)
		return
	}
	in.Super = wan.Super{Header: s.headers, Payload: s.segment}
	v := r.cfg.Engine.SendFrom(at, in, packet)
	if !v.Segment {
		r.obey(d, v, h, n, now)
		return
	}
	t.cut.Add(1)
	t.pieces.Add(uint64(s.count))
	in.Super = wan.Super{}
	r.cut(d, &s, in, now)
}

// chatter tells whether a packet is the kernel's own: it looks for IPv6
// neighbours on every interface, and forwards no multicast of others.
func chatter(packet []byte) bool {
	return len(packet) >= 40 && packet[0]>>4 == 6 && packet[24] == 0xff
}

// cut sends the packets of a super-packet, which is in the scratch block, one
// by one.
func (r *Router) cut(d *device, s *super, in wan.Ingress, now time.Duration) {
	whole := r.scratch // s looks into it
	piece, ok := r.memory.take(vnetSize + s.longest())
	if !ok {
		r.totals.overflow.Add(uint64(s.count))
		return
	}
	r.scratch = piece
	h := s.header()
	for i := range s.count {
		b := r.memory.bytes(r.scratch)
		n := vnetSize + s.cut(i, b[vnetSize:])
		h.write(b)
		r.obey(d, r.cfg.Engine.SendFrom(r.base.Add(now), in, b[vnetSize:n]), h, n, now)
	}
	r.memory.release(r.scratch)
	r.scratch = whole
}

// obey does what the engine says of the n bytes in the scratch block, vnet
// header included.
func (r *Router) obey(d *device, v wan.Verdict, h vnetHeader, n int, now time.Duration) {
	b := r.memory.bytes(r.scratch)[:n]
	if v.Cause != wan.Delivered {
		if v.Reject {
			r.reject(d, v, b[vnetSize:])
		}
		return
	}
	if v.Local {
		r.deliver(d, now, n, now)
		return
	}
	if v.Flip != 0 || v.FlipAgain != 0 {
		whole, err := h.complete(b[vnetSize:])
		if err != nil {
			r.totals.malformed.Add(1)
			return
		}
		whole.write(b)
	}
	if !v.Again.IsZero() {
		if again, ok := r.copy(b); ok {
			wan.FlipBit(r.memory.bytes(again)[vnetSize:n], v.FlipAgain)
			r.hold(d, v.Again.Sub(r.base), again, n)
		}
	}
	wan.FlipBit(b[vnetSize:], v.Flip)
	r.deliver(d, v.At.Sub(r.base), n, now)
}

// reject tells the sender of a packet that it was not let through.
func (r *Router) reject(d *device, v wan.Verdict, packet []byte) {
	answer := wan.Unreachable(packet, netip.Addr{})
	if answer == nil {
		return
	}
	n := vnetSize + len(answer)
	block, ok := r.memory.take(n)
	if !ok {
		r.totals.overflow.Add(1)
		return
	}
	b := r.memory.bytes(block)
	vnetHeader{}.write(b)
	copy(b[vnetSize:], answer)
	r.totals.rejected.Add(1)
	r.hold(d, v.At.Sub(r.base), block, n)
}

// deliver writes the scratch block's n bytes when they are due: now, if that
// is so and nothing is to be written before.
func (r *Router) deliver(d *device, due time.Duration, n int, now time.Duration) {
	if first, ok := r.queue.Next(); due <= now && (!ok || first > due) {
		_ = r.write(d, r.memory.bytes(r.scratch)[:n], due, r.since()) // a device that is gone says so when it is read, too
		return
	}
	if r.memory.fits(r.scratch, n) {
		// The packet stays where it is.
		next, ok := r.memory.another(r.scratch)
		if !ok {
			r.totals.overflow.Add(1)
			return
		}
		r.hold(d, due, r.scratch, n)
		r.scratch = next
		return
	}
	if block, ok := r.copy(r.memory.bytes(r.scratch)[:n]); ok {
		r.hold(d, due, block, n)
	}
}

// copy returns a block with the same bytes, unless the memory is full.
func (r *Router) copy(b []byte) (block, bool) {
	to, ok := r.memory.take(len(b))
	if !ok {
		r.totals.overflow.Add(1)
		return to, false
	}
	copy(r.memory.bytes(to), b)
	return to, true
}

func (r *Router) hold(d *device, due time.Duration, b block, n int) {
	r.queue.Push(due, held{device: d.index, block: b, size: int32(n)})
}

// sendDue writes what is due.
func (r *Router) sendDue() error {
	for range batch {
		first, ok := r.queue.Next()
		now := r.since()
		if !ok || int64(first) > now {
			return nil
		}
		due, p := r.queue.Pop()
		err := r.write(r.devices[p.device], r.memory.bytes(p.block)[:p.size], due, now)
		r.memory.release(p.block)
		if err != nil {
			return err
		}
	}
	return nil
}

// write gives the kernel a packet, vnet header first.
func (r *Router) write(d *device, b []byte, due time.Duration, now int64) error {
	t := &r.totals
	r.awake.busy = now
	t.late.add(time.Duration(now) - due)
	switch e := d.write(b); e {
	case 0:
		t.writes.Add(1)
		t.writeBytes.Add(uint64(len(b) - vnetSize))
	case unix.EBADFD:
		return d.goneError()
	default:
		t.writeErrors.Add(1)
	}
	return nil
}
