package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
)

// maxQueue bounds a host's receive queue, in packets. It is several times the
// largest TCP window (4 MiB in segments of 1460 bytes is 2900).
const maxQueue = 16384

// dispatcher gives packets to hosts from a few goroutines, so that a stack is
// never entered from within another stack's (or its own) sending path, and an
// idle host costs no goroutine. One host's packets are given in order.
type dispatcher struct {
	mu     sync.Mutex
	cond   sync.Cond
	ready  []*Host // hosts with packets that no worker looks after
	closed bool
	wg     sync.WaitGroup
}

func newDispatcher(workers int) *dispatcher {
	d := &dispatcher{}
	d.cond.L = &d.mu
	for range workers {
		d.wg.Go(d.run)
	}
	return d
}

func (d *dispatcher) add(h *Host) {
	d.mu.Lock()
	d.ready = append(d.ready, h)
	d.mu.Unlock()
	d.cond.Signal()
}

func (d *dispatcher) run() {
	var batch []*buffer.View
	for {
		d.mu.Lock()
		for len(d.ready) == 0 && !d.closed {
			d.cond.Wait()
		}
		if d.closed {
			d.mu.Unlock()
			return
		}
		h := d.ready[0]
		d.ready[0] = nil
		d.ready = d.ready[1:]
		d.mu.Unlock()

		batch = h.drain(batch[:0])
		for i, v := range batch {
			h.receive(v)
			batch[i] = nil
		}
		if h.more() {
			d.add(h)
		}
	}
}

func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cond.Broadcast()
	d.wg.Wait()
}

// inbox is a host's receive queue.
type inbox struct {
	mu     sync.Mutex
	q      []*buffer.View
	queued bool // with the dispatcher
	closed bool
}

// enqueue puts a packet into the host's receive queue. It never blocks.
func (h *Host) enqueue(v *buffer.View) {
	in := &h.in
	in.mu.Lock()
	if in.closed || len(in.q) >= maxQueue {
		in.mu.Unlock()
		h.net.stats.overflow.Add(1)
		v.Release()
		return
	}
	in.q = append(in.q, v)
	wake := !in.queued
	in.queued = true
	in.mu.Unlock()
	if wake {
		h.net.work.add(h)
	}
}

// drain moves what is queued to batch.
func (h *Host) drain(batch []*buffer.View) []*buffer.View {
	in := &h.in
	in.mu.Lock()
	defer in.mu.Unlock()
	batch = append(batch, in.q...)
	clear(in.q)
	if cap(in.q) > 256 {
		in.q = nil // a burst is over: give the memory back
	} else {
		in.q = in.q[:0]
	}
	return batch
}

// more reports whether more was queued since; if not, the host is nobody's.
func (h *Host) more() bool {
	in := &h.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queued = len(in.q) > 0
	return in.queued
}

// shut throws away what is queued, and all that will be.
func (in *inbox) shut() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for _, v := range in.q {
		v.Release()
	}
	in.q = nil
}
