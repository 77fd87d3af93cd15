package sim

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/atoll-dev/atoll/sim/shop"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// Describe writes the plan as text: every name, address, route and timer, and
// what is predicted. Equal plans give equal text.
func (p *Plan) Describe(w io.Writer) error {
	d := description{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), p: p}
	d.clusters()
	d.wan()
	d.stack()
	d.timers()
	for i := range p.Predictions {
		d.prediction(&p.Predictions[i])
	}
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("describe plan %s: %w", p.Name, err)
	}
	return nil
}

// String is what Describe writes.
func (p *Plan) String() string {
	var b strings.Builder
	_ = p.Describe(&b) // a strings.Builder takes everything
	return b.String()
}

type description struct {
	w *tabwriter.Writer
	p *Plan
}

// row writes cells; title ends a table and begins the next.
func (d *description) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(d.w, "\t")
		}
		fmt.Fprint(d.w, c)
	}
	fmt.Fprintln(d.w)
}

func (d *description) title(format string, args ...any) {
	_ = d.w.Flush() // tabwriter reports again when it is flushed at the end
	fmt.Fprintf(d.w, "\n"+format+"\n", args...)
}

func (d *description) clusters() {
	p := d.p
	fmt.Fprintf(d.w, "PLAN %s (seed %d)\n", p.Name, p.Seed)
	d.title("CLUSTERS")
	d.row("  name", "region", "role", "kubernetes", "nodes", "pods", "services", "load balancers", "DNS", "API server", "network")
	for _, c := range p.Clusters {
		d.row("  "+c.Name, c.Region, c.Role, c.Kubernetes, c.NodeCIDR, c.PodCIDR, c.SvcCIDR, c.LBCIDR, c.DNS, c.APIServer, c.Network)
	}
	d.overlays()
	d.title("NODES")
	d.row("  node", "address", "pods", "region", "zone", "labels", "taints")
	for _, c := range p.Clusters {
		for _, n := range c.Nodes {
			var labels, taints []string
			for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
				labels = append(labels, k+"="+n.Labels[k])
			}
			for _, t := range n.Taints {
				taints = append(taints, taintText(t))
			}
			d.row("  "+c.Name+"/"+n.Name, addrText(&n), n.PodCIDR, n.Region, dash(n.Zone), dash(strings.Join(labels, ",")), dash(strings.Join(taints, ",")))
		}
	}
}

func taintText(t topologies.Taint) string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

func dash(s string) string { return cmp.Or(s, "-") }

func (d *description) wan() {
	policy := &d.p.WAN
	d.links()
	d.title("PEERINGS")
	if len(policy.Peerings) == 0 {
		d.row("  none")
	}
	for _, pe := range policy.Peerings {
		d.row("  " + pe.A + "↔" + pe.B)
	}
	if len(policy.Routes) > 0 {
		d.title("ROUTES")
		d.row("  from", "to", "peering", "via")
		for _, r := range policy.Routes {
			d.row("  "+r.From, r.To, r.Peering[0]+"↔"+r.Peering[1], dash(r.Via))
		}
	}
	if len(policy.Rules) > 0 {
		d.title("RULES (all else is open)")
		named := slices.ContainsFunc(policy.Rules, func(r wan.Rule) bool { return r.Name != "" })
		title := []any{"  pair", "admits"}
		if named {
			title = append(title, "name")
		}
		d.row(title...)
		for _, r := range policy.Rules {
			var ports []string
			for _, port := range r.Ports {
				ports = append(ports, portText(port))
			}
			from, to := endText(r.From, r.Source), endText(r.To, r.Destination)
			cells := []any{"  " + pairName(from, to), cmp.Or(strings.Join(ports, ", "), "nothing")}
			if named {
				cells = append(cells, dash(r.Name))
			}
			d.row(cells...)
		}
	}
}

// endText is a rule's end: a cluster, or a range of it.
func endText(cluster string, part netip.Prefix) string {
	if !part.IsValid() {
		return cluster
	}
	return cluster + " " + part.String()
}

func orDash(v time.Duration) string {
	if v == 0 {
		return "-"
	}
	return v.String()
}

