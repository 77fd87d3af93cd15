package wan

import (
	"encoding/binary"
	"net/netip"
)

// spec describes a packet of the tests; build makes it.
type spec struct {
	src, dst     string
	proto        uint8
	sport, dport uint16
	flags        uint8
	icmpType     uint8
	id           uint16
	payload      int
	quote        []byte // of an ICMP error
	fragOffset   uint16 // in units of 8 bytes
	more         bool
	ipID         uint16
}

func (s spec) build() []byte {
	src, dst := netip.MustParseAddr(s.src), netip.MustParseAddr(s.dst)
	var t []byte
	switch {
	case s.fragOffset > 0:
		t = make([]byte, 8)
	case s.proto == TCP:
		t = make([]byte, 20)
		t[12], t[13] = 5<<4, s.flags
		binary.BigEndian.PutUint16(t, s.sport)
		binary.BigEndian.PutUint16(t[2:], s.dport)
	case s.proto == ICMP || s.proto == ICMPv6:
		t = make([]byte, 8)
		t[0] = s.icmpType
		binary.BigEndian.PutUint16(t[4:], s.id)
		t = append(t, s.quote...)
	default:
		t = make([]byte, 8)
		binary.BigEndian.PutUint16(t, s.sport)
		binary.BigEndian.PutUint16(t[2:], s.dport)
	}
	t = append(t, make([]byte, s.payload)...)
	if src.Is4() {
		b := make([]byte, 20, 20+len(t))
		b[0], b[9], b[8] = 0x45, s.proto, 64
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(t)))
		binary.BigEndian.PutUint16(b[4:], s.ipID)
		frag := s.fragOffset
		if s.more {
			frag |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], frag)
		a, z := src.As4(), dst.As4()
		copy(b[12:], a[:])
		copy(b[16:], z[:])
		return append(b, t...)
	}
	next := s.proto
	if s.fragOffset > 0 || s.more {
		f := make([]byte, 8)
		f[0] = s.proto
		off := s.fragOffset << 3
		if s.more {
			off |= 1
		}
		binary.BigEndian.PutUint16(f[2:], off)
		binary.BigEndian.PutUint32(f[4:], uint32(s.ipID))
		t, next = append(f, t...), 44
	}
	b := make([]byte, 40, 40+len(t))
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(t)))
	a, z := src.As16(), dst.As16()
	copy(b[8:], a[:])
	copy(b[24:], z[:])
	return append(b, t...)
}
