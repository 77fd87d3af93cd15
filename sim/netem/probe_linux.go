package netem

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Probe tells whether this machine can run the driver, by asking its kernel for
// each thing the driver needs, in a network namespace that vanishes at once.
// The error says what is missing and what would mend it; it wraps ErrMissing.
func Probe() error {
	if _, err := exec.LookPath("nft"); err != nil {
		return fmt.Errorf("%w: no nft command: install nftables", ErrMissing)
	}
	return probe(send)
}

// probe asks with send.
func probe(send func(device int, r request) error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and the namespace with it
		done <- ask(send)
	}()
	return <-done
}

func ask(send func(device int, r request) error) error {
	ns, err := netns.New()
	if err != nil {
		return fmt.Errorf("%w: may not make a network namespace (%w): run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN", ErrMissing, err)
	}
	defer ns.Close()
	ifb := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: device}}
	if err := netlink.LinkAdd(ifb); err != nil {
		return missing("IFB devices", "ifb", err)
	}
	root := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: ifb.Index, Handle: uint32(at(rootMajor, 0)), Parent: netlink.HANDLE_ROOT})
	if err := netlink.QdiscReplace(root); err != nil {
		return missing("HTB", "sch_htb", err)
	}
	for _, step := range []struct {
		what, module string
		r            request
	}{
		{"HTB classes", "sch_htb", class{at(rootMajor, 1)}},
		{"TBF", "sch_tbf", bucket{parent: at(rootMajor, 1), handle: at(cutMajor+1, 0), rate: unlimited, burst: superFrame, limit: superFrame}},
		{"netem", "sch_netem", delayer{parent: at(cutMajor+1, 1), handle: at(netemMajor+1, 0), limit: minHeld}},
	} {
		if err := send(ifb.Index, step.r); err != nil {
			return missing(step.what, step.module, err)
		}
	}
	if err := redirect(ifb.Index, ifb.Index); err != nil {
		return missing("clsact with u32 and mirred", "sch_ingress, cls_u32 and act_mirred", err)
	}
	if err := nft(probeTable); err != nil {
		return missing("nftables with conntrack", "nf_tables and nf_conntrack", err)
	}
	return nil
}

// probeTable uses what firewall uses.
const probeTable = `table inet ` + tableName + ` {
  counter denied {}
  chain link { meta priority set 1:1 accept; }
  chain site { ip daddr vmap { 10.0.0.0-10.0.0.255 : goto link }; ct state established,related goto link; counter name denied drop; }
  chain forward { type filter hook forward priority filter; policy accept; iifname { "a" } goto site; }
}
`

// missing says what the kernel lacks. It has no other word for a module that
// is not there than "no such file".
func missing(what, module string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: this kernel has no %s: modprobe %s, or a kernel with it (linux-modules-extra on Ubuntu)", ErrMissing, what, module)
	}
	return fmt.Errorf("%w: %s: %w", ErrMissing, what, err)
}
