package netstack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/atoll-dev/atoll/sim/wan"
)

// echoes are a host's ICMP echo requests that wait for an answer. They are
// made and recognised at the cable, so that the measured time has no queue of
// a socket in it; it is the other host's stack that answers.
type echoes struct {
	mu      sync.Mutex
	seq     uint16
	waiting map[echoID]chan time.Time
}

type echoID struct {
	from    uint32
	id, seq uint16
}

const (
	echoPayload = 56 // as ping(8) sends
	echoIdent   = 1  // of ordinary echoes; outside wan.LabProbes
)

// Ping sends one calibration probe, to which the rules do not apply (see
// wan.Policy.Probes), and returns the
// round trip. It waits for the answer until ctx is done.
func (h *Host) Ping(ctx context.Context, to netip.Addr) (time.Duration, error) {
	return h.echo(ctx, to, wan.LabProbes.First)
}

// Echo sends one ordinary ICMP echo and returns the round trip. It waits for
// the answer until ctx is done.
func (h *Host) Echo(ctx context.Context, to netip.Addr) (time.Duration, error) {
	return h.echo(ctx, to, echoIdent)
}

func (h *Host) echo(ctx context.Context, to netip.Addr, ident uint16) (time.Duration, error) {
	to = to.Unmap()
	fail := func(err error) (time.Duration, error) {
		return 0, fmt.Errorf("ping %v from %s (%v): %w", to, h.name, h.addr, err)
	}
	if !to.Is4() {
		return fail(net.InvalidAddrError("not an IPv4 address"))
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return fail(net.ErrClosed)
	}
	v, m := newIPv4(protoICMP, h.key, key4(to), icmpMin+echoPayload)
	answer := make(chan time.Time, 1)
	e := &h.echoes
	e.mu.Lock()
	e.seq++
	id := echoID{from: key4(to), id: ident, seq: e.seq}
	if e.waiting == nil {
		e.waiting = map[echoID]chan time.Time{}
	}
	e.waiting[id] = answer
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		if e.waiting[id] == answer {
			delete(e.waiting, id)
		}
		e.mu.Unlock()
	}()
	m[0] = byte(header.ICMPv4Echo)
	binary.BigEndian.PutUint16(m[4:], ident)
	binary.BigEndian.PutUint16(m[6:], id.seq)
	sumICMP(m)

	start := time.Now()
	if to == h.addr {
		h.loop(v)
	} else {
		h.transmit(v)
	}
	select {
	case at := <-answer:
		return at.Sub(start), nil
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

// SendICMP sends an ICMP message, whole with its checksum, and waits for
// nothing.
func (h *Host) SendICMP(to netip.Addr, message []byte) error {
	to = to.Unmap()
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("send to %v from %s: %w", to, h.name, net.ErrClosed)
	case !to.Is4() || ipv4Min+len(message) > mtu:
		return fmt.Errorf("send %d bytes to %v from %s: %w", len(message), to, h.name, syscall.EMSGSIZE)
	}
	v, m := newIPv4(protoICMP, h.key, key4(to), len(message))
	copy(m, message)
	h.transmit(v)
	return nil
}

// loop answers an echo to the host itself.
func (h *Host) loop(v *buffer.View) {
	b := v.AsSlice()
	b[ipv4Min] = byte(header.ICMPv4EchoReply)
	sumICMP(b[ipv4Min:])
	h.enqueue(v)
}

// answered tells whether a packet is the reply to an echo, and takes it.
func (e *echoes) answered(b []byte) bool {
	if len(b) < ipv4Min || b[9] != protoICMP {
		return false
	}
	ihl := int(b[0]&0xf) * 4
	if ihl < ipv4Min || len(b) < ihl+icmpMin || header.ICMPv4Type(b[ihl]) != header.ICMPv4EchoReply {
		return false
	}
	now := time.Now()
	id := echoID{from: srcKey(b), id: binary.BigEndian.Uint16(b[ihl+4:]), seq: binary.BigEndian.Uint16(b[ihl+6:])}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.waiting[id]
	if c == nil {
		return false
	}
	delete(e.waiting, id)
	c <- now
	return true
}
