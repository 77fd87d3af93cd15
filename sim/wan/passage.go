package wan

import "time"

// passage is one packet on its way through a policy.
type passage struct {
	parcel
	f        *inForce
	clusters pair // of its source and its destination
	total    *pairTotal
	seen     *taps // nil unless somebody watches
	packet   []byte
}

// flights are what there is of a packet: itself, and a copy at most.
type flights struct {
	of      [2]flight
	n       int
	doubled bool // there was a copy at some time
}

// cross takes a packet over the links of its path.
func (p *passage) cross(ways []*way) Verdict {
	fs := flights{of: [2]flight{{at: p.entered, ingress: direct}}, n: 1}
	v := Verdict{Link: direct}
	for i, w := range ways {
		v.Link = w.index
		if last := p.hop(w, &fs, i == len(ways)-1); last.segment {
			return Verdict{Segment: true, Link: -1}
		} else if fs.n == 0 {
			v.Cause, v.Reject = last.cause, last.reject
			if v.Reject {
				// The answer goes back as the packet came.
				came := fs.of[0].at
				v.At = came.Add(came.Sub(p.entered))
			}
			return v
		}
	}
	for _, c := range fs.of[:fs.n] {
		p.total.packets.Add(uint64(p.segments))
		p.total.bytes.Add(uint64(p.size))
		if c.flip != 0 {
			p.total.corrupted.Add(1)
		}
	}
	first := fs.of[0]
	if fs.n == 2 {
		second := fs.of[1]
		if second.at.Before(first.at) {
			first, second = second, first
		}
		v.Again, v.FlipAgain = second.at, second.flip
	}
	v.At, v.Flip = first.at, first.flip
	return v
}

// hop takes what there is of a packet over one link, the final one or not. It
// returns what became of the last of it.
func (p *passage) hop(w *way, fs *flights, final bool) (o outcome) {
	model := &w.at(p.entered).model
	before := *fs
	fs.n = 0
	for _, c := range before.of[:before.n] {
		came := c.at
		o = w.link.send(model, &p.parcel, &c, w.index, !fs.doubled)
		if o.segment {
			return o
		}
		p.show(w, Sighting{Enters: came, Leaves: c.at, Cause: o.cause, Copy: c.copy, Flip: c.flip, Last: final})
		if o.cause != Delivered {
			p.total.dropped[o.cause].Add(uint64(p.segments))
			continue
		}
		fs.add(c)
		if !o.doubled {
			continue
		}
		fs.doubled = true
		p.total.duplicated.Add(1)
		p.show(w, Sighting{Enters: came, Leaves: o.again.at, Cause: o.extra, Copy: true, Flip: o.again.flip, Last: final})
		if o.extra != Delivered {
			p.total.dropped[o.extra].Add(1)
			continue
		}
		fs.add(o.again)
	}
	return o
}

func (fs *flights) add(c flight) {
	fs.of[fs.n] = c
	fs.n++
}

// show tells the taps of the packet at a link.
func (p *passage) show(w *way, s Sighting) {
	if p.seen == nil {
		return
	}
	if s.Cause != Delivered {
		s.Leaves, s.Flip, s.Last = time.Time{}, 0, true
	}
	s.Sent = p.entered
	s.Packet = p.packet
	p.seen.show(p.f, p.clusters, w, s)
}
