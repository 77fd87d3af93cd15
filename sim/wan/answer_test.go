package wan

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	ip "gvisor.dev/gvisor/pkg/tcpip/header"
)

// What Unreachable makes is read back with another's code (gVisor's): the
// lengths, the checksums, the addresses, and the packet that is quoted.
func TestUnreachableIsWellFormed(t *testing.T) {
	router4, router6 := netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("fd09::9")
	for _, c := range []struct {
		name   string
		packet spec
		from   netip.Addr
		source string // of the answer
		quote  int
	}{
		{"TCP", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: TCP, sport: 1, dport: 443, flags: tcpSYN}, router4, "10.9.9.9", 40},
		{"no router", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, payload: 100}, netip.Addr{}, "10.2.0.1", 128},
		{"router of the other family", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP}, router6, "10.2.0.1", 28},
		{"long", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, payload: 1400}, router4, "10.9.9.9", 548},
		{"first fragment", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, more: true}, router4, "10.9.9.9", 28},
		{"echo", spec{src: "10.1.0.1", dst: "10.2.0.1", proto: ICMP, icmpType: 8}, router4, "10.9.9.9", 28},
		{"TCP", spec{src: "fd01::1", dst: "fd02::1", proto: TCP, sport: 1, dport: 443}, router6, "fd09::9", 60},
		{"long, odd", spec{src: "fd01::1", dst: "fd02::1", proto: UDP, payload: 1401}, netip.Addr{}, "fd02::1", 1232},
		{"first fragment", spec{src: "fd01::1", dst: "fd02::1", proto: UDP, more: true, payload: 7}, router6, "fd09::9", 63},
		{"echo", spec{src: "fd01::1", dst: "fd02::1", proto: ICMPv6, icmpType: 128}, router6, "fd09::9", 48},
	} {
		t.Run(c.name+" from "+c.packet.src, func(t *testing.T) {
			packet := c.packet.build()
			answer := Unreachable(packet, c.from)
			if answer == nil {
				t.Fatal("no answer")
			}
			var source, destination tcpip.Address
			var quoted []byte
			if netip.MustParseAddr(c.packet.src).Is4() {
				pkt := ip.IPv4(answer)
				if !pkt.IsValid(len(answer)) || !pkt.IsChecksumValid() || pkt.TransportProtocol() != ip.ICMPv4ProtocolNumber {
					t.Fatalf("not a valid IPv4 packet: %x", answer)
				}
				m := ip.ICMPv4(pkt.Payload())
				if checksum.Checksum(m, 0) != 0xffff || m.Type() != ip.ICMPv4DstUnreachable || m.Code() != ip.ICMPv4AdminProhibited {
					t.Fatalf("not a valid message: %x", m)
				}
				source, destination, quoted = pkt.SourceAddress(), pkt.DestinationAddress(), m.Payload()
			} else {
				pkt := ip.IPv6(answer)
				if !pkt.IsValid(len(answer)) || pkt.NextHeader() != uint8(ip.ICMPv6ProtocolNumber) {
					t.Fatalf("not a valid IPv6 packet: %x", answer)
				}
				m := ip.ICMPv6(pkt.Payload())
				sum := ip.ICMPv6Checksum(ip.ICMPv6ChecksumParams{Header: m, Src: pkt.SourceAddress(), Dst: pkt.DestinationAddress()})
				if sum != m.Checksum() || m.Type() != ip.ICMPv6DstUnreachable || m.Code() != ip.ICMPv6Prohibited {
					t.Fatalf("not a valid message: %x", m)
				}
				source, destination, quoted = pkt.SourceAddress(), pkt.DestinationAddress(), m.Payload()
			}
			if source.String() != c.source || destination.String() != c.packet.src {
				t.Errorf("from %v to %v; want from %s to %s", source, destination, c.source, c.packet.src)
			}
			if len(quoted) != c.quote || !bytes.HasPrefix(packet, quoted) {
				t.Errorf("quotes %d bytes %x, want the first %d of the packet", len(quoted), quoted, c.quote)
			}
			// The sender's rules and translators know what it speaks of.
			h, ok := parse(answer)
			if inner, whole := h.quoted(answer); !ok || !whole || inner.src.String() != c.packet.src {
				t.Errorf("the engine does not read it: %+v, %+v", h, inner)
			}
			if Unreachable(answer, c.from) != nil {
				t.Error("an error is answered")
			}
		})
	}
}