func portText(p wan.Port) string {
	name := map[uint8]string{wan.TCP: "tcp", wan.UDP: "udp", wan.ICMP: "icmp"}[p.Protocol]
	return topologies.Port{Protocol: name, Number: p.Number}.String()
}

func (d *description) stack() {
	stack := &d.p.Topology.Spec.Stack
	if d.p.Hub == nil && stack.Mesh == nil && stack.Ingress == nil {
		return
	}
	d.title("STACK")
	if h := d.p.Hub; h != nil {
		d.row("  admin", fmt.Sprintf("%s API, %s engine, on %s at %s", stack.Admin.API, stack.Admin.Engine, h.Cluster, h.Addr))
		if len(h.Members) > 0 {
			d.row("  agents", fmt.Sprintf("%s mode, on %s", stack.Agents.Mode, strings.Join(h.Members, ", ")))
		}
	}
	if i := stack.Ingress; i != nil {
		d.row("  ingress", fmt.Sprintf("%s API, %s engine, class %s, on %s", i.API, i.Engine, i.Class, strings.Join(i.On, ", ")))
	}
	if m := stack.Mesh; m != nil {
		text := fmt.Sprintf("%s API, %s engine, %s, on %s", m.API, m.Engine, m.Layout, strings.Join(m.On, ", "))
		if m.Primary != "" {
			text += ", primary " + m.Primary
		}
		d.row("  mesh", text)
	}
}

func (d *description) timers() {
	t := d.p.Timers
	d.title("TIMERS (%s)", t.Profile)
	d.row("  node lease", fmt.Sprintf("%v, renewed every %v", t.NodeLease, t.NodeLease/4))
	d.row("  node monitor", fmt.Sprintf("every %v, grace %v", t.NodeMonitorPeriod, t.NodeMonitorGrace))
	for i := range d.p.Clusters {
		c := &d.p.Clusters[i]
		if own := d.p.TimersOf(c); own.NodeMonitorGrace != t.NodeMonitorGrace {
			d.row("", fmt.Sprintf("grace %v on %s (%s)", own.NodeMonitorGrace, c.Name, c.Kubernetes))
		}
	}
	d.row("  toleration", t.Toleration)
	d.row("  eviction", fmt.Sprintf("%v nodes/s", t.NodeEvictionRate))
	d.etcdTimers()
	switch {
	case d.p.Push():
		d.row("  cluster poll", fmt.Sprintf("every %v, failing for %v, a question takes %v at most", t.ClusterPoll, t.ClusterFailure, t.PollLimit(d.p.BuiltinHub())))
	case d.p.Hub != nil:
		d.row("  cluster lease", fmt.Sprintf("renewed every %v, looked at every %v, grace %v", t.ClusterLease, t.ClusterMonitor, t.ClusterGracePeriod))
	}
}

func (d *description) prediction(p *Prediction) {
	d.title("PREDICTED of %s", p.Scenario)
	known := false
	line := func(cells ...any) {
		known = true
		d.row(cells...)
	}
	if len(p.Reachable) > 0 {
		d.reachability(p, line)
	}
	if len(p.Cut) == 2 {
		line("  cut", p.Cut[0]+"↔"+p.Cut[1])
	}
	for _, way := range slices.Sorted(maps.Keys(p.Crosses)) {
		text := map[bool]string{true: "packets still arrive", false: "no packet arrives"}[p.Crosses[way]]
		line("  route away", way+": "+text+", and nothing answers")
	}
	d.steps(p, line)
	d.answers("", p.Answers, line)
	for _, from := range slices.Sorted(maps.Keys(p.Origins)) {
		d.answers("from "+from+": ", p.Origins[from], line)
	}
	for _, w := range []struct {
		name   string
		window Window
	}{{"  node not ready", p.NotReady}, {"  pods replaced", p.Replaced}, {"  cluster not ready", p.ClusterNotReady}} {
		if w.window != (Window{}) {
			line(w.name, fmt.Sprintf("%v to %v after the failure", w.window[0].Round(time.Millisecond), w.window[1].Round(time.Millisecond)))
		}
	}
	d.quorumPredictions(p, line)
	d.linkPredictions(p, line)
	d.meshPredictions(p, line)
	if !known {
		d.row("  nothing beforehand")
	}
}

