package wan

import (
	"cmp"
	"net/netip"
	"slices"
)

// Table is a policy compiled: it answers where a packet goes, and whether it
// may. It does not change and is safe for concurrent use.
type Table struct {
	sites     []site
	v4, v6    spans
	clusters  []string // by index
	byName    map[string]int32
	gateway   []int32 // cluster → the site where transit traffic passes through: its first
	regions   []string
	links     map[pair]LinkModel   // by regions; the implicit ones included
	schedules map[pair][]Change    // of the links that have one
	order     []pair               // the links in the policy's order, then the implicit ones
	peerings  map[pair]peering     // both directions
	routes    map[int32][]route    // by From, longest prefix first
	rules     map[pair][]admission // of the pairs that are ruled
}

// admission is a rule without the names of its clusters.
type admission struct {
	source, destination netip.Prefix // the zero Prefix has every address
	ports               []Port
}

// pair is two indices, of clusters or of regions; ordered.
type pair struct{ from, to int32 }

type site struct {
	cluster, region int32
	first           netip.Addr // stands for the site in questions about clusters
}

type peering struct{ down, routed bool }

type route struct {
	peering pair // from first
	to      netip.Prefix
	via     int32 // -1: none
}

// Compile validates a policy and makes it fast.
func (p *Policy) Compile() (*Table, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	t := &Table{
		byName: map[string]int32{}, links: map[pair]LinkModel{}, schedules: map[pair][]Change{},
		peerings: map[pair]peering{}, routes: map[int32][]route{}, rules: map[pair][]admission{},
	}
	regions := map[string]int32{}
	region := func(name string) int32 {
		i, ok := regions[name]
		if !ok {
			i = int32(len(t.regions))
			regions[name] = i
			t.regions = append(t.regions, name)
		}
		return i
	}
	t.compileSites(p.Sites, region)
	for _, l := range p.Links {
		key := pair{region(l.From), region(l.To)}
		t.links[key] = l.LinkModel
		if len(l.Schedule) > 0 {
			t.schedules[key] = l.Schedule
		}
		t.order = append(t.order, key)
	}
	t.implicitLinks()
	for _, pe := range p.Peerings {
		a, b := t.byName[pe.A], t.byName[pe.B]
		t.peerings[pair{a, b}] = peering{down: pe.Down, routed: pe.Routed}
		t.peerings[pair{b, a}] = peering{down: pe.Down, routed: pe.Routed}
	}
	t.compileRoutes(p.Routes)
	for _, r := range p.Rules {
		key := pair{t.byName[r.From], t.byName[r.To]}
		t.rules[key] = append(t.rules[key], admission{r.Source, r.Destination, r.Ports})
	}
	return t, nil
}

func (t *Table) compileSites(sites []Site, region func(string) int32) {
	index := map[pair]int32{}
	var v4, v6 []sitePrefix
	for _, s := range sites {
		c, ok := t.byName[s.Cluster]
		if !ok {
			c = int32(len(t.clusters))
			t.byName[s.Cluster] = c
			t.clusters = append(t.clusters, s.Cluster)
			t.gateway = append(t.gateway, int32(len(t.sites)))
		}
		key := pair{c, region(s.Region)}
		i, ok := index[key]
		if !ok {
			i = int32(len(t.sites))
			index[key] = i
			t.sites = append(t.sites, site{cluster: c, region: key.to})
		}
		for _, p := range s.Prefixes {
			if !t.sites[i].first.IsValid() {
				t.sites[i].first = p.Addr()
			}
			if p.Addr().Is4() {
				v4 = append(v4, sitePrefix{p.Masked(), i})
			} else {
				v6 = append(v6, sitePrefix{p.Masked(), i})
			}
		}
	}
	t.v4, t.v6 = flatten(v4), flatten(v6)
}

// implicitLinks joins the clusters of each region, where there are several.
func (t *Table) implicitLinks() {
	first := map[int32]int32{} // region → a cluster in it
	for _, s := range t.sites {
		if c, ok := first[s.region]; !ok {
			first[s.region] = s.cluster
		} else if key := (pair{s.region, s.region}); c != s.cluster {
			if _, ok := t.links[key]; !ok {
				t.links[key] = LinkModel{OneWay: ImplicitOneWay}
				t.order = append(t.order, key)
			}
		}
	}
}