func TestUnreachableIsNotForEveryPacket(t *testing.T) {
	ok4, ok6 := "10.1.0.1", "fd01::1"
	for name, packet := range map[string][]byte{
		"nothing":               {},
		"garbage":               {0x99, 1, 2, 3},
		"truncated":             spec{src: ok4, dst: "10.2.0.1", proto: UDP}.build()[:24],
		"a later fragment":      spec{src: ok4, dst: "10.2.0.1", proto: UDP, fragOffset: 3}.build(),
		"a later fragment, v6":  spec{src: ok6, dst: "fd02::1", proto: UDP, fragOffset: 3}.build(),
		"unreachable":           spec{src: ok4, dst: "10.2.0.1", proto: ICMP, icmpType: 3}.build(),
		"redirect":              spec{src: ok4, dst: "10.2.0.1", proto: ICMP, icmpType: 5}.build(),
		"an unknown message":    spec{src: ok4, dst: "10.2.0.1", proto: ICMP, icmpType: 99}.build(),
		"too big, v6":           spec{src: ok6, dst: "fd02::1", proto: ICMPv6, icmpType: 2}.build(),
		"an unknown error, v6":  spec{src: ok6, dst: "fd02::1", proto: ICMPv6, icmpType: 99}.build(),
		"redirect, v6":          spec{src: ok6, dst: "fd02::1", proto: ICMPv6, icmpType: 137}.build(),
		"to multicast":          spec{src: ok4, dst: "224.0.0.5", proto: UDP}.build(),
		"to broadcast":          spec{src: ok4, dst: "255.255.255.255", proto: UDP}.build(),
		"to multicast, v6":      spec{src: ok6, dst: "ff02::1", proto: UDP}.build(),
		"from nowhere":          spec{src: "0.0.0.0", dst: ok4, proto: UDP}.build(),
		"from nowhere, v6":      spec{src: "::", dst: ok6, proto: UDP}.build(),
		"from loopback":         spec{src: "127.0.0.1", dst: ok4, proto: UDP}.build(),
		"from a network":        spec{src: "0.1.2.3", dst: ok4, proto: UDP}.build(),
		"from class E":          spec{src: "240.1.2.3", dst: ok4, proto: UDP}.build(),
		"cut off before it can": cut(spec{src: ok4, dst: "10.2.0.1", proto: ICMP, icmpType: 8}.build(), 22),
	} {
		if answer := Unreachable(packet, netip.Addr{}); answer != nil {
			t.Errorf("%s: answered with %x", name, answer)
		}
	}
}

// cut makes a packet end after n bytes, and say so.
func cut(packet []byte, n int) []byte {
	packet = packet[:n]
	packet[2], packet[3] = byte(n>>8), byte(n)
	return packet
}

// A link that rejects answers as often as Linux would: 50 at once, 1000 a
// second; and what may not be answered takes nothing of it.
func TestRejectIsLimited(t *testing.T) {
	p := twoSites(LinkModel{OneWay: 50 * time.Millisecond, Down: true, Reject: true})
	e := must(t, p, 1)
	count := func(at time.Time, n int, packet []byte) (answers int) {
		for range n {
			v := e.Send(at, packet)
			if v.Cause != LinkDown {
				t.Fatalf("got %v", v.Cause)
			}
			if v.Reject {
				answers++
				if !v.At.Equal(at) {
					t.Fatalf("the answer comes after %v; the link is where the packet enters", v.At.Sub(at))
				}
			}
		}
		return answers
	}
	if got := count(epoch, 100, spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, fragOffset: 1}.build()); got != 0 {
		t.Errorf("%d fragments were answered", got)
	}
	if got := count(epoch, 100, udp(0)); got != 50 {
		t.Errorf("%d answers at once, want 50", got)
	}
	if got := count(epoch.Add(20*time.Millisecond), 100, udp(0)); got != 20 {
		t.Errorf("%d answers after 20 ms, want 20", got)
	}
	if got := e.Counters()[0].Dropped[LinkDown]; got != 300 {
		t.Errorf("counted %d drops, want 300", got)
	}
}
