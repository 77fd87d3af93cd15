package netem

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/wan"
)

// device is the IFB's name; there is one driver per namespace.
const device = "atoll-wan"

// owner marks our routes (rtm_protocol), as in sim/tun.
const owner = 0xa8

// Driver is a router whose kernel does the work.
type Driver struct {
	cfg  Config
	mtu  int
	send func(device int, r request) error // the tests' kernel has no netem

	mu     sync.Mutex
	now    *translation
	links  [][2]string // of the classes, from 1 on
	open   bool        // traffic crosses
	closed bool
}

var _ wan.Driver = (*Driver)(nil)

// Open makes the driver; nothing crosses before Run. What an earlier driver
// has left in the namespace is replaced.
func Open(cfg Config) (*Driver, error) { return open(cfg, send) }

func open(cfg Config, send func(int, request) error) (*Driver, error) {
	d := &Driver{cfg: cfg, send: send}
	err := inNamespace(cfg.Namespace, d.prepare)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// prepare shuts the router, and only then lets it forward.
func (d *Driver) prepare() error {
	for _, a := range d.cfg.Attachments {
		l, err := netlink.LinkByName(a.Interface)
		if err != nil {
			return fmt.Errorf("netem: attachment %s: %w", a.Interface, err)
		}
		d.mtu = max(d.mtu, l.Attrs().MTU)
	}
	if err := removeDevice(); err != nil {
		return err
	}
	t, err := translate(d.cfg.Policy, d.mtu, d.classOf)
	if err != nil {
		return err
	}
	if err := nft(t.firewall(d.cfg.Attachments, false)); err != nil {
		return err
	}
	if err := d.makeDevice(); err != nil {
		return err
	}
	if err := d.shape(t); err != nil {
		return err
	}
	d.now = t
	if err := d.routes(); err != nil {
		return err
	}
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		file := filepath.Join("/proc/sys/net", name)
		if err := os.WriteFile(file, []byte("1"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("netem: forwarding: %w", err)
		}
	}
	return nil
}

// classOf numbers links, for as long as the driver lives.
func (d *Driver) classOf(from, to string) uint16 {
	for i, l := range d.links {
		if l == [2]string{from, to} {
			return uint16(i + 1)
		}
	}
	if len(d.links) >= maxLinks {
		return maxLinks // translate counts them and refuses
	}
	d.links = append(d.links, [2]string{from, to})
	return uint16(len(d.links))
}

func (d *Driver) makeDevice() error {
	ifb := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: device, TxQLen: 1000, MTU: d.mtu}}
	if err := netlink.LinkAdd(ifb); err != nil {
		return fmt.Errorf("netem: make an IFB: %w", err)
	}
	root := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: ifb.Index, Handle: uint32(at(rootMajor, 0)), Parent: netlink.HANDLE_ROOT})
	if err := netlink.QdiscReplace(root); err != nil {
		return fmt.Errorf("netem: htb: %w", err)
	}
	return nil
}

// shape asks for what the links of a translation need.
func (d *Driver) shape(t *translation) error {
	ifb, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("netem: %s: %w", device, err)
	}
	for _, r := range t.requests(d.mtu) {
		if err := d.send(ifb.Attrs().Index, r); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) routes() error {
	for _, a := range d.cfg.Attachments {
		l, err := netlink.LinkByName(a.Interface)
		if err != nil {
			return fmt.Errorf("netem: attachment %s: %w", a.Interface, err)
		}
		for _, to := range a.Routes {
			r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipnet(to.To), Protocol: owner, Scope: netlink.SCOPE_LINK}
			if to.Via.IsValid() {
				r.Gw, r.Scope = to.Via.AsSlice(), netlink.SCOPE_UNIVERSE
				r.SetFlag(netlink.FLAG_ONLINK)
			}
			if to.To.Addr().Is6() {
				r.Scope = netlink.SCOPE_UNIVERSE
			}
			if err := netlink.RouteReplace(r); err != nil {
				return fmt.Errorf("netem: %v behind %s: %w", to.To, a.Interface, err)
			}
		}
	}
	return nil
}

// Apply puts a policy in force. The links change in place and first, then all
// verdicts at once.
func (d *Driver) Apply(_ context.Context, p wan.Policy) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, err := translate(p, d.mtu, d.classOf)
	if err != nil {
		return err
	}
	return inNamespace(d.cfg.Namespace, func() error {
		put := func(t *translation) error {
			if err := d.shape(t); err != nil {
				return err
			}
			return nft(t.firewall(d.cfg.Attachments, d.open))
		}
		if err := put(t); err != nil {
			return errors.Join(err, put(d.now))
		}
		d.now = t
		return nil
	})
}

// Counters reads the kernel's.
func (d *Driver) Counters() (cs []wan.Counters, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err = inNamespace(d.cfg.Namespace, func() error {
		ifb, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("netem: %s: %w", device, err)
		}
		cs, err = linkCounters(ifb, d.links)
		return err
	})
	return cs, err
}

// Run lets traffic cross until ctx is done.
func (d *Driver) Run(ctx context.Context) error {
	if err := d.cross(true); err != nil {
		return errors.Join(err, d.cross(false))
	}
	<-ctx.Done()
	return d.cross(false)
}

// cross opens or shuts the router. Shut, what waits in the links is thrown
// away with the device's queues, and local traffic no longer goes through it.
func (d *Driver) cross(open bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	return inNamespace(d.cfg.Namespace, func() error {
		ifb, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("netem: %s: %w", device, err)
		}
		if open {
			if err := netlink.LinkSetUp(ifb); err != nil {
				return fmt.Errorf("netem: bring up %s: %w", device, err)
			}
			err := d.each(func(index int) error { return redirect(index, ifb.Attrs().Index) })
			if err != nil {
				return err
			}
			d.open = true
			return nft(d.now.firewall(d.cfg.Attachments, true))
		}
		d.open = false
		return errors.Join(
			nft(d.now.firewall(d.cfg.Attachments, false)),
			d.each(restore),
			netlink.LinkSetDown(ifb),
		)
	})
}

// each does something with every attached interface, once.
func (d *Driver) each(do func(index int) error) error {
	done := map[string]bool{}
	var errs []error
	for _, a := range d.cfg.Attachments {
		if done[a.Interface] {
			continue
		}
		done[a.Interface] = true
		l, err := netlink.LinkByName(a.Interface)
		if err == nil {
			err = do(l.Attrs().Index)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close takes the links away. The table that lets only local traffic pass
// stays, so that networks stay apart; Clean removes it too.
func (d *Driver) Close() error {
	if !d.closed && d.open {
		if err := d.cross(false); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return inNamespace(d.cfg.Namespace, removeDevice)
}

func removeDevice() error {
	l, err := netlink.LinkByName(device)
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("netem: remove %s: %w", device, err)
	}
	return nil
}

// Clean removes whatever a driver has left in a namespace, given as in Config.
// The kernel may then forward as it likes.
func Clean(namespace string) error {
	return inNamespace(namespace, func() error {
		errs := []error{removeDevice(), nft("table inet " + tableName + " {}\ndelete table inet " + tableName + "\n")}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			routes, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: owner}, netlink.RT_FILTER_PROTOCOL)
			errs = append(errs, err)
			for _, r := range routes {
				if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
					errs = append(errs, fmt.Errorf("netem: remove route %v: %w", r.Dst, err))
				}
			}
		}
		return errors.Join(errs...)
	})
}

func ipnet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
