package tun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/clock"
	"github.com/atoll-dev/atoll/sim/wan"
)

// Router joins networks by an engine. It is a [wan.Driver].
type Router struct {
	cfg     Config
	routes  *routes
	devices []*device
	stop    int // eventfd
	ready   chan struct{}

	mu     sync.Mutex
	report Report
	state  state

	// What follows is the thread's.
	base    time.Time
	queue   clock.Queue[held]
	memory  *memory
	tidy    int64 // when memory is tidied next
	scratch block
	tail    [128]byte // what of a packet does not fit into the scratch block
	spin    spinner
	wakes   wakes
	awake   awake
	pace    pace
	totals  totals
}

// held is a packet on its way.
type held struct {
	block  block
	size   int32 // vnet header included
	device int32 // where it came in, and goes out
}

var _ wan.Driver = (*Router)(nil)

// state is how far a router's life is.
type state int

const (
	opened state = iota
	running
	ended
	closed
)

// totals are Counters while they are counted; the thread alone writes them.
type totals struct {
	reads, readBytes, writes, writeBytes atomic.Uint64
	supers, cut, pieces                  atomic.Uint64
	malformed, oversized, overflow       atomic.Uint64
	writeErrors, rejected                atomic.Uint64
	held, heldBytes, memory              atomic.Uint64
	late                                 lateness
	thread                               atomic.Int32
	spent                                atomic.Int64
}

// Open makes the TUN devices and the rules. From then on nothing passes
// between the attachments' networks but what Run lets pass. What a router that
// died in this namespace left behind is replaced.
func Open(cfg Config) (*Router, error) {
	cfg.defaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Router{cfg: cfg, base: time.Now(), stop: -1, ready: make(chan struct{})}
	r.report.Spin, r.report.RealtimeWhy = cfg.Spin, NotRunning
	r.report.AwakeWhy = NotRunning
	switch {
	case cfg.Spin == 0:
		r.report.SpinWhy = "not asked for"
	case runtime.NumCPU() < 2:
		r.report.Spin, r.report.SpinWhy = 0, "the only processor is needed for others"
	}
	if err := inNamespace(cfg.Namespace, r.open); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Router) open() (err error) {
	if r.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("tun: eventfd: %w", err)
	}
	if r.routes, err = newRoutes(&r.cfg); err != nil {
		return err
	}
	// Closed first, and only then whatever could forward.
	if err := r.routes.shut(); err != nil {
		return err
	}
	for i := range r.routes.ways {
		w := &r.routes.ways[i]
		d, offloads, err := openDevice(w.device)
		if err != nil {
			return err
		}
		d.origin, d.index = w.origin, int32(i)
		r.devices = append(r.devices, d)
		r.report.Devices, r.report.Offloads = append(r.report.Devices, d.name), offloads
	}
	if r.report.MTU, err = r.routes.prepare(); err != nil {
		return err
	}
	return nil
}

// Report tells what the machine granted.
func (r *Router) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// Apply puts a policy in force.
func (r *Router) Apply(_ context.Context, p wan.Policy) error { return r.cfg.Engine.Swap(p) }

// Counters are those of the engine's links.
func (r *Router) Counters() ([]wan.Counters, error) { return r.cfg.Engine.Counters(), nil }

// Ready is closed when Run has begun to move packets, and Report is complete.
func (r *Router) Ready() <-chan struct{} { return r.ready }

// Engine is the one that decides.
func (r *Router) Engine() *wan.Engine { return r.cfg.Engine }

// Totals are the router's own.
func (r *Router) Totals() Counters {
	t := &r.totals
	return Counters{
		Reads: t.reads.Load(), ReadBytes: t.readBytes.Load(), Writes: t.writes.Load(), WriteBytes: t.writeBytes.Load(),
		Supers: t.supers.Load(), Cut: t.cut.Load(), Pieces: t.pieces.Load(),
		Malformed: t.malformed.Load(), Oversized: t.oversized.Load(), Overflow: t.overflow.Load(),
		WriteErrors: t.writeErrors.Load(), Rejected: t.rejected.Load(),
		Held: t.held.Load(), HeldBytes: t.heldBytes.Load(), Memory: t.memory.Load(),
		CPU: r.cpu(), Late: t.late.snapshot(),
	}
}

// Run moves the packets. It fails where a device is taken away.
func (r *Router) Run(ctx context.Context) error { return r.run(ctx, r.loop) }

func (r *Router) run(ctx context.Context, loop func() error) error {
	r.mu.Lock()
	if r.state != opened {
		r.mu.Unlock()
		return errors.New("tun: a router runs once")
	}
	r.state = running
	r.mu.Unlock()

	stopped := context.AfterFunc(ctx, r.ring)
	defer stopped()
	done := make(chan error)
	go func() { done <- loop() }()
	err := <-done
	r.mu.Lock()
	r.state = ended
	r.mu.Unlock()
	return err
}

// ring ends the loop.
func (r *Router) ring() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(r.stop, b[:])
}

// Close removes the TUN devices. The rules stay: with nothing behind them,
// they keep the networks apart, which the kernel would else join. [Clean]
// removes them. Close must not be called while Run runs.
func (r *Router) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case closed:
		return nil
	case running:
		return errors.New("tun: close: the router is running")
	}
	r.state = closed
	for _, d := range r.devices {
		d.close()
	}
	if r.routes != nil {
		r.routes.close()
	}
	if r.stop >= 0 {
		_ = unix.Close(r.stop)
	}
	return nil
}