// meshPredictions writes what is predicted of the scenarios of a mesh.
func (d *description) meshPredictions(p *Prediction, line func(...any)) {
	for _, c := range slices.Sorted(maps.Keys(p.Running)) {
		line("  running in "+c, cmp.Or(strings.Join(p.Running[c], ", "), "nothing"))
	}
	for _, c := range slices.Sorted(maps.Keys(p.Proxies)) {
		line("  proxies asked of "+c, cmp.Or(strings.Join(p.Proxies[c], ", "), "refused"))
	}
	for _, pair := range p.Passes {
		line("  "+pair, "passes with the rule, nothing without")
	}
	if len(p.Parts) > 0 {
		for _, part := range slices.Concat(shop.Home, shop.Order) {
			if clusters, ok := p.Parts[part.Name]; ok {
				line("  "+part.Name, cmp.Or(strings.Join(clusters, " or "), "missing"))
			}
		}
	}
	if len(p.Missing) > 0 {
		line("  missing while cut off", strings.Join(p.Missing, ", "))
	}
}

// steps writes what comes of each step of a placement.
func (d *description) steps(p *Prediction, line func(...any)) {
	for i, divisions := range p.Placements {
		text := cmp.Or(divisionsText(divisions), "not known before the workload is")
		if i < len(p.Extended) {
			for _, name := range slices.Sorted(maps.Keys(p.Extended[i])) {
				text += "; " + name + ": " + cmp.Or(divisionsText(p.Extended[i][name]), "not known")
			}
		}
		line(fmt.Sprintf("  step %d", i+1), text)
		if i < len(p.Events) {
			for _, e := range p.Events[i] {
				line("", fmt.Sprintf("event on %s: %s: %s", e.On, e.Reason, e.Message))
			}
		}
	}
}

func divisionsText(divisions []map[string]int) string {
	var texts []string
	for _, division := range divisions {
		texts = append(texts, divisionText(division))
	}
	return strings.Join(texts, " or ")
}

// answers writes who answers, and how fast.
func (d *description) answers(from string, a Answers, line func(...any)) {
	if len(a.Shares) > 0 {
		line("  "+from+"shares", sharesText(a.Shares))
	}
	for i, shares := range a.Possible {
		line(map[bool]string{true: "  " + from + "shares", false: "  or"}[i == 0], sharesText(shares))
	}
	for _, c := range slices.Sorted(maps.Keys(a.Latency)) {
		l := a.Latency[c]
		line("  "+from+"answer from "+c, fmt.Sprintf("%v warm, %v cold", l.Warm, l.Cold))
	}
}

// reachability writes one row per ordered pair: its round trip, and each port.
func (d *description) reachability(p *Prediction, line func(...any)) {
	names := map[string]bool{}
	for _, ports := range p.Reachable {
		for port := range ports {
			names[port] = true
		}
	}
	ports := slices.Sorted(maps.Keys(names))
	header := []any{"  pair", "round trip"}
	for _, port := range ports {
		header = append(header, port)
	}
	line(header...)
	for _, a := range d.named(p) {
		for _, b := range d.named(p) {
			pair := pairName(a, b)
			if p.Reachable[pair] == nil {
				continue
			}
			cells := []any{"  " + pair, orDash(p.RTT[pair])}
			for _, port := range ports {
				cells = append(cells, map[bool]string{true: "yes", false: "no"}[p.Reachable[pair][port]])
			}
			line(cells...)
		}
	}
}

// named are the clusters of a prediction's pairs: the plan's, in its order, and
// those that a change adds.
func (d *description) named(p *Prediction) []string {
	var names []string
	for _, c := range d.p.Clusters {
		names = append(names, c.Name)
	}
	for _, pair := range slices.Sorted(maps.Keys(p.Reachable)) {
		if from, _, _ := strings.Cut(pair, "→"); !slices.Contains(names, from) {
			names = append(names, from)
		}
	}
	return names
}

func divisionText(division map[string]int) string {
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(division)) {
		parts = append(parts, fmt.Sprintf("%s %d", c, division[c]))
	}
	return cmp.Or(strings.Join(parts, ", "), "nowhere")
}

func sharesText(shares map[string]float64) string {
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(shares)) {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", c, 100*shares[c]))
	}
	return cmp.Or(strings.Join(parts, ", "), "no one answers")
}
