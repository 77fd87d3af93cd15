package capture

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Summary is one packet in short.
type Summary struct {
	At      time.Time `json:"at"`
	Link    string    `json:"link"` // the interface's name
	Src     string    `json:"src,omitempty"`
	Dst     string    `json:"dst,omitempty"` // with the port, where there is one
	What    string    `json:"what"`          // the protocol, and what it does
	Length  int       `json:"length"`        // of the whole packet
	Dropped string    `json:"dropped,omitempty"`
}

// Summarize reads an IP packet, which may be cut short; what it cannot read it
// leaves out.
func Summarize(data []byte) Summary {
	p := gopacket.NewPacket(data, layers.LinkTypeRaw, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	n := p.NetworkLayer()
	if n == nil {
		return Summary{What: "malformed"}
	}
	src, dst := n.NetworkFlow().Endpoints()
	if len(src.Raw()) == 0 || len(dst.Raw()) == 0 {
		return Summary{What: "malformed"}
	}
	s := Summary{Src: src.String(), Dst: dst.String()}
	ports := func(from, to uint16) {
		s.Src = net.JoinHostPort(s.Src, fmt.Sprint(from))
		s.Dst = net.JoinHostPort(s.Dst, fmt.Sprint(to))
	}
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.TCP:
			ports(uint16(l.SrcPort), uint16(l.DstPort))
			s.What = strings.Join(append([]string{"TCP"}, tcpFlags(l)...), " ")
			return s
		case *layers.UDP:
			ports(uint16(l.SrcPort), uint16(l.DstPort))
			s.What = "UDP"
			return s
		case *layers.ICMPv4:
			s.What = fmt.Sprintf("ICMP %v", l.TypeCode)
			return s
		case *layers.ICMPv6:
			s.What = fmt.Sprintf("ICMPv6 %v", l.TypeCode)
			return s
		case *layers.IPv4:
			s.What = l.Protocol.String()
		case *layers.IPv6:
			s.What = l.NextHeader.String()
		}
	}
	return s
}

func tcpFlags(l *layers.TCP) []string {
	var names []string
	for _, f := range []struct {
		set  bool
		name string
	}{{l.SYN, "SYN"}, {l.FIN, "FIN"}, {l.RST, "RST"}, {l.PSH, "PSH"}, {l.ACK, "ACK"}} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

// Dropped returns why a packet with these comments was dropped; empty if it
// was not.
func Dropped(comments []string) string {
	for _, c := range comments {
		if cause, ok := strings.CutPrefix(c, DroppedPrefix); ok {
			return cause
		}
	}
	return ""
}
