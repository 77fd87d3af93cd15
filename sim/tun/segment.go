package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// super is a super-packet: a TCP or UDP packet that is larger than any network
// takes, and that stands for count packets which differ in little.
type super struct {
	packet    []byte
	transport int // offset of the TCP or UDP header
	headers   int // length of all headers
	segment   int // payload of each packet but the last
	count     int
	six, udp  bool
	pseudo    uint64 // sum of the pseudo header, without the length
}

const (
	tcpFIN = 1 << 0
	tcpPSH = 1 << 3
	tcpCWR = 1 << 7

	protocolTCP = 6
	protocolUDP = 17
)

var errSuper = errors.New("tun: not a super-packet that can be cut")

// parseSuper reads a super-packet and the header that came with it. It accepts
// what the offloads allow that Open asks for, and nothing else.
func parseSuper(h vnetHeader, packet []byte) (s super, err error) {
	s = super{packet: packet, transport: int(h.checkStart), segment: int(h.segment)}
	var protocol uint8
	switch h.gso &^ gsoECN {
	case gsoTCP4:
		protocol = protocolTCP
	case gsoTCP6:
		protocol, s.six = protocolTCP, true
	case gsoUDP:
		protocol, s.udp = protocolUDP, true
		s.six = len(packet) > 0 && packet[0]>>4 == 6
	default:
		return s, fmt.Errorf("%w: of type %d", errSuper, h.gso)
	}
	if h.flags&needsChecksum == 0 || s.segment == 0 {
		return s, fmt.Errorf("%w: without the place of its checksum or the size of its segments", errSuper)
	}
	if err := s.network(protocol); err != nil {
		return s, err
	}
	place, length := 6, 8
	if !s.udp {
		place, length = 16, 20
	}
	if len(packet) < s.transport+length || int(h.checkField) != place {
		return s, fmt.Errorf("%w: its transport header is cut off", errSuper)
	}
	if !s.udp {
		if length = int(packet[s.transport+12]>>4) * 4; length < 20 {
			return s, fmt.Errorf("%w: a TCP header of %d bytes", errSuper, length)
		}
	}
	s.headers = s.transport + length
	payload := len(packet) - s.headers
	if payload <= 0 {
		return s, fmt.Errorf("%w: no payload", errSuper)
	}
	s.count = (payload + s.segment - 1) / s.segment
	return s, nil
}

// network checks the IP header, and that the transport header is where the
// checksum begins.
func (s *super) network(protocol uint8) error {
	p := s.packet
	if s.six {
		if len(p) < 40 || p[0]>>4 != 6 {
			return fmt.Errorf("%w: its IPv6 header is cut off", errSuper)
		}
		next, at := p[6], 40
		for next == 0 || next == 43 || next == 60 { // hop-by-hop, routing, destination options
			if len(p) < at+8 {
				return fmt.Errorf("%w: an extension header is cut off", errSuper)
			}
			next, at = p[at], at+8+int(p[at+1])*8
		}
		if next != protocol || at != s.transport {
			return fmt.Errorf("%w: protocol %d at %d, expected %d at %d", errSuper, next, at, protocol, s.transport)
		}
		s.pseudo = add(uint64(protocol), p[8:40])
		return nil
	}
	if len(p) < 20 || p[0]>>4 != 4 || int(p[0]&15)*4 != s.transport || s.transport < 20 {
		return fmt.Errorf("%w: its IPv4 header is cut off", errSuper)
	}
	if p[9] != protocol || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		return fmt.Errorf("%w: protocol %d, expected %d, or a fragment", errSuper, p[9], protocol)
	}
	s.pseudo = add(uint64(protocol), p[12:20])
	return nil
}

// longest is the length of the longest packet that cut writes, which is the first.
func (s *super) longest() int { return min(len(s.packet), s.headers+s.segment) }

// wire is how many bytes the packets have together.
func (s *super) wire() int { return len(s.packet) + (s.count-1)*s.headers }

// header is what the kernel is told of every packet that cut writes: it has
// the checksum to do.
func (s *super) header() vnetHeader {
	h := vnetHeader{flags: needsChecksum, headers: uint16(s.headers), checkStart: uint16(s.transport), checkField: 16}
	if s.udp {
		h.checkField = 6
	}
	return h
}

// cut writes the i-th packet, counted from 0, and returns its length. It is
// what the kernel's own segmentation makes of it (tcp_gso_segment,
// __udp_gso_segment, inet_gso_segment), the transport checksum left to do.
func (s *super) cut(i int, out []byte) int {
	begin := s.headers + i*s.segment
	end := min(begin+s.segment, len(s.packet))
	n := copy(out, s.packet[:s.headers])
	n += copy(out[n:], s.packet[begin:end])
	out = out[:n]

	if s.six {
		binary.BigEndian.PutUint16(out[4:], uint16(n-40))
	} else {
		binary.BigEndian.PutUint16(out[2:], uint16(n))
		binary.BigEndian.PutUint16(out[4:], binary.BigEndian.Uint16(out[4:])+uint16(i))
		out[10], out[11] = 0, 0
		binary.BigEndian.PutUint16(out[10:], ^fold(add(0, out[:s.transport])))
	}
	t := out[s.transport:]
	partial := fold(s.pseudo + uint64(len(t)))
	if s.udp {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
		binary.BigEndian.PutUint16(t[6:], partial)
		return n
	}
	binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(i*s.segment))
	if i < s.count-1 {
		t[13] &^= tcpFIN | tcpPSH
	}
	if i > 0 {
		t[13] &^= tcpCWR // said once is enough (RFC 3168 6.1.2)
	}
	binary.BigEndian.PutUint16(t[16:], partial)
	return n
}
