package tun

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// superSpec describes a super-packet of the tests.
type superSpec struct {
	six, udp bool
	flags    uint8
	seq      uint32
	ident    uint16
	options  int // bytes of TCP options, in fours
	payload  []byte
	segment  int
}

func genSuper(t *rapid.T) superSpec {
	s := superSpec{
		six: rapid.Bool().Draw(t, "six"), udp: rapid.Bool().Draw(t, "udp"),
		flags: rapid.Byte().Draw(t, "flags")&^(1<<2|1<<1) | 1<<4, // not RST and SYN, which are never segmented
		seq:   rapid.Uint32().Draw(t, "seq"), ident: rapid.Uint16().Draw(t, "ident"),
		options: 4 * rapid.IntRange(0, 10).Draw(t, "options"),
		segment: rapid.IntRange(500, 1400).Draw(t, "segment"),
	}
	n := rapid.IntRange(s.segment+1, 40*s.segment).Draw(t, "payload")
	s.payload = make([]byte, n)
	x := rapid.Uint32().Draw(t, "bytes")
	for i := range s.payload {
		x = x*1664525 + 1013904223
		s.payload[i] = byte(x >> 24)
	}
	return s
}

// build makes the packet as the kernel hands it over.
func (s superSpec) build() (vnetHeader, []byte) {
	h := vnetHeader{flags: needsChecksum, segment: uint16(s.segment)}
	var ip, l4 []byte
	protocol := uint8(protocolTCP)
	if s.udp {
		protocol, h.gso, h.checkField = protocolUDP, gsoUDP, 6
		l4 = make([]byte, 8)
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(s.payload)))
	} else {
		h.gso, h.checkField = gsoTCP4, 16
		if s.six {
			h.gso = gsoTCP6
		}
		if s.flags&tcpCWR != 0 {
			h.gso |= gsoECN
		}
		l4 = make([]byte, 20+s.options)
		binary.BigEndian.PutUint32(l4[4:], s.seq)
		binary.BigEndian.PutUint32(l4[8:], 0x01020304)
		l4[12], l4[13] = byte(5+s.options/4)<<4, s.flags
		binary.BigEndian.PutUint16(l4[14:], 512)
		for i := 20; i < len(l4); i++ {
			l4[i] = 1 // no operation
		}
	}
	binary.BigEndian.PutUint16(l4, 4000)
	binary.BigEndian.PutUint16(l4[2:], 5000)
	if s.six {
		ip = make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, protocol, 60
		binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)+len(s.payload)))
		copy(ip[8:], []byte{0: 0xfd, 3: 1, 15: 7})
		copy(ip[24:], []byte{0: 0xfd, 3: 2, 15: 9})
	} else {
		ip = make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 60, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)+len(s.payload)))
		binary.BigEndian.PutUint16(ip[4:], s.ident)
		ip[6] = 0x40
		copy(ip[12:], []byte{10, 1, 0, 7})
		copy(ip[16:], []byte{10, 2, 0, 9})
		binary.BigEndian.PutUint16(ip[10:], ^fold(add(0, ip)))
	}
	h.checkStart, h.headers = uint16(len(ip)), uint16(len(ip)+len(l4))
	pseudo := add(uint64(protocol)+uint64(len(l4)+len(s.payload)), ip[len(ip)-addresses(s.six):])
	binary.BigEndian.PutUint16(l4[h.checkField:], fold(pseudo))
	return h, bytes.Join([][]byte{ip, l4, s.payload}, nil)
}

func addresses(six bool) int {
	if six {
		return 32
	}
	return 8
}

