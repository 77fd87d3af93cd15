package wan

import "time"

// split makes a parcel of what a super-packet is on the wire. ok is false
// where the description does not fit the packet.
func (s Super) split(p *parcel) (ok bool) {
	if s.Payload == 0 {
		return true
	}
	payload := p.size - s.Header
	if s.Payload < 0 || s.Header < p.body || payload < 0 {
		return false
	}
	p.segments = max(1, (payload+s.Payload-1)/s.Payload)
	p.size += (p.segments - 1) * s.Header
	return true
}

// wholeWithin is how long a super-packet may take the transmitter of a link
// that it passes whole: so much later than by themselves its first segments come.
const wholeWithin = 100 * time.Microsecond

// whole tells whether a super-packet may pass as one: no link on its way
// treats one segment differently from another, nor is so slow that the
// segments would arrive one by one. What fills a queue is told by the link; of
// several links none may have a rate, because the first has by then been crossed.
func whole(ways []*way, wire *parcel) bool {
	for _, w := range ways {
		s := w.at(wire.entered)
		if !s.even {
			return false
		}
		if s.model.Down {
			return true // dropped whole, here
		}
		if bps := s.model.RateBps; bps > 0 && (len(ways) > 1 || transmission(wire.size, bps) > wholeWithin) {
			return false
		}
	}
	return true
}
