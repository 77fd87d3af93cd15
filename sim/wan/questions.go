package wan

import (
	"fmt"
	"net/netip"
	"time"
)

// Hop is one link that a path crosses.
type Hop struct {
	From, To string // regions
	Link     LinkModel
}

// Path returns the links from one address to another, none within one site.
// Rules are not asked.
func (t *Table) Path(src, dst netip.Addr) ([]Hop, Cause) {
	if !src.IsValid() || !dst.IsValid() {
		return nil, NoSite
	}
	src, dst = src.Unmap(), dst.Unmap()
	a, b := t.find(src), t.find(dst)
	if a < 0 || b < 0 {
		return nil, NoSite
	}
	p, cause := t.route(a, b, dst)
	if cause != Delivered {
		return nil, cause
	}
	hops := make([]Hop, 0, p.n)
	for _, h := range p.hops[:p.n] {
		hops = append(hops, Hop{t.regions[h.from], t.regions[h.to], t.links[h]})
	}
	return hops, Delivered
}

// addr returns the address that stands for a cluster: the first of its first site.
func (t *Table) addr(cluster string) (netip.Addr, bool) {
	c, ok := t.byName[cluster]
	if !ok {
		return netip.Addr{}, false
	}
	a := t.sites[t.gateway[c]].first
	return a, a.IsValid()
}

// Between is Path between two clusters (their first sites).
func (t *Table) Between(from, to string) ([]Hop, Cause) {
	a, aok := t.addr(from)
	b, bok := t.addr(to)
	if !aok || !bok {
		return nil, NoSite
	}
	return t.Path(a, b)
}

// OneWay returns the propagation delay from one address to another, jitter
// and serialisation left out; cause says why there is none.
func (t *Table) OneWay(src, dst netip.Addr) (delay time.Duration, cause Cause) {
	hops, cause := t.Path(src, dst)
	for _, h := range hops {
		if h.Link.Down {
			return 0, LinkDown
		}
		delay += h.Link.OneWay
	}
	return delay, cause
}

// RTT returns the round trip between two clusters (their first sites), from
// delays alone; cause says why there is none. Asymmetric links make it the
// sum of two different delays.
func (t *Table) RTT(from, to string) (time.Duration, Cause) {
	a, aok := t.addr(from)
	b, bok := t.addr(to)
	if !aok || !bok {
		return 0, NoSite
	}
	there, cause := t.OneWay(a, b)
	if cause != Delivered {
		return 0, cause
	}
	back, cause := t.OneWay(b, a)
	if cause != Delivered {
		return 0, cause
	}
	return there + back, Delivered
}

// Reachable tells whether a flow from one cluster to a port of another would
// be answered: there is a way there and back, and the rules admit it.
// Otherwise it says what is in the way.
func (t *Table) Reachable(from, to string, port Port) Cause {
	if _, cause := t.RTT(from, to); cause != Delivered {
		return cause
	}
	if !t.Admits(from, to, port) {
		return Denied
	}
	return Delivered
}

// Reachable answers as [Table.Reachable] does; for many questions, Compile once.
func (p *Policy) Reachable(from, to string, port Port) (Cause, error) {
	t, err := p.Compile()
	if err != nil {
		return 0, err
	}
	return t.Reachable(from, to, port), nil
}

// RTT answers as [Table.RTT] does; for many questions, Compile once.
func (p *Policy) RTT(from, to string) (time.Duration, error) {
	t, err := p.Compile()
	if err != nil {
		return 0, err
	}
	rtt, cause := t.RTT(from, to)
	if cause != Delivered {
		return 0, fmt.Errorf("wan: no round trip %s→%s: %v", from, to, cause)
	}
	return rtt, nil
}

// Admits tells whether the rules let a flow from one cluster to a port of
// another pass, between the first addresses of their first sites. Whether
// there is a way is another question.
func (t *Table) Admits(from, to string, port Port) bool {
	a, aok := t.addr(from)
	b, bok := t.addr(to)
	return aok && bok && t.AdmitsFlow(a, b, port)
}

// AdmitsFlow tells whether the rules let a flow from one address to a port of
// another pass; within a cluster they do. Whether there is a way is another
// question.
func (t *Table) AdmitsFlow(src, dst netip.Addr, port Port) bool {
	if !src.IsValid() || !dst.IsValid() {
		return false
	}
	src, dst = src.Unmap(), dst.Unmap()
	a, b := t.find(src), t.find(dst)
	if a < 0 || b < 0 {
		return false
	}
	key := t.clustersOf(a, b)
	return key.from == key.to || t.admits(key, src, dst, port)
}

// Range is a run of addresses that are in one site, no longer prefix being in
// another.
type Range struct {
	First, Last     netip.Addr
	Cluster, Region string
}

// Ranges returns where the sites' addresses are: disjoint, in ascending order,
// IPv4 first. Neighbours of one site are joined.
func (t *Table) Ranges() []Range {
	var out []Range
	for _, family := range []struct {
		spans spans
		addr  func(number) netip.Addr
		last  number
	}{
		{t.v4, number.addr4, number{lo: 1<<32 - 1}},
		{t.v6, number.addr6, number{1<<64 - 1, 1<<64 - 1}},
	} {
		for i, s := range family.spans {
			if s.site < 0 {
				continue
			}
			last := family.last
			if i+1 < len(family.spans) {
				last = family.spans[i+1].from.before()
			}
			site := t.sites[s.site]
			r := Range{family.addr(s.from), family.addr(last), t.clusters[site.cluster], t.regions[site.region]}
			if n := len(out); n > 0 && out[n-1].Last.Next() == r.First && out[n-1].Cluster == r.Cluster && out[n-1].Region == r.Region {
				out[n-1].Last = r.Last
				continue
			}
			out = append(out, r)
		}
	}
	return out
}
