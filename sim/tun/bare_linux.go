package tun

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// RunBare is Run without the engine: it writes what it reads, and no packet is
// looked at, judged or held. What it takes of a processor is the least that a
// router behind a TUN device takes, which Run is held against.
func (r *Router) RunBare(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, r.ring)
	defer stopped()
	done := make(chan error)
	go func() { done <- r.bareLoop() }()
	return <-done
}

func (r *Router) bareLoop() (err error) {
	r.thread()
	defer r.leave()
	if err := r.routes.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.routes.suspend()) }()
	fds := []unix.PollFd{{Fd: int32(r.stop), Events: unix.POLLIN}}
	for _, d := range r.devices {
		fds = append(fds, unix.PollFd{Fd: int32(d.fd), Events: unix.POLLIN})
	}
	b := make([]byte, readSize)
	for {
		for i, d := range r.devices {
			for range batch {
				n, e := d.read(b, r.tail[:])
				if e != 0 {
					break
				}
				d.write(b[:min(n, len(b))])
				r.totals.writes.Add(1)
				r.totals.writeBytes.Add(uint64(n - vnetSize))
			}
			fds[1+i].Revents = 0
		}
		if _, err := unix.Ppoll(fds, nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}
