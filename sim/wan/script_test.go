package wan

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/scripts; -rewrite writes the expectations anew.
//
//	policy     makes an engine (the input: site, link, peer, route, rule, probes)
//	swap       puts another policy in force
//	partition, isolate, link-down, no-route, close-rules, slow-link
//	           put the policy in force with a fault; heal takes it away
//	routes-to  lists the entries that lead from a cluster to another
//	send       sends packets: [+DELAY] PROTOCOL SRC > DST [flags…]
//	ask        asks the compiled policy: reach FROM TO PORT, rtt FROM TO, path SRC DST, site ADDR
//	counters, pairs
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	e   *Engine
	p   Policy
	now time.Time
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	args := make([]string, len(d.CmdArgs))
	for i, a := range d.CmdArgs {
		args[i] = a.Key
	}
	var out strings.Builder
	lines := func(do func(fields []string) string) string {
		for _, line := range strings.Split(d.Input, "\n") {
			out.WriteString(do(strings.Fields(line)) + "\n")
		}
		return out.String()
	}
	switch d.Cmd {
	case "policy", "swap":
		p, err := parsePolicy(d.Input)
		if err != nil {
			t.Fatal(err)
		}
		return s.put(p, d.Cmd == "policy")
	case "partition":
		return s.put(s.p.WithPartition(args[0], args[1]), false)
	case "isolate":
		return s.put(s.p.WithIsolated(args[0]), false)
	case "without-rule":
		return s.put(s.p.WithoutRule(args[0]), false)
	case "link-down":
		return s.put(s.p.WithLinkDown(args[0], args[1]), false)
	case "no-route":
		var destination netip.Prefix
		if len(args) > 2 {
			destination = netip.MustParsePrefix(args[2])
		}
		return s.try(s.p.WithoutRoute(args[0], args[1], destination))
	case "close-rules":
		var ports []Port
		for _, a := range args[2:] {
			ports = append(ports, mustPort(a))
		}
		return s.try(s.p.WithRulesClosed(args[0], args[1], ports))
	case "slow-link":
		return s.try(s.p.WithLink(args[0], args[1], func(m *LinkModel) { m.OneWay *= 2 }))
	case "heal":
		return s.try(s.p)
	case "routes-to":
		return fmt.Sprintln(s.p.RoutesTo(args[0], args[1]))
	case "send":
		return lines(s.send)
	case "ask":
		return lines(func(f []string) string { return ask(s.e.Table(), f) })
	case "counters":
		for _, c := range s.e.Counters() {
			fmt.Fprintf(&out, "%s→%s packets=%d bytes=%d queue=%v dropped=%v\n", c.From, c.To, c.Packets, c.Bytes, c.QueueMax, c.Dropped)
		}
	case "pairs":
		for _, c := range s.e.Pairs() {
			fmt.Fprintf(&out, "%s→%s packets=%d bytes=%d dropped=%v\n", c.From, c.To, c.Packets, c.Bytes, c.Dropped)
		}
	default:
		t.Fatalf("no such command: %s", d.Cmd)
	}
	return out.String()
}

func (s *script) put(p Policy, anew bool) string {
	var err error
	if anew {
		s.now = time.Unix(0, 0)
		s.e, err = New(p, 1)
	} else {
		err = s.e.Swap(p)
	}
	if err != nil {
		return err.Error() + "\n"
	}
	if anew || len(p.Sites) > 0 {
		s.p = p
	}
	return "ok\n"
}

// try puts a policy in force and keeps the one that it was made of.
func (s *script) try(p Policy) string {
	if err := s.e.Swap(p); err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}

// last is the packet sent last, which an ICMP error may quote.
var last []byte

func (s *script) send(f []string) string {
	text := strings.Join(f, " ")
	if strings.HasPrefix(f[0], "+") {
		d, err := time.ParseDuration(f[0][1:])
		if err != nil {
			return err.Error()
		}
		s.now = s.now.Add(d)
		f = f[1:]
	}
	packet, err := parsePacket(f)
	if err != nil {
		return err.Error()
	}
	v := s.e.Send(s.now, packet)
	last = packet
	switch {
	case v.Local:
		return text + ": local"
	case v.Cause != Delivered:
		return text + ": " + v.Cause.String()
	}
	return fmt.Sprintf("%s: after %v by %s→%s", text, v.At.Sub(s.now), s.e.Counters()[v.Link].From, s.e.Counters()[v.Link].To)
}

// parsePacket reads "tcp 10.1.0.1:4000 > 10.2.0.1:443 syn size=1000".
func parsePacket(f []string) ([]byte, error) {
	if len(f) < 4 {
		return nil, fmt.Errorf("packet %q", f)
	}
	sp := spec{}
	var err error
	ends := func(s string) (string, uint16) {
		if a, e := netip.ParseAddrPort(s); e == nil {
			return a.Addr().String(), a.Port()
		}
		return s, 0
	}
	sp.src, sp.sport = ends(f[1])
	sp.dst, sp.dport = ends(f[3])
	six := strings.Contains(sp.src, ":")
	icmp := map[bool]uint8{false: ICMP, true: ICMPv6}[six]
	switch f[0] {
	case "tcp":
		sp.proto = TCP
	case "udp":
		sp.proto = UDP
	case "sctp":
		sp.proto = 132
	case "gre":
		sp.proto = 47
	case "echo":
		sp.proto, sp.icmpType = icmp, map[bool]uint8{false: 8, true: 128}[six]
	case "reply":
		sp.proto, sp.icmpType = icmp, map[bool]uint8{false: 0, true: 129}[six]
	case "unreachable": // quotes the packet sent last
		sp.proto, sp.icmpType = icmp, map[bool]uint8{false: 3, true: 1}[six]
		sp.quote = last[:min(len(last), 60)]
	case "timestamp":
		sp.proto, sp.icmpType = ICMP, 13
	default:
		return nil, fmt.Errorf("protocol %q", f[0])
	}
	for _, opt := range f[4:] {
		key, value, _ := strings.Cut(opt, "=")
		n := 0
		if value != "" {
			if n, err = strconv.Atoi(value); err != nil {
				return nil, err
			}
		}
		switch key {
		case "syn":
			sp.flags |= tcpSYN
		case "ack":
			sp.flags |= tcpACK
		case "fin":
			sp.flags |= tcpFIN
		case "rst":
			sp.flags |= tcpRST
		case "id":
			sp.id = uint16(n)
		case "size":
			sp.payload = n
		case "frag":
			sp.fragOffset = uint16(n)
		case "more":
			sp.more = true
		case "ipid":
			sp.ipID = uint16(n)
		default:
			return nil, fmt.Errorf("option %q", opt)
		}
	}
	return sp.build(), nil
}

