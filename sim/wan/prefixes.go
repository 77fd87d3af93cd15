package wan

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// number is an address as a number: an IPv4 address in lo, an IPv6 address in both.
type number struct{ hi, lo uint64 }

func numberOf(a netip.Addr) number {
	if a.Is4() {
		b := a.As4()
		return number{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n number) compare(m number) int {
	if c := cmp.Compare(n.hi, m.hi); c != 0 {
		return c
	}
	return cmp.Compare(n.lo, m.lo)
}

// after returns the number behind the last one of a prefix; ok is false where
// the prefix reaches the end of its family.
func after(p netip.Prefix) (n number, ok bool) {
	n = numberOf(p.Addr())
	if p.Addr().Is4() {
		n.lo += 1 << (32 - p.Bits())
		return n, n.lo < 1<<32
	}
	switch size := 128 - p.Bits(); {
	case size == 128:
		return number{}, false
	case size >= 64:
		hi := n.hi + 1<<(size-64)
		return number{hi: hi}, hi > n.hi
	default:
		lo := n.lo + 1<<size
		if lo > n.lo {
			return number{n.hi, lo}, true
		}
		return number{hi: n.hi + 1}, n.hi+1 > n.hi
	}
}

// span starts at from and lasts until the next one; site is -1 in the gaps.
type span struct {
	from number
	site int32
}

// spans answers the longest-prefix match of one family by binary search:
// prefixes nest or are disjoint, so they flatten into a sorted list.
type spans []span

type sitePrefix struct {
	prefix netip.Prefix // masked
	site   int32
}

func flatten(prefixes []sitePrefix) spans {
	slices.SortFunc(prefixes, func(a, b sitePrefix) int {
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return cmp.Compare(a.prefix.Bits(), b.prefix.Bits()) // the enclosing one first
	})
	var (
		out   spans
		stack []sitePrefix
	)
	begin := func(at number, site int32) {
		if n := len(out); n > 0 && out[n-1].from == at {
			out[n-1].site = site // the enclosed one begins where the enclosing does
			return
		}
		out = append(out, span{at, site})
	}
	pop := func() {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		at, ok := after(top.prefix)
		if !ok {
			return
		}
		below := int32(-1)
		if len(stack) > 0 {
			below = stack[len(stack)-1].site
		}
		begin(at, below)
	}
	for _, p := range prefixes {
		for len(stack) > 0 && !stack[len(stack)-1].prefix.Contains(p.prefix.Addr()) {
			pop()
		}
		begin(numberOf(p.prefix.Addr()), p.site)
		stack = append(stack, p)
	}
	for len(stack) > 0 {
		pop()
	}
	return out
}

// find returns the site of an address, -1 if it has none.
func (s spans) find(n number) int32 {
	low, high := 0, len(s) // the answer is the span before the first that starts behind n
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s[mid].from.compare(n) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return -1
	}
	return s[low-1].site
}

// before returns the number before n, which is not 0.
func (n number) before() number {
	if n.lo == 0 {
		n.hi--
	}
	n.lo--
	return n
}

func (n number) addr4() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n.lo))
	return netip.AddrFrom4(b)
}

func (n number) addr6() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b)
}
