package wan

import (
	"testing"
	"time"
)

// FuzzSend sends anything: no packet may panic, every one is accounted for.
func FuzzSend(f *testing.F) {
	for _, s := range []spec{
		{src: "10.1.0.1", dst: "10.2.0.1", proto: TCP, sport: 1, dport: 443, flags: tcpSYN},
		{src: "10.2.0.1", dst: "10.1.0.1", proto: ICMP, icmpType: 3, quote: make([]byte, 40)},
		{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, more: true},
		{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, fragOffset: 9},
		{src: "fd01::1", dst: "fd02::1", proto: ICMPv6, icmpType: 128},
		{src: "fd01::1", dst: "fd02::1", proto: UDP, more: true, fragOffset: 2},
	} {
		packet := s.build()
		f.Add(packet)
		f.Add(packet[:len(packet)-3])
	}
	f.Add([]byte{})
	f.Add([]byte{0x45})
	f.Add([]byte{0x60})
	p, err := parsePolicy(`
site a ra 10.1.0.0/16 fd01::/32
site b rb 10.2.0.0/16 fd02::/32
link ra rb 1ms jitter=1ms loss=0.1 rate=1e6 duplicate=0.5 corrupt=0.5
link rb ra 1ms
peer a b
rule a b tcp/443 icmp
rule b a`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		e := must(t, p, 1)
		before := string(packet)
		sent := uint64(0)
		for i := range 4 {
			v := e.Send(epoch.Add(time.Duration(i)), packet)
			if !v.Local {
				sent++
			}
			for _, flip := range []int{v.Flip, v.FlipAgain} {
				if flip != 0 && (flip < 8*20 || flip >= 8*len(packet)) {
					t.Fatalf("flips bit %d of %d bytes", flip, len(packet))
				}
			}
		}
		if string(packet) != before {
			t.Fatal("the packet was changed")
		}
		var counted uint64
		for _, c := range e.Pairs() {
			counted += c.Packets
			sent += c.Duplicated
			for _, n := range c.Dropped {
				counted += n
			}
		}
		if counted != sent {
			t.Fatalf("sent %d, counted %d", sent, counted)
		}
	})
}