// cutAll returns all packets, their checksums complete.
func cutAll(t interface{ Fatal(...any) }, h vnetHeader, packet []byte) [][]byte {
	s, err := parseSuper(h, packet)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for i := range s.count {
		b := make([]byte, s.longest())
		b = b[:s.cut(i, b)]
		if _, err := s.header().complete(b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestCutIsWhatWasWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genSuper(t)
		h, packet := spec.build()
		s, err := parseSuper(h, packet)
		if err != nil {
			t.Fatal(err)
		}
		var payload []byte
		wire := 0
		for i, b := range cutAll(t, h, packet) {
			wire += len(b)
			l4 := b[s.transport:]
			addr := b[8:40]
			if !spec.six {
				addr = b[12:20]
				if got := fold(add(0, b[:20])); got != 0xffff {
					t.Fatalf("packet %d: IPv4 checksum sums to %#x", i, got)
				}
				if got := binary.BigEndian.Uint16(b[4:]); got != spec.ident+uint16(i) {
					t.Fatalf("packet %d has identification %d, the first %d", i, got, spec.ident)
				}
			}
			protocol := uint64(protocolTCP)
			if spec.udp {
				protocol = protocolUDP
			}
			if got := fold(add(protocol+uint64(len(l4))+add(0, addr), l4)); got != 0xffff {
				t.Fatalf("packet %d: transport checksum sums to %#x", i, got)
			}
			if !spec.udp {
				if got, want := binary.BigEndian.Uint32(l4[4:]), spec.seq+uint32(len(payload)); got != want {
					t.Fatalf("packet %d has sequence number %d, want %d", i, got, want)
				}
				want := spec.flags
				if i < s.count-1 {
					want &^= tcpFIN | tcpPSH
				}
				if i > 0 {
					want &^= tcpCWR
				}
				if l4[13] != want {
					t.Fatalf("packet %d of %d has flags %08b, want %08b", i, s.count, l4[13], want)
				}
			}
			payload = append(payload, b[s.headers:]...)
		}
		if !bytes.Equal(payload, spec.payload) {
			t.Fatal("the packets' payload is not the super-packet's")
		}
		if wire != s.wire() {
			t.Fatalf("the packets have %d bytes, wire says %d", wire, s.wire())
		}
	})
}

func TestParseSuperRefuses(t *testing.T) {
	h, packet := superSpec{payload: make([]byte, 3000), segment: 1000, flags: 16}.build()
	for _, c := range []struct {
		name  string
		spoil func(h *vnetHeader, b []byte) []byte
	}{
		{"a type that is not asked for", func(h *vnetHeader, b []byte) []byte { h.gso = 3; return b }},
		{"no checksum", func(h *vnetHeader, b []byte) []byte { h.flags = 0; return b }},
		{"segments of nothing", func(h *vnetHeader, b []byte) []byte { h.segment = 0; return b }},
		{"the other family", func(h *vnetHeader, b []byte) []byte { h.gso = gsoTCP6; return b }},
		{"the other protocol", func(h *vnetHeader, b []byte) []byte { h.gso = gsoUDP; return b }},
		{"a checksum elsewhere", func(h *vnetHeader, b []byte) []byte { h.checkField = 6; return b }},
		{"a transport header elsewhere", func(h *vnetHeader, b []byte) []byte { h.checkStart = 24; return b }},
		{"a transport header behind the end", func(h *vnetHeader, b []byte) []byte { h.checkStart = 65535; return b }},
		{"a fragment", func(_ *vnetHeader, b []byte) []byte { b[6] = 0x20; return b }},
		{"a TCP header that is too short", func(_ *vnetHeader, b []byte) []byte { b[32] = 4 << 4; return b }},
		{"a TCP header that is too long", func(_ *vnetHeader, b []byte) []byte { b[32] = 15 << 4; return b[:60] }},
		{"headers alone", func(_ *vnetHeader, b []byte) []byte { return b[:40] }},
		{"nothing", func(*vnetHeader, []byte) []byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := h
			b := c.spoil(&h, bytes.Clone(packet))
			if _, err := parseSuper(h, b); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// FuzzCut gives the code that reads what a device hands over anything at all.
func FuzzCut(f *testing.F) {
	for _, s := range []superSpec{
		{payload: make([]byte, 3000), segment: 1000, flags: 0x99},
		{six: true, payload: make([]byte, 3001), segment: 1400, flags: 16, options: 12},
		{udp: true, payload: make([]byte, 3001), segment: 1400},
		{udp: true, six: true, payload: make([]byte, 600), segment: 500},
	} {
		h, packet := s.build()
		var b [vnetSize]byte
		h.write(b[:])
		f.Add(append(b[:], packet...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < vnetSize || len(in) > 65535+vnetSize {
			return
		}
		h := readVnet(in)
		var again [vnetSize]byte
		if h.write(again[:]); !bytes.Equal(again[:], in[:vnetSize]) {
			t.Fatalf("read as %+v, written as %x", h, again)
		}
		packet := in[vnetSize:]
		if !h.super() {
			_, _ = h.complete(bytes.Clone(packet))
			return
		}
		s, err := parseSuper(h, packet)
		if err != nil {
			return
		}
		total := 0
		b := make([]byte, s.longest())
		for i := range s.count {
			n := s.cut(i, b)
			if n > s.longest() || n <= s.headers {
				t.Fatalf("packet %d of %d has %d bytes, %d of them headers, at most %d", i, s.count, n, s.headers, s.longest())
			}
			if _, err := s.header().complete(b[:n]); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			total += n
		}
		if total != s.wire() {
			t.Fatalf("%d bytes in all, wire says %d", total, s.wire())
		}
	})
}
