package capture

import (
	"testing"

	"github.com/gopacket/gopacket/layers"
)

func TestSummaries(t *testing.T) {
	syn := tcp(t, eu, us, 40000, 80, func(l *layers.TCP) { l.SYN = true })
	udp := append([]byte(nil), syn...)
	udp[9] = 17
	sctp := append([]byte(nil), syn...)
	sctp[9] = 200
	for name, c := range map[string]struct {
		packet []byte
		want   Summary
	}{
		"tcp":          {syn, Summary{Src: "10.1.0.7:40000", Dst: "10.2.0.9:80", What: "TCP SYN"}},
		"udp":          {udp, Summary{Src: "10.1.0.7:40000", Dst: "10.2.0.9:80", What: "UDP"}},
		"ports cut":    {syn[:20], Summary{Src: "10.1.0.7", Dst: "10.2.0.9", What: "TCP"}},
		"unknown":      {sctp, Summary{Src: "10.1.0.7", Dst: "10.2.0.9", What: "UnknownIPProtocol"}},
		"header cut":   {syn[:12], Summary{What: "malformed"}},
		"nothing":      {nil, Summary{What: "malformed"}},
		"another kind": {[]byte{0xff, 1, 2}, Summary{What: "malformed"}},
	} {
		if got := Summarize(c.packet); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// Summarize reads what a captured host sends: anything.
func FuzzSummarize(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20})
	f.Add([]byte{0x60, 0, 0, 0, 0, 0, 44, 64})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := Summarize(b); s.What == "" {
			t.Errorf("%x is nothing", b)
		}
	})
}
