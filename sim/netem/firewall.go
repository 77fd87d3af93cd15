package netem

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/sim/wan"
)

// tableName is the nftables table that is ours; whatever is in it is.
const tableName = "atoll_wan"

// firewall is an nftables script: who may talk to whom, and over which link.
// It replaces the rules that were there at once, and keeps the counters.
// Closed, it lets local traffic pass and nothing else.
func (t *translation) firewall(as []wan.Attachment, open bool) string {
	f := &script{}
	f.line("table inet %s {}", tableName)
	f.line("flush table inet %s", tableName)
	f.line("table inet %s {", tableName)
	f.counters(t)
	if open {
		f.links(t)
	}
	for i := range t.sites {
		f.site(i, &t.sites[i], open)
	}
	f.crossing(t, as)
	f.line("}")
	return f.b.String()
}

type script struct {
	b     strings.Builder
	rules map[string]string // a chain of rules by its content
}

func (f *script) line(format string, args ...any) { fmt.Fprintf(&f.b, format+"\n", args...) }

// refusals are the causes that no link counts.
var refusals = []wan.Cause{wan.NoSite, wan.NoPeering, wan.NoRoute, wan.NoLink, wan.Denied, wan.Spoofed}

func counterOf(c wan.Cause) string { return strings.ReplaceAll(c.String(), "-", "_") }

func (f *script) counters(t *translation) {
	for _, c := range refusals {
		f.line("  counter %s {}", counterOf(c))
	}
	for _, s := range t.shapes {
		f.line("  counter %s {}", downCounter(s.class))
	}
}

func downCounter(class uint16) string { return fmt.Sprintf("down_%d", class) }

// links are the chains where what may pass ends.
func (f *script) links(t *translation) {
	for _, s := range t.shapes {
		f.line("  chain link_%d { # %s→%s", s.class, s.from, s.to)
		switch {
		case s.reject:
			f.line("    counter name %s", downCounter(s.class))
			f.line("    reject with icmpx admin-prohibited")
		case s.down:
			f.line("    counter name %s drop", downCounter(s.class))
		default:
			f.line("    meta priority set %v accept", at(rootMajor, s.class))
		}
		f.line("  }")
	}
}

// site is the chain of what a site sends.
func (f *script) site(i int, s *siteRules, open bool) {
	var elements4, elements6 []string
	for _, v := range s.to {
		what := ""
		switch {
		case v.local:
			what = "accept"
		case !open:
			continue
		case v.cause != wan.Delivered:
			what = "goto " + f.refusal(v.cause)
		case v.ruled:
			what = "goto " + f.ruled(v)
		default:
			what = fmt.Sprintf("goto link_%d", v.class)
		}
		e := fmt.Sprintf("%s : %s", span(v.Range), what)
		if v.First.Is4() {
			elements4 = append(elements4, e)
		} else {
			elements6 = append(elements6, e)
		}
	}
	rest := "drop"
	if open {
		rest = "goto " + f.refusal(wan.NoSite)
	}
	f.line("  chain site_%d { # %s in %s", i, s.cluster, s.region)
	f.vmap("ip daddr", elements4)
	f.vmap("ip6 daddr", elements6)
	f.line("    %s", rest)
	f.line("  }")
}

func (f *script) vmap(key string, elements []string) {
	if len(elements) > 0 {
		f.line("    %s vmap { %s }", key, strings.Join(elements, ", "))
	}
}

func span(r wan.Range) string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// refusal is the chain in which packets are counted and dropped. It is written
// when it is first needed, as the chain of rules below.
func (f *script) refusal(c wan.Cause) string {
	return f.chain("refuse_"+counterOf(c), fmt.Sprintf("    counter name %s drop\n", counterOf(c)))
}

// ruled is the chain of the rules of a pair of clusters. The lab's own probes
// pass, and whatever belongs to a flow that was admitted in either direction.
func (f *script) ruled(v verdict) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "    "+format+"\n", args...) }
	to := fmt.Sprintf("goto link_%d", v.class)
	line("ct state established,related %s", to)
	if p := v.probes; p != (wan.IDRange{}) {
		line("icmp type { echo-request, echo-reply } icmp id %d-%d %s", p.First, p.Last, to)
		line("icmpv6 type { echo-request, echo-reply } icmpv6 id %d-%d %s", p.First, p.Last, to)
	}
	ports := map[uint8][]string{}
	var order []uint8
	for _, p := range v.rules {
		if !slices.Contains(order, p.Protocol) {
			order = append(order, p.Protocol)
		}
		ports[p.Protocol] = append(ports[p.Protocol], fmt.Sprint(p.Number))
	}
	for _, protocol := range order {
		switch numbers := ports[protocol]; {
		case protocol == wan.ICMP:
			line("meta l4proto { icmp, ipv6-icmp } %s", to)
		case slices.Contains(numbers, "0"):
			line("meta l4proto %d %s", protocol, to)
		default:
			line("meta l4proto %d th dport { %s } %s", protocol, strings.Join(numbers, ", "), to)
		}
	}
	line("counter name %s drop", counterOf(wan.Denied))
	return f.chain(fmt.Sprintf("rules_%d", len(f.rules)), b.String())
}

// chain writes a chain once, and returns its name.
func (f *script) chain(name, content string) string {
	if known, ok := f.rules[content]; ok {
		return known
	}
	if f.rules == nil {
		f.rules = map[string]string{}
	}
	f.rules[content] = name
	f.line("  chain %s {\n%s  }", name, content)
	return name
}

// crossing is where packets come in: what comes from an attachment must come
// from behind it, and goes to its site's chain.
func (f *script) crossing(t *translation, as []wan.Attachment) {
	behind4, behind6 := map[string][]string{}, map[string][]string{}
	var names []string
	for _, a := range as {
		if !slices.Contains(names, a.Interface) {
			names = append(names, a.Interface)
		}
		for _, r := range a.Routes {
			if r.To.Addr().Is4() {
				behind4[a.Interface] = append(behind4[a.Interface], r.To.Masked().String())
			} else {
				behind6[a.Interface] = append(behind6[a.Interface], r.To.Masked().String())
			}
		}
	}
	var from4, from6 []string
	for i, s := range t.sites {
		for _, r := range s.ranges {
			e := fmt.Sprintf("%s : goto site_%d", span(r), i)
			if r.First.Is4() {
				from4 = append(from4, e)
			} else {
				from6 = append(from6, e)
			}
		}
	}
	stranger := f.refusal(wan.NoSite)
	f.line("  chain crossing {")
	for _, name := range names {
		for _, family := range []struct {
			key    string
			behind []string
		}{{"ip saddr", behind4[name]}, {"ip6 saddr", behind6[name]}} {
			if len(family.behind) > 0 {
				f.line("    iifname %q %s != { %s } counter name %s drop", name, family.key, strings.Join(family.behind, ", "), counterOf(wan.Spoofed))
			}
		}
	}
	f.vmap("ip saddr", from4)
	f.vmap("ip6 saddr", from6)
	f.line("    goto %s", stranger)
	f.line("  }")
	f.line("  chain forward {")
	f.line("    type filter hook forward priority filter; policy accept;")
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	f.line("    iifname { %s } goto crossing", strings.Join(quoted, ", "))
	f.line("  }")
}