func ask(t *Table, f []string) string {
	text := strings.Join(f, " ") + ": "
	switch f[0] {
	case "reach":
		return text + t.Reachable(f[1], f[2], mustPort(f[3])).String()
	case "rtt":
		d, cause := t.RTT(f[1], f[2])
		if cause != Delivered {
			return text + cause.String()
		}
		return text + d.String()
	case "path":
		hops, cause := t.Path(netip.MustParseAddr(f[1]), netip.MustParseAddr(f[2]))
		if cause != Delivered {
			return text + cause.String()
		}
		var parts []string
		for _, h := range hops {
			parts = append(parts, fmt.Sprintf("%s→%s", h.From, h.To))
		}
		return text + "[" + strings.Join(parts, " ") + "]"
	case "site":
		c, r, ok := t.Site(netip.MustParseAddr(f[1]))
		return text + fmt.Sprint(c, " ", r, " ", ok)
	}
	return "no such question: " + f[0]
}

func mustPort(s string) Port {
	name, number, _ := strings.Cut(s, "/")
	n, _ := strconv.Atoi(number)
	return Port{map[string]uint8{"tcp": TCP, "udp": UDP, "icmp": ICMP, "sctp": 132}[name], uint16(n)}
}

// parsePolicy reads a policy, a line each:
//
//	site CLUSTER REGION PREFIX…
//	link FROM TO DELAY [jitter=1ms] [loss=0.1] [enter=.. leave=.. bad=..] [rate=bits/s] [queue=1ms] [bytes=1500]
//	     [shape=pareto] [reorder] [duplicate=.1] [corrupt=.1] [down] [reject]
//	peer A B [down] · route FROM A B PREFIX [VIA] · rule FROM TO PORT… · probes FIRST LAST
func parsePolicy(text string) (Policy, error) {
	var p Policy
	var errs []error
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		switch f[0] {
		case "site":
			s := Site{Cluster: f[1], Region: f[2]}
			for _, x := range f[3:] {
				s.Prefixes = append(s.Prefixes, netip.MustParsePrefix(x))
			}
			p.Sites = append(p.Sites, s)
		case "link":
			m, err := parseModel(f[3:])
			errs = append(errs, err)
			p.Links = append(p.Links, Link{From: f[1], To: f[2], LinkModel: m})
		case "peer":
			p.Peerings = append(p.Peerings, Peering{A: f[1], B: f[2], Down: len(f) > 3})
		case "route":
			r := Route{From: f[1], Peering: [2]string{f[2], f[3]}, To: netip.MustParsePrefix(f[4])}
			if len(f) > 5 {
				r.Via = f[5]
			}
			p.Routes = append(p.Routes, r)
		case "rule":
			r := Rule{From: f[1], To: f[2]}
			for _, x := range f[3:] {
				switch key, value, _ := strings.Cut(x, "="); key {
				case "name":
					r.Name = value
				case "source":
					r.Source = netip.MustParsePrefix(value)
				case "destination":
					r.Destination = netip.MustParsePrefix(value)
				default:
					r.Ports = append(r.Ports, mustPort(x))
				}
			}
			p.Rules = append(p.Rules, r)
		case "probes":
			a, _ := strconv.Atoi(f[1])
			b, _ := strconv.Atoi(f[2])
			p.Probes = IDRange{uint16(a), uint16(b)}
		default:
			errs = append(errs, fmt.Errorf("no such line: %s", line))
		}
	}
	return p, errors.Join(errs...)
}

func parseModel(f []string) (m LinkModel, err error) {
	if m.OneWay, err = time.ParseDuration(f[0]); err != nil {
		return m, err
	}
	for _, opt := range f[1:] {
		key, value, _ := strings.Cut(opt, "=")
		number, _ := strconv.ParseFloat(value, 64)
		switch key {
		case "jitter":
			m.Jitter, err = time.ParseDuration(value)
		case "queue":
			m.Queue, err = time.ParseDuration(value)
		case "loss":
			m.Loss.Good = number
		case "enter":
			m.Loss.Enter = number
		case "leave":
			m.Loss.Leave = number
		case "bad":
			m.Loss.Bad = number
		case "rate":
			m.RateBps = uint64(number)
		case "down":
			m.Down = true
		case "reorder":
			m.Reorder = true
		case "reject":
			m.Down, m.Reject = true, true
		case "duplicate":
			m.Duplicate = number
		case "corrupt":
			m.Corrupt = number
		case "shape":
			err = m.Shape.UnmarshalText([]byte(value))
		case "bytes":
			m.QueueBytes = uint64(number)
		default:
			err = fmt.Errorf("option %q", opt)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}
