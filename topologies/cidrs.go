package topologies

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Bounds of the three ranges.
const (
	minNodesBits    = 28 // room for a few nodes, and a quarter for load balancers
	minServicesBits = 28 // cluster DNS has the tenth address
	maxServicesBits = 12 // kube-apiserver refuses larger ones
	nodePodsBits    = 24 // a node's part of the pods range, as kube-controller-manager has it by default
	minNodePodsBits = 28 // and the smallest part that is of use
)

// private is where ranges that are left out are taken from.
var private = netip.MustParsePrefix("10.0.0.0/8")

// assignCIDRs gives each cluster the ranges that its file leaves out, without
// overlap. Cluster i (from 1) gets 10.(10i).0.0/16 for its nodes and the two
// after it for pods and Services where they are free, so that adding a
// cluster at the end moves nothing; else the first free range that is large
// enough. It returns the indices of the clusters for which there is no room.
func assignCIDRs(clusters []Cluster) (full []int) {
	var taken spans
	for _, c := range clusters {
		for _, p := range []Prefix{c.CIDRs.Nodes, c.CIDRs.Pods, c.CIDRs.Services} {
			if p.IsValid() {
				taken.add(spanOf(p.Prefix))
			}
		}
	}
	size := 16
	for n := 64; n < len(clusters) && size < 24; n *= 2 {
		size++
	}
	for i := range clusters {
		c := &clusters[i]
		n := nodeCount(*c)
		ok := true
		for j, want := range []struct {
			p    *Prefix
			bits int
		}{
			{&c.CIDRs.Nodes, min(size, 32-bits.Len(uint(nodesRoom(n))))},
			{&c.CIDRs.Pods, min(size, nodePodsBits-bits.Len(uint(max(n-1, 0))))},
			{&c.CIDRs.Services, size},
		} {
			if want.p.IsValid() {
				continue
			}
			p, found := netip.Prefix{}, false
			if octet := 10*(i+1) + j; octet < 256 {
				p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(octet)}), max(want.bits, 16))
				_, hit := taken.hit(spanOf(p))
				found = want.bits >= 16 && size == 16 && !hit
			}
			if !found {
				p, found = taken.firstFree(max(want.bits, private.Bits()))
			}
			if !found {
				ok = false
				continue
			}
			want.p.Prefix = p
			taken.add(spanOf(p))
		}
		if !ok {
			full = append(full, i)
		}
	}
	return full
}

// nodesRoom is how many addresses a nodes range must have for n nodes: the
// first two and the last quarter are not for nodes.
func nodesRoom(n int) int { return (n+2)*4/3 + 1 }

func nodeCount(c Cluster) int {
	n := 0
	for _, g := range c.Nodes {
		n += max(g.Count, 0)
	}
	return n
}

// span is a range of IPv4 addresses, from lo up to but not including hi.
type span struct{ lo, hi uint64 }

func spanOf(p netip.Prefix) span {
	lo := uint64(as32(p.Masked().Addr()))
	return span{lo, lo + 1<<(32-p.Bits())}
}

// spans are sorted and apart: neighbours that touch are one.
type spans []span

// add puts s among the spans.
func (t *spans) add(s span) {
	i, _ := slices.BinarySearchFunc(*t, s, func(a, b span) int { return cmp.Compare(a.hi, b.lo) })
	j := i
	for ; j < len(*t) && (*t)[j].lo <= s.hi; j++ {
		s.lo, s.hi = min(s.lo, (*t)[j].lo), max(s.hi, (*t)[j].hi)
	}
	*t = slices.Replace(*t, i, j, s)
}

// hit returns the first span that overlaps s.
func (t spans) hit(s span) (span, bool) {
	i, _ := slices.BinarySearchFunc(t, s, func(a, b span) int { return cmp.Compare(a.hi, b.lo+1) })
	if i < len(t) && t[i].lo < s.hi {
		return t[i], true
	}
	return span{}, false
}

// firstFree returns the lowest prefix of that many bits in 10.0.0.0/8 that
// overlaps none of the spans.
func (t spans) firstFree(ones int) (netip.Prefix, bool) {
	step := uint64(1) << (32 - ones)
	all := spanOf(private)
	for at := all.lo; at+step <= all.hi; {
		s, hit := t.hit(span{at, at + step})
		if !hit {
			return netip.PrefixFrom(from32(uint32(at)), ones), true
		}
		at = (s.hi + step - 1) / step * step
	}
	return netip.Prefix{}, false
}

func as32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func from32(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

// NodePodsBits returns the length of each node's part of a pods range: a /24,
// or a smaller part where the range has no room for a /24 each.
func NodePodsBits(pods netip.Prefix, nodes int) int {
	return max(nodePodsBits, pods.Bits()+bits.Len(uint(max(nodes-1, 0))))
}
