package wan

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers that the engine looks into.
const (
	ICMP   uint8 = 1
	TCP    uint8 = 6
	UDP    uint8 = 17
	ICMPv6 uint8 = 58
)

// kind is what a packet means to the connection tracking.
type kind uint8

const (
	ordinary     kind = iota // ports are what they are
	echoRequest              // srcPort is the identifier
	echoReply                // dstPort is the identifier
	icmpError                // inner is the packet it speaks of
	icmpOther                // no flow
	fragment                 // a later fragment: ident stands for the ports
	unattributed             // the transport header is cut off: no flow
)

// TCP flags.
const (
	tcpFIN = 1 << 0
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)

// header is what the engine reads of a packet.
type header struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	protocol         uint8
	kind             kind
	flags            uint8 // TCP
	more             bool  // the first of several fragments
	ident            uint32
	// inner is the offset of the packet that an ICMP error quotes.
	inner int
	// body is what follows the IP headers: its offset, and where it ends.
	body, end int
}

// parse reads a packet's headers. ok is false if it is not a whole IP packet:
// too short for its header, or shorter than its header says.
func parse(b []byte) (h header, ok bool) {
	if len(b) == 0 {
		return h, false
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b, false)
	case 6:
		return parse6(b, false)
	}
	return h, false
}

// parse4 reads an IPv4 packet; a quoted one may be cut short.
func parse4(b []byte, quoted bool) (h header, ok bool) {
	if len(b) < 20 {
		return h, false
	}
	size, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if size < 20 || total < size || len(b) < size || (total > len(b) && !quoted) {
		return h, false
	}
	h.src = netip.AddrFrom4([4]byte(b[12:16]))
	h.dst = netip.AddrFrom4([4]byte(b[16:20]))
	h.protocol = b[9]
	h.ident = uint32(binary.BigEndian.Uint16(b[4:]))
	h.body, h.end = size, min(total, len(b))
	frag := binary.BigEndian.Uint16(b[6:])
	if frag&0x1fff != 0 {
		h.kind = fragment
		return h, true
	}
	h.more = frag&0x2000 != 0
	h.transport(b[:h.end], size)
	return h, true
}

// parse6 reads an IPv6 packet and its extension headers.
func parse6(b []byte, quoted bool) (h header, ok bool) {
	if len(b) < 40 {
		return h, false
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) && !quoted {
		return h, false
	}
	b = b[:min(total, len(b))]
	h.src = netip.AddrFrom16([16]byte(b[8:24]))
	h.dst = netip.AddrFrom16([16]byte(b[24:40]))
	next, at := b[6], 40
	h.end = len(b)
	for {
		h.protocol, h.body = next, min(at, h.end)
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < at+8 {
				h.kind = unattributed
				return h, true
			}
			next, at = b[at], at+8+int(b[at+1])*8
		case 44: // fragment
			if len(b) < at+8 {
				h.kind = unattributed
				return h, true
			}
			frag := binary.BigEndian.Uint16(b[at+2:])
			h.ident = binary.BigEndian.Uint32(b[at+4:])
			h.more = frag&1 != 0
			next, at = b[at], at+8
			if frag&0xfff8 != 0 {
				h.body = at
				h.protocol, h.kind, h.more = next, fragment, false
				return h, true
			}
		default:
			h.transport(b, at)
			return h, true
		}
	}
}

// transport reads the ports, or what stands for them, at an offset.
func (h *header) transport(b []byte, at int) {
	if len(b) < at+4 {
		if h.protocol == TCP || h.protocol == UDP || h.protocol == ICMP || h.protocol == ICMPv6 {
			h.kind = unattributed
		}
		return
	}
	t := b[at:]
	switch h.protocol {
	case TCP, UDP, 132, 136: // SCTP and UDP-Lite have the same ports
		h.srcPort, h.dstPort = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
		if h.protocol == TCP && len(t) >= 14 {
			h.flags = t[13]
		}
	case ICMP, ICMPv6:
		h.icmp(t, at)
	}
}

func (h *header) icmp(t []byte, at int) {
	h.kind = icmpOther
	if len(t) < 8 {
		return
	}
	id := binary.BigEndian.Uint16(t[4:])
	six := h.protocol == ICMPv6
	switch t[0] {
	case 8, 128:
		if (t[0] == 128) == six {
			h.kind, h.srcPort = echoRequest, id
		}
	case 0, 129:
		if (t[0] == 129) == six {
			h.kind, h.dstPort = echoReply, id
		}
	case 1, 2, 3, 4, 5, 11, 12:
		// Of ICMPv6 1 to 4 are errors, of ICMP 3, 4, 5, 11 and 12.
		if six == (t[0] <= 2) || t[0] == 3 || t[0] == 4 {
			h.kind, h.inner = icmpError, at+8
		}
	}
}

// quoted returns the headers of the packet that an ICMP error speaks of.
func (h *header) quoted(b []byte) (inner header, ok bool) {
	if h.kind != icmpError || h.inner >= len(b) {
		return inner, false
	}
	b = b[h.inner:]
	switch {
	case b[0]>>4 == 4 && h.protocol == ICMP:
		return parse4(b, true)
	case b[0]>>4 == 6 && h.protocol == ICMPv6:
		return parse6(b, true)
	}
	return inner, false
}