func (t *Table) compileRoutes(routes []Route) {
	for _, r := range routes {
		a, b := t.byName[r.Peering[0]], t.byName[r.Peering[1]]
		for _, key := range []pair{{a, b}, {b, a}} {
			pe := t.peerings[key]
			pe.routed = true
			t.peerings[key] = pe
		}
		from := t.byName[r.From]
		if from == b {
			a, b = b, a
		}
		via := int32(-1)
		if r.Via != "" {
			via = t.byName[r.Via]
		}
		t.routes[from] = append(t.routes[from], route{pair{a, b}, r.To.Masked(), via})
	}
	for _, rs := range t.routes {
		slices.SortStableFunc(rs, func(a, b route) int { return cmp.Compare(b.to.Bits(), a.to.Bits()) })
	}
}

// find returns the index of an address's site, -1 if it has none.
func (t *Table) find(a netip.Addr) int32 {
	if a.Is4() {
		return t.v4.find(numberOf(a))
	}
	return t.v6.find(numberOf(a))
}

// clustersOf returns the clusters of two sites, -1 for those that are none.
func (t *Table) clustersOf(src, dst int32) pair {
	p := pair{-1, -1}
	if src >= 0 {
		p.from = t.sites[src].cluster
	}
	if dst >= 0 {
		p.to = t.sites[dst].cluster
	}
	return p
}

// Site returns the cluster and the region that an address is in.
func (t *Table) Site(a netip.Addr) (cluster, region string, ok bool) {
	if !a.IsValid() {
		return "", "", false
	}
	i := t.find(a.Unmap())
	if i < 0 {
		return "", "", false
	}
	return t.clusters[t.sites[i].cluster], t.regions[t.sites[i].region], true
}

// maxHops bounds a path; routes that lead in a circle end there.
const maxHops = 8

// path is the links a packet crosses, by their regions.
type path struct {
	hops [maxHops]pair
	n    int
}

func (p *path) add(from, to int32) bool {
	if p.n == maxHops {
		return false
	}
	p.hops[p.n] = pair{from, to}
	p.n++
	return true
}

// route finds the way from one site to an address in another. The empty path
// is the one within a site.
func (t *Table) route(src, dst int32, to netip.Addr) (p path, cause Cause) {
	from, target := t.sites[src], t.sites[dst]
	if from.cluster == target.cluster {
		if from.region != target.region {
			p.add(from.region, target.region)
		}
		return p, t.linked(&p)
	}
	if t.peerings[pair{from.cluster, target.cluster}].down {
		return p, NoPeering
	}
	for from.cluster != target.cluster {
		next, cause := t.next(from.cluster, target.cluster, to)
		if cause != Delivered {
			return p, cause
		}
		via := t.sites[t.gateway[next]]
		if next == target.cluster {
			via = target
		}
		if !p.add(from.region, via.region) {
			return p, NoRoute
		}
		from = via
	}
	return p, t.linked(&p)
}

// fixed tells whether the way between two clusters is the same for every
// address, because no route is asked.
func (t *Table) fixed(key pair) bool {
	pe, peered := t.peerings[key]
	switch {
	case key.from == key.to || pe.down:
		return true
	case peered:
		return !pe.routed
	}
	return len(t.routes[key.from]) == 0
}

// next returns the cluster that a cluster hands a packet to.
func (t *Table) next(from, target int32, to netip.Addr) (int32, Cause) {
	direct, peered := t.peerings[pair{from, target}]
	if peered && !direct.routed {
		if direct.down {
			return 0, NoPeering
		}
		return target, Delivered
	}
	for _, r := range t.routes[from] {
		if !r.to.Contains(to) {
			continue
		}
		next := r.peering.to
		if r.via >= 0 {
			next = r.via
		} else if next != target {
			continue // no transit unless the route says so
		}
		if t.peerings[r.peering].down || t.peerings[pair{from, next}].down {
			return 0, NoPeering
		}
		return next, Delivered
	}
	if !peered && len(t.routes[from]) == 0 {
		return 0, NoPeering
	}
	return 0, NoRoute
}

func (t *Table) linked(p *path) Cause {
	for _, hop := range p.hops[:p.n] {
		if _, ok := t.links[hop]; !ok {
			return NoLink
		}
	}
	return Delivered
}

// admits tells whether the rules let a packet from one address to a port of
// another open a flow. An ordered pair that no rule names is open.
func (t *Table) admits(key pair, src, dst netip.Addr, port Port) bool {
	rules, ruled := t.rules[key]
	if !ruled {
		return true
	}
	for _, r := range rules {
		if r.source.IsValid() && !r.source.Contains(src) || r.destination.IsValid() && !r.destination.Contains(dst) {
			continue
		}
		for _, p := range r.ports {
			switch {
			case p.Protocol == ICMP:
				if port.Protocol == ICMP || port.Protocol == ICMPv6 {
					return true
				}
			case p.Protocol == port.Protocol && (p.Number == 0 || p.Number == port.Number):
				return true
			}
		}
	}
	return false
}
