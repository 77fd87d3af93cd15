package tun

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/atoll-dev/atoll/sim/wan/drivertest"
)

// TestCutAsTheKernel gives the kernel super-packets to forward to a device
// that takes none, and compares the packets that it makes with ours.
func TestCutAsTheKernel(t *testing.T) {
	drivertest.Require(t)
	ns := drivertest.NewNamespace(t)
	in, out := kernelRouter(t, ns)
	rapid.Check(t, func(t *rapid.T) {
		spec := genSuper(t)
		h, packet := spec.build()
		want := cutAll(t, h, forwarded(spec.six, packet))

		b := make([]byte, vnetSize+len(packet))
		h.write(b)
		copy(b[vnetSize:], packet)
		if e := in.write(b); e != 0 {
			t.Fatalf("the kernel refuses the super-packet: %v", e)
		}
		for i := range want {
			got, err := readWithin(out, 10*time.Second)
			if err != nil {
				t.Fatalf("packet %d of %d: %v", i, len(want), err)
			}
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("packet %d of %d: the kernel's\n%x\nours\n%x", i, len(want), got[:min(len(got), 80)], want[i][:min(len(want[i]), 80)])
			}
		}
	})
}

// forwarded is a packet one hop later.
func forwarded(six bool, packet []byte) []byte {
	b := bytes.Clone(packet)
	if six {
		b[7]--
		return b
	}
	b[8]--
	b[10], b[11] = 0, 0
	sum := ^fold(add(0, b[:20]))
	b[10], b[11] = byte(sum>>8), byte(sum)
	return b
}

// kernelRouter makes a namespace that forwards from one TUN device to another,
// which takes neither super-packets nor unfinished checksums.
func kernelRouter(t *testing.T, ns *drivertest.Namespace) (in, out *device) {
	t.Helper()
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := ns.Sysctl(name, "1"); err != nil {
			t.Fatal(err)
		}
	}
	err := ns.Do(func() (err error) {
		if in, _, err = openDevice("in"); err != nil {
			return err
		}
		if out, _, err = openDevice("out"); err != nil {
			return err
		}
		return unix.IoctlSetInt(out.fd, unix.TUNSETOFFLOAD, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.close(); out.close() })
	for _, d := range []struct {
		name     string
		prefixes []string
	}{{"in", []string{"10.1.0.0/24", "fd00:1::/64"}}, {"out", []string{"10.2.0.0/24", "fd00:2::/64"}}} {
		l, err := ns.Links.LinkByName(d.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := ns.Links.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.prefixes {
			if err := ns.Links.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipnet(netip.MustParsePrefix(p))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return in, out
}

// readWithin reads the next packet that is not the kernel's own talk, such as
// IPv6 router solicitations.
func readWithin(d *device, within time.Duration) ([]byte, error) {
	b, tail := make([]byte, 70000), make([]byte, 1)
	for deadline := time.Now().Add(within); ; {
		n, e := d.read(b, tail)
		switch {
		case e == 0 && n > vnetSize+20:
			if p := b[vnetSize:n]; p[0]>>4 == 4 || p[6] == protocolTCP || p[6] == protocolUDP {
				return p, nil
			}
		case e != unix.EAGAIN:
			return nil, fmt.Errorf("read: %d bytes, %w", n, e)
		case time.Now().After(deadline):
			return nil, os.ErrDeadlineExceeded
		default:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, int(within.Milliseconds()))
		}
	}
}
