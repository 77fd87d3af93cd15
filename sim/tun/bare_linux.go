package tun

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// RunBare is Run without the engine: it writes what it reads, and no packet is
// looked at, judged or held. Its thread is scheduled, woken and kept awake as
// Run's, so what it takes of a processor is what the TUN devices take, and Run
// is held against it.
func (r *Router) RunBare(ctx context.Context) error { return r.run(ctx, r.bareLoop) }

func (r *Router) bareLoop() error {
	return r.forward(func() error {
		b := r.memory.bytes(r.scratch)[:readSize]
		for _, d := range r.devices {
			for i := 0; d.ready && i < batch; i++ {
				n, e := d.read(b, r.tail[:])
				switch e {
				case 0:
					r.awake.busy = r.since()
					d.write(b[:min(n, readSize)]) // what the kernel does not take back is lost
				case unix.EINTR:
				case unix.EAGAIN:
					d.ready = false
				case unix.EBADFD:
					return d.goneError()
				default:
					return fmt.Errorf("tun: read from %s: %w", d.name, e)
				}
			}
		}
		return nil
	})
}
