package wan

import (
	"encoding/binary"
	"net/netip"
)

// How much of a packet an ICMP error quotes: as much as fits into a packet
// that every link carries (RFC 1812 4.3.2.3, RFC 4443 2.4 c).
const (
	quote4 = 576 - 20 - 8
	quote6 = 1280 - 40 - 8
)

// ICMP types and codes.
const (
	icmp4Unreachable = 3
	icmp4Prohibited  = 13 // communication administratively prohibited
	icmp6Unreachable = 1
	icmp6Prohibited  = 1
)

// Unreachable returns the ICMP or ICMPv6 packet that tells the sender of a
// packet that its way is administratively prohibited; TCP is told so as well,
// as Linux does. It comes from the given address of the packet's family or,
// where that is none, from the packet's destination. nil where no answer may be
// given (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4 e): to an ICMP error, to
// what might be one, to a fragment other than the first, to or from an address
// that is not one host's.
func Unreachable(packet []byte, from netip.Addr) []byte {
	h, ok := parse(packet)
	if !ok || !answerable(&h, packet) {
		return nil
	}
	if from = from.Unmap(); !from.IsValid() || from.Is4() != h.src.Is4() {
		from = h.dst
	}
	if h.src.Is4() {
		return unreachable4(packet[:min(len(packet), quote4)], from, h.src)
	}
	return unreachable6(packet[:min(len(packet), quote6)], from, h.src)
}

// answerable tells whether an ICMP error may be sent about a packet.
func answerable(h *header, packet []byte) bool {
	switch h.kind {
	case icmpError, fragment, unattributed:
		return false
	case icmpOther:
		// Of ICMPv6, messages from 128 on are informational, but a redirect
		// (137) must not be answered; of ICMP, those of RFC 792 to 950.
		if h.body >= len(packet) {
			return false
		}
		t := packet[h.body]
		if h.protocol == ICMPv6 && (t < 128 || t == 137) || h.protocol == ICMP && (t < 9 || t > 18) {
			return false
		}
	}
	return oneHost(h.src) && oneHost(h.dst)
}

// oneHost tells whether an address is a single host's.
func oneHost(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return false
	}
	return !a.Is4() || a.As4()[0] != 0 && a.As4()[0] < 240
}

func unreachable4(quoted []byte, from, to netip.Addr) []byte {
	b := make([]byte, 28+len(quoted))
	b[0] = 0x45
	b[1] = quoted[1]&0x1e | 0xc0 // the packet's service, at the precedence of network control
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[6] = 0x40 // not to be fragmented, so its identification means nothing
	b[8], b[9] = 64, ICMP
	put4(b[12:], from)
	put4(b[16:], to)
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:20]))
	m := b[20:]
	m[0], m[1] = icmp4Unreachable, icmp4Prohibited
	copy(m[8:], quoted)
	binary.BigEndian.PutUint16(m[2:], ^sum(0, m))
	return b
}

func unreachable6(quoted []byte, from, to netip.Addr) []byte {
	b := make([]byte, 48+len(quoted))
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	b[6], b[7] = ICMPv6, 64
	put6(b[8:], from)
	put6(b[24:], to)
	m := b[40:]
	m[0], m[1] = icmp6Unreachable, icmp6Prohibited
	copy(m[8:], quoted)
	// The pseudo header of RFC 8200 8.1: addresses, length, next header.
	pseudo := uint32(sum(0, b[8:40])) + uint32(len(m)) + uint32(ICMPv6)
	binary.BigEndian.PutUint16(m[2:], ^sum(pseudo, m))
	return b
}

func put4(b []byte, a netip.Addr) { v := a.As4(); copy(b, v[:]) }
func put6(b []byte, a netip.Addr) { v := a.As16(); copy(b, v[:]) }

// sum is the internet checksum (RFC 1071) of b, not yet inverted, from a start on.
func sum(start uint32, b []byte) uint16 {
	s := start
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// FlipBit flips a bit as a verdict names it; 0, or one beyond the packet,
// changes nothing.
func FlipBit(packet []byte, flip int) {
	if flip > 0 && flip/8 < len(packet) {
		packet[flip/8] ^= 0x80 >> (flip % 8)
	}
}
