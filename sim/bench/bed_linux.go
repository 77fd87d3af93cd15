package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// The addresses of a bed; every bed has the same, for none sees another.
var (
	hostA   = netip.MustParsePrefix("10.91.0.2/24")
	hostB   = netip.MustParsePrefix("10.92.0.2/24")
	routerA = netip.MustParsePrefix("10.91.0.1/24") // towards a
	routerB = netip.MustParsePrefix("10.92.0.1/24")
)

// Device names: in a host, and in the router towards each host.
const (
	hostDevice    = "eth0"
	routerDeviceA = "to-a"
	routerDeviceB = "to-b"
)

// The hosts' socket buffers may grow this large, in their own namespaces: a
// window of 50 ms at 5 Gbit/s is 31 MB, and the kernel counts overhead too.
const (
	receiveBuffers = "4096 131072 134217728"
	sendBuffers    = "4096 65536 134217728"
)

// bed is two hosts and a router.
type bed struct {
	nsA, nsB, router *namespace
	a, b             *child // hosts; see hostService
}

func newBed(ctx context.Context) (_ *bed, err error) {
	bed := &bed{}
	defer func() {
		if err != nil {
			bed.close()
		}
	}()
	for _, ns := range []**namespace{&bed.nsA, &bed.nsB, &bed.router} {
		if *ns, err = newNamespace(); err != nil {
			return nil, err
		}
	}
	if err = bed.wire(); err != nil {
		return nil, err
	}
	for _, ns := range []*namespace{bed.nsA, bed.nsB} {
		if err = ns.sysctl("net/ipv4/tcp_rmem", receiveBuffers); err != nil {
			return nil, err
		}
		if err = ns.sysctl("net/ipv4/tcp_wmem", sendBuffers); err != nil {
			return nil, err
		}
		// Nothing is remembered of an earlier stream's path.
		if err = ns.sysctl("net/ipv4/tcp_no_metrics_save", "1"); err != nil {
			return nil, err
		}
	}
	if bed.a, err = startChild(ctx, bed.nsA, roleHost); err != nil {
		return nil, err
	}
	if bed.b, err = startChild(ctx, bed.nsB, roleHost); err != nil {
		return nil, err
	}
	return bed, nil
}

// wire joins the three namespaces and gives the hosts their way out.
func (bed *bed) wire() error {
	sides := []struct {
		host          *namespace
		device        string
		address, gate netip.Prefix
	}{
		{bed.nsA, routerDeviceA, hostA, routerA},
		{bed.nsB, routerDeviceB, hostB, routerB},
	}
	for _, s := range sides {
		err := bed.router.do(func() error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = s.device
			pair := &netlink.Veth{LinkAttrs: attrs, PeerName: hostDevice, PeerNamespace: netlink.NsFd(int(s.host.file.Fd()))}
			if err := netlink.LinkAdd(pair); err != nil {
				return fmt.Errorf("make a veth pair: %w", err)
			}
			return errors.Join(raise("lo"), address(s.device, s.gate), raise(s.device))
		})
		if err != nil {
			return err
		}
		err = s.host.do(func() error {
			err := errors.Join(raise("lo"), address(hostDevice, s.address), raise(hostDevice))
			if err != nil {
				return err
			}
			return netlink.RouteAdd(&netlink.Route{Gw: s.gate.Addr().AsSlice()})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// raise and address act on a device of the calling thread's namespace.
func raise(device string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return netlink.LinkSetUp(link)
}

func address(device string, p netip.Prefix) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}})
}

// arrivedAtB is what b's device has counted so far. A super-packet is one packet.
func (bed *bed) arrivedAtB() (packets, bytes uint64, err error) {
	err = bed.nsB.do(func() error {
		link, err := netlink.LinkByName(hostDevice)
		if err != nil {
			return err
		}
		s := link.Attrs().Statistics
		packets, bytes = s.RxPackets, s.RxBytes
		return nil
	})
	return packets, bytes, err
}

// close stops the hosts and lets the namespaces go.
func (bed *bed) close() {
	for _, c := range []*child{bed.a, bed.b} {
		if c != nil {
			c.stop()
		}
	}
	for _, ns := range []*namespace{bed.nsA, bed.nsB, bed.router} {
		if ns != nil {
			ns.close()
		}
	}
}
