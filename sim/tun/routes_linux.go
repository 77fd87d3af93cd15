package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The rules of a router, asked in this order after the kernel's own of the
// local table (priority 0), and before main:
//
//	 999  from an attachment, while the others are being made: a black hole
//	1000  from a TUN, or from the router itself: table out, the ranges of all attachments
//	1001  from a TUN: unreachable
//	1002  from an attachment: its table near, its own ranges
//	1003  from an attachment: its table far, which is the TUN, or a black hole without it
const (
	ruleShut = 999 + iota
	ruleOut
	ruleEnd
	ruleNear
	ruleFar
)

// The tables; those of attachments follow.
const (
	tableOut   = 0xa7000
	tableFirst = tableOut + 1
)

// owner marks our rules and routes (rtm_protocol), so that they can be found
// and removed by that alone. /etc/iproute2/rt_protos has no such number.
const owner = 0xa7

// last is the metric of the route that remains when a TUN is gone.
const last = 1<<32 - 1

// way is one of the router's interfaces.
type way struct {
	name   string // of the interface
	index  int
	mtu    int
	device string // the TUN's name
	origin netip.Addr
	shared bool // by several sites: then nothing is local
	routes []hop
}

// hop is a range and how it is reached.
type hop struct {
	to  netip.Prefix
	via netip.Addr
}

// routes is the router's part of the kernel's routing.
type routes struct {
	cfg      *Config
	net      *netlink.Handle
	ways     []way
	families []int
}

// newRoutes looks at the attachments. The thread is in the router's namespace.
func newRoutes(cfg *Config) (*routes, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("tun: netlink: %w", err)
	}
	r := &routes{cfg: cfg, net: h}
	places := map[string]int{}
	six := false
	for _, a := range cfg.Attachments {
		i, again := places[a.Interface]
		if !again {
			l, err := h.LinkByName(a.Interface)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("tun: attachment %s: %w", a.Interface, err), r.close())
			}
			i = len(r.ways)
			places[a.Interface] = i
			r.ways = append(r.ways, way{
				name: a.Interface, index: l.Attrs().Index, mtu: l.Attrs().MTU, device: cfg.Name + strconv.Itoa(i),
			})
		}
		w := &r.ways[i]
		for _, to := range a.Routes {
			w.routes = append(w.routes, hop{to.To.Masked(), to.Via})
			six = six || to.To.Addr().Is6()
		}
		w.shared = again
		if w.origin = (netip.Addr{}); !again && len(w.routes) > 0 {
			w.origin = w.routes[0].to.Addr()
		}
	}
	r.families = []int{unix.AF_INET}
	if six || hasIPv6() {
		r.families = append(r.families, unix.AF_INET6)
	}
	return r, nil
}

func (r *routes) close() error { r.net.Close(); return nil }

// shut makes the rules, with everything lost that is not local.
// A router that takes the place of another is never open in between.
func (r *routes) shut() error {
	for _, family := range r.families {
		for i := range r.ways {
			if err := r.rule(family, ruleShut, r.ways[i].name, 0, unix.RTN_BLACKHOLE); err != nil {
				return err
			}
		}
	}
	if err := clean(r.net, r.families, func(rule *netlink.Rule) bool { return rule.Priority != ruleShut }); err != nil {
		return err
	}
	if err := r.make(); err != nil {
		return err
	}
	return cleanRules(r.net, r.families, func(rule *netlink.Rule) bool { return rule.Priority == ruleShut })
}

func (r *routes) make() error {
	for _, family := range r.families {
		for i := range r.ways {
			if err := r.blackhole(family, r.far(i)); err != nil {
				return err
			}
		}
		for i := range r.ways {
			if err := r.fillNear(family, i); err != nil {
				return err
			}
			if err := r.fillOut(family, i); err != nil {
				return err
			}
		}
		if err := r.rules(family); err != nil {
			return err
		}
	}
	return nil
}

func (r *routes) near(i int) int { return tableFirst + 2*i }
func (r *routes) far(i int) int  { return tableFirst + 2*i + 1 }

func (r *routes) rules(family int) error {
	add := func(priority int, from string, table int, kind uint8) error {
		return r.rule(family, priority, from, table, kind)
	}
	// What the router itself says, such as "packet too big", finds its way by
	// the same table; so do the kernel's checks of where a packet came from.
	errs := []error{add(ruleOut, "lo", tableOut, 0)}
	for i := range r.ways {
		w := &r.ways[i]
		errs = append(errs,
			add(ruleOut, w.device, tableOut, 0),
			add(ruleEnd, w.device, 0, unix.RTN_UNREACHABLE),
			add(ruleNear, w.name, r.near(i), 0),
			add(ruleFar, w.name, r.far(i), 0))
	}
	return errors.Join(errs...)
}

func (r *routes) rule(family, priority int, from string, table int, kind uint8) error {
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.IifName, rule.Table, rule.Type, rule.Protocol = family, priority, from, table, kind, owner
	if err := r.net.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("tun: rule %d for %s: %w", priority, from, err)
	}
	return nil
}

// blackhole puts the last route into a table. It says nothing: where a router
// takes the place of another, TCP asks again, and an ICMP error would end what
// is just being opened.
func (r *routes) blackhole(family, table int) error {
	return r.add(&netlink.Route{Family: family, Dst: everything(family), Table: table, Type: unix.RTN_BLACKHOLE, Priority: last})
}

