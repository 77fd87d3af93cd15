package wan

import (
	"slices"
	"time"
)

// Sighting is one packet at one link, as a tap sees it. A packet that crosses
// several links is seen at each; one that comes to no link (malformed, no
// peering, denied …) is seen once, with Link -1.
type Sighting struct {
	Link     int       // index into Counters; -1 if it came to no link
	From, To string    // the link's regions; empty if it came to no link
	Src, Dst string    // clusters of the packet's two addresses; empty where in no site
	Sent     time.Time // when it entered the WAN
	Enters   time.Time // when it comes to the link; of a later link on its way, in the future
	Leaves   time.Time // when it comes out at the other end; the zero time if dropped
	Cause    Cause     // Delivered, or why this link (or no link) dropped it
	Copy     bool      // a second copy, made by this link or one before it
	Flip     int       // the bit that is flipped from here on, as in Verdict; 0 for none
	Last     bool      // no link comes after it: of all sightings of a packet, or of a copy, one is the last
	Packet   []byte    // the IP packet as it entered the WAN; valid during the call only
}

// Tap has see called for each packet at each link, from the goroutine that
// sends it and in the order of sending; see must be quick, must not call the
// engine, and may be called concurrently. Traffic within one site is not seen.
// A call may still be under way when remove returns. Without any tap, watching
// costs one atomic load per packet.
func (e *Engine) Tap(see func(Sighting)) (remove func()) {
	t := &tap{see}
	e.changeTaps(func(ts taps) taps { return append(slices.Clone(ts), t) })
	return func() {
		e.changeTaps(func(ts taps) taps {
			return slices.DeleteFunc(slices.Clone(ts), func(other *tap) bool { return other == t })
		})
	}
}

type tap struct{ see func(Sighting) }

// taps are those in place; nobody changes them once the engine has them.
type taps []*tap

func (e *Engine) changeTaps(change func(taps) taps) {
	e.tapsMu.Lock()
	defer e.tapsMu.Unlock()
	var now taps
	if p := e.taps.Load(); p != nil {
		now = *p
	}
	if now = change(now); len(now) == 0 {
		e.taps.Store(nil)
		return
	}
	e.taps.Store(&now)
}

// show tells the taps of a packet between two clusters of f, -1 being none; w
// is the link it came to, nil if none.
func (ts *taps) show(f *inForce, clusters pair, w *way, s Sighting) {
	s.Link = -1
	if w != nil {
		s.Link, s.From, s.To = w.index, w.link.counters.From, w.link.counters.To
	}
	if clusters.from >= 0 {
		s.Src = f.clusters[clusters.from]
	}
	if clusters.to >= 0 {
		s.Dst = f.clusters[clusters.to]
	}
	for _, t := range *ts {
		t.see(s)
	}
}
