package netstack

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// IP protocol numbers, as in wan.Port.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

const (
	ipv4Min  = header.IPv4MinimumSize
	icmpMin  = header.ICMPv4MinimumSize
	firstTTL = 64
)

// tuple is one direction of a flow.
type tuple struct {
	src, dst     uint32
	sport, dport uint16
	proto        uint8
}

func (t tuple) inverse() tuple {
	return tuple{src: t.dst, dst: t.src, sport: t.dport, dport: t.sport, proto: t.proto}
}

func (t tuple) source() netip.AddrPort      { return netip.AddrPortFrom(addr4(t.src), t.sport) }
func (t tuple) destination() netip.AddrPort { return netip.AddrPortFrom(addr4(t.dst), t.dport) }

func addr4(k uint32) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], k)
	return netip.AddrFrom4(a)
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func srcKey(b []byte) uint32 { return binary.BigEndian.Uint32(b[12:]) }
func dstKey(b []byte) uint32 { return binary.BigEndian.Uint32(b[16:]) }

// fragment tells what part of a datagram a packet is.
type fragment uint8

const (
	whole fragment = iota
	firstFragment
	laterFragment // carries no ports
)

// parse reads the tuple of a TCP or UDP packet; l4 is its transport header
// and payload. The ports of a later fragment are 0.
func parse(b []byte) (t tuple, l4 []byte, f fragment, ok bool) {
	if len(b) < ipv4Min || b[0]>>4 != 4 {
		return t, nil, 0, false
	}
	ihl := int(b[0]&0xf) * 4
	t = tuple{src: srcKey(b), dst: dstKey(b), proto: b[9]}
	if t.proto != protoTCP && t.proto != protoUDP || ihl < ipv4Min || len(b) < ihl {
		return t, nil, 0, false
	}
	l4 = b[ihl:]
	flags := binary.BigEndian.Uint16(b[6:])
	switch {
	case flags&0x1fff != 0:
		return t, l4, laterFragment, true
	case flags&0x2000 != 0:
		f = firstFragment
	}
	if t.proto == protoTCP && len(l4) < header.TCPMinimumSize || len(l4) < header.UDPMinimumSize {
		return t, nil, 0, false
	}
	t.sport, t.dport = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	return t, l4, f, true
}

// rewrite gives a packet another tuple. Transport checksums are not in use on
// this network; the IP header's is.
func rewrite(b []byte, t tuple, f fragment) {
	binary.BigEndian.PutUint32(b[12:], t.src)
	binary.BigEndian.PutUint32(b[16:], t.dst)
	ihl := int(b[0]&0xf) * 4
	if f != laterFragment {
		binary.BigEndian.PutUint16(b[ihl:], t.sport)
		binary.BigEndian.PutUint16(b[ihl+2:], t.dport)
	}
	sumIP(b[:ihl])
}

// sumIP fills in the checksum of an IP header.
func sumIP(h []byte) {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^checksum.Checksum(h, 0))
}

// newIPv4 makes a packet with room for payload bytes after the IP header.
func newIPv4(proto uint8, src, dst uint32, payload int) (v *buffer.View, l4 []byte) {
	v = buffer.NewViewSize(ipv4Min + payload)
	b := v.AsSlice()
	clear(b) // the view's memory is used again
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = firstTTL, proto
	binary.BigEndian.PutUint32(b[12:], src)
	binary.BigEndian.PutUint32(b[16:], dst)
	sumIP(b[:ipv4Min])
	return v, b[ipv4Min:]
}

// sumICMP fills in the checksum of an ICMP message.
func sumICMP(m []byte) {
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], ^checksum.Checksum(m, 0))
}

// refusal is the answer to a packet for a service without a backend: a reset
// for TCP, as if nobody listened; port unreachable for UDP. nil where none is
// due.
func refusal(b []byte) *buffer.View {
	t, l4, f, ok := parse(b)
	if !ok || f == laterFragment {
		return nil
	}
	if t.proto == protoUDP {
		quoted := b[:min(len(b), int(b[0]&0xf)*4+8)]
		v, m := newIPv4(protoICMP, t.dst, t.src, icmpMin+len(quoted))
		m[0], m[1] = byte(header.ICMPv4DstUnreachable), byte(header.ICMPv4PortUnreachable)
		copy(m[icmpMin:], quoted)
		sumICMP(m)
		return v
	}
	in := header.TCP(l4)
	if in.Flags()&header.TCPFlagRst != 0 {
		return nil
	}
	v, out := newIPv4(protoTCP, t.dst, t.src, header.TCPMinimumSize)
	fields := header.TCPFields{SrcPort: t.dport, DstPort: t.sport, DataOffset: header.TCPMinimumSize}
	if in.Flags()&header.TCPFlagAck != 0 {
		fields.Flags, fields.SeqNum = header.TCPFlagRst, in.AckNumber()
	} else {
		fields.Flags, fields.AckNum = header.TCPFlagRst|header.TCPFlagAck, in.SequenceNumber()+1
	}
	header.TCP(out).Encode(&fields)
	return v
}