// fillNear lists what an interface reaches by itself. Ranges of others that
// lie within its own are the others'.
func (r *routes) fillNear(family, i int) error {
	w := &r.ways[i]
	if w.shared {
		return nil
	}
	for _, h := range w.routes {
		if !of(family, h.to) {
			continue
		}
		if err := r.addHop(family, r.near(i), w, h); err != nil {
			return err
		}
		for j := range r.ways {
			if j == i {
				continue
			}
			for _, other := range r.ways[j].routes {
				if h.to.Overlaps(other.to) && other.to.Bits() > h.to.Bits() {
					err := r.add(&netlink.Route{Family: family, Dst: ipnet(other.to), Table: r.near(i), Type: unix.RTN_THROW})
					if err != nil && !errors.Is(err, unix.EEXIST) {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (r *routes) fillOut(family, i int) error {
	w := &r.ways[i]
	for _, h := range w.routes {
		if !of(family, h.to) {
			continue
		}
		if err := r.addHop(family, tableOut, w, h); err != nil {
			return err
		}
	}
	return nil
}

func (r *routes) addHop(family, table int, w *way, h hop) error {
	route := &netlink.Route{Family: family, Dst: ipnet(h.to), Table: table, LinkIndex: w.index, Scope: netlink.SCOPE_LINK}
	if h.via.IsValid() {
		route.Gw, route.Scope = h.via.AsSlice(), netlink.SCOPE_UNIVERSE
		route.SetFlag(netlink.FLAG_ONLINK)
	}
	if family == unix.AF_INET6 {
		route.Scope = netlink.SCOPE_UNIVERSE
	}
	if err := r.add(route); err != nil {
		return fmt.Errorf("%v behind %s: %w", h.to, w.name, err)
	}
	return nil
}

func (r *routes) add(route *netlink.Route) error {
	route.Protocol = owner
	if err := r.net.RouteAdd(route); err != nil {
		return fmt.Errorf("tun: route %v in table %d: %w", route.Dst, route.Table, err)
	}
	return nil
}

// prepare sets what the kernel needs to forward, and returns the MTU of the
// TUN devices, which exist.
func (r *routes) prepare() (mtu int, err error) {
	if err := r.sysctls(); err != nil {
		return 0, err
	}
	mtu = r.cfg.MTU
	if mtu == 0 {
		for i := range r.ways {
			mtu = max(mtu, r.ways[i].mtu)
		}
		mtu = min(mtu, 65521)
	}
	return mtu, r.each(func(l netlink.Link, _ int) error {
		if err := r.net.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("tun: MTU %d of %s: %w", mtu, l.Attrs().Name, err)
		}
		if err := r.net.LinkSetTxQLen(l, r.cfg.Queue); err != nil {
			return fmt.Errorf("tun: queue of %s: %w", l.Attrs().Name, err)
		}
		return nil
	})
}

// open brings the devices up and routes through them.
func (r *routes) open() error {
	return r.each(func(l netlink.Link, i int) error {
		if err := r.net.LinkSetUp(l); err != nil {
			return fmt.Errorf("tun: bring up %s: %w", l.Attrs().Name, err)
		}
		for _, family := range r.families {
			err := r.add(&netlink.Route{
				Family: family, Dst: everything(family), Table: r.far(i), LinkIndex: l.Attrs().Index, Priority: 1,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// suspend takes the devices down: their routes vanish, and what waits in their
// queues. A device that is gone already is no error.
func (r *routes) suspend() error {
	err := r.each(func(l netlink.Link, _ int) error { return r.net.LinkSetDown(l) })
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// each does something with every device.
func (r *routes) each(do func(l netlink.Link, i int) error) error {
	var errs []error
	for i := range r.ways {
		l, err := r.net.LinkByName(r.ways[i].device)
		if err == nil {
			err = do(l, i)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Clean removes the rules that routers have left in a namespace, given as in
// Config. The kernel may then forward as it likes: take its interfaces, or the
// namespace, away as well.
func Clean(namespace string) error {
	return inNamespace(namespace, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("tun: netlink: %w", err)
		}
		defer h.Close()
		return clean(h, []int{unix.AF_INET, unix.AF_INET6}, everyRule)
	})
}

// clean removes whatever has our mark.
func clean(h *netlink.Handle, families []int, which func(*netlink.Rule) bool) error {
	if err := cleanRules(h, families, which); err != nil {
		return err
	}
	for _, family := range families {
		found, err := h.RouteListFiltered(family, &netlink.Route{Protocol: owner, Table: unix.RT_TABLE_UNSPEC},
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("tun: list routes: %w", err)
		}
		for _, route := range found {
			if err := h.RouteDel(&route); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("tun: remove route %v: %w", route, err)
			}
		}
	}
	return nil
}

func cleanRules(h *netlink.Handle, families []int, which func(*netlink.Rule) bool) error {
	for _, family := range families {
		rules, err := h.RuleListFiltered(family, &netlink.Rule{Protocol: owner}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return fmt.Errorf("tun: list rules: %w", err)
		}
		for _, rule := range rules {
			if rule.Protocol != owner || !which(&rule) {
				continue
			}
			if err := h.RuleDel(&rule); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("tun: remove rule %d: %w", rule.Priority, err)
			}
		}
	}
	return nil
}

func everyRule(*netlink.Rule) bool { return true }

func of(family int, p netip.Prefix) bool { return p.Addr().Is4() == (family == unix.AF_INET) }

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: slices.Clone(p.Addr().AsSlice()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func everything(family int) *net.IPNet {
	if family == unix.AF_INET {
		return ipnet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return ipnet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}
