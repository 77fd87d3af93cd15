package netem

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/wan"
)

// inNamespace runs f on a thread of its own in a network namespace, given by
// its path; empty is the caller's.
func inNamespace(path string, f func() error) error {
	done := make(chan error)
	enter := func() error { return nil }
	if path != "" {
		enter = func() error {
			ns, err := netns.GetFromPath(path)
			if err != nil {
				return fmt.Errorf("netem: namespace %s: %w", path, err)
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return fmt.Errorf("netem: join namespace %s: %w", path, err)
			}
			return nil
		}
	}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with f
		if err := enter(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// send is how a request reaches the kernel: on the thread's namespace, for the
// device with an index.
func send(device int, r request) error {
	var err error
	switch r := r.(type) {
	case class:
		err = netlink.ClassReplace(netlink.NewHtbClass(
			netlink.ClassAttrs{LinkIndex: device, Parent: uint32(at(rootMajor, 0)), Handle: uint32(r.id)},
			netlink.HtbClassAttrs{Rate: 8 * unlimited, Quantum: quantum},
		))
	case bucket:
		err = netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device, Parent: uint32(r.parent), Handle: uint32(r.handle)},
			Rate:       r.rate, Buffer: r.ticks(), Limit: r.limit,
		})
	case delayer:
		req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
		req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(device), Parent: uint32(r.parent), Handle: uint32(r.handle)})
		req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("netem")))
		req.AddData(r.options())
		_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	default:
		err = fmt.Errorf("no such request: %T", r)
	}
	if err != nil {
		return fmt.Errorf("netem: %v: %w", r, err)
	}
	return nil
}

// Attributes of netem that the library does not name (linux/pkt_sched.h).
const (
	lossGE    = 2  // NETEM_LOSS_GE, within TCA_NETEM_LOSS
	latency64 = 10 // TCA_NETEM_LATENCY64: nanoseconds, since Linux 4.16
	jitter64  = 11 // TCA_NETEM_JITTER64
)

// options is struct tc_netem_qopt and the attributes behind it.
func (d delayer) options() *nl.RtAttr {
	opt := nl.TcNetemQopt{Limit: d.limit, Latency: ticksOf(int64(d.delay)), Jitter: ticksOf(int64(d.jitter))}
	if d.loss.Enter == 0 {
		opt.Loss = probability(d.loss.Good)
	}
	o := nl.NewRtAttr(nl.TCA_OPTIONS, opt.Serialize())
	// The ticks above are of 64 ns and of 32 bits; these are exact.
	o.AddRtAttr(latency64, nl.Uint64Attr(uint64(d.delay)))
	o.AddRtAttr(jitter64, nl.Uint64Attr(uint64(d.jitter)))
	if d.table != nil {
		b := make([]byte, 0, 2*len(d.table))
		for _, v := range d.table {
			b = binary.NativeEndian.AppendUint16(b, uint16(v))
		}
		o.AddRtAttr(nl.TCA_NETEM_DELAY_DIST, b)
	}
	if d.loss.Enter > 0 {
		g := gilbertElliott(d.loss)
		var b []byte
		for _, v := range []uint32{g.p, g.r, g.h, g.k1} {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		o.AddRtAttr(nl.TCA_NETEM_LOSS|unix.NLA_F_NESTED, nil).AddRtAttr(lossGE, b)
	}
	return o
}

func ticksOf(ns int64) uint32 { return uint32(min(ns/int64(tick), math.MaxUint32)) }

// nft runs a script of nftables, all of it or nothing.
func nft(script string) error {
	_, err := nftables(script, "-f", "-")
	return err
}

func nftables(stdin string, args ...string) ([]byte, error) {
	cmd := exec.Command("nft", args...) //nolint:noctx // ends by itself, and half of it would be worse
	cmd.Stdin = strings.NewReader(stdin)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("netem: nft: %w: %s", err, strings.TrimSpace(failure.String()))
	}
	return out.Bytes(), nil
}

// nftCounters returns the packets of our table's counters, by name.
func nftCounters() (map[string]uint64, error) {
	out, err := nftables("", "-j", "list", "counters", "table", "inet", tableName)
	if err != nil {
		return nil, err
	}
	var list struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("netem: counters: %w", err)
	}
	counts := map[string]uint64{}
	for _, e := range list.Nftables {
		if e.Counter != nil {
			counts[e.Counter.Name] = e.Counter.Packets
		}
	}
	return counts, nil
}

// linkCounters reads the totals of the classes' links.
func linkCounters(ifb netlink.Link, links [][2]string) ([]wan.Counters, error) {
	drops, err := nftCounters()
	if err != nil {
		return nil, err
	}
	classes, err := netlink.ClassList(ifb, netlink.HANDLE_NONE)
	if err != nil {
		return nil, fmt.Errorf("netem: classes: %w", err)
	}
	qdiscs, err := netlink.QdiscList(ifb)
	if err != nil {
		return nil, fmt.Errorf("netem: queueing disciplines: %w", err)
	}
	out := make([]wan.Counters, len(links))
	drop := func(i int, c wan.Cause, n uint64) {
		if n == 0 {
			return
		}
		if out[i].Dropped == nil {
			out[i].Dropped = map[wan.Cause]uint64{}
		}
		out[i].Dropped[c] += n
	}
	for i, l := range links {
		out[i].From, out[i].To = l[0], l[1]
		drop(i, wan.LinkDown, drops[downCounter(uint16(i+1))])
	}
	// of returns the link of a handle, if it is one of a major's.
	of := func(major, first uint32) (int, bool) {
		i := int(major) - int(first) - 1
		return i, i >= 0 && i < len(links)
	}
	for _, c := range classes {
		a := c.Attrs()
		i, ok := of(a.Handle&0xffff, 0)
		if a.Handle>>16 != rootMajor || !ok || a.Statistics == nil {
			continue
		}
		packets := uint64(a.Statistics.Basic.Packets)
		out[i].Packets = packets
		out[i].Bytes = a.Statistics.Basic.Bytes - min(a.Statistics.Basic.Bytes, ethernet*packets)
	}
	for _, q := range qdiscs {
		a := q.Attrs()
		if a.Statistics == nil {
			continue
		}
		if i, ok := of(a.Handle>>16, netemMajor); ok && a.Handle>>16 < rateMajor {
			drop(i, wan.Lost, uint64(a.Statistics.Queue.Drops))
		}
		if i, ok := of(a.Handle>>16, rateMajor); ok {
			drop(i, wan.QueueFull, uint64(a.Statistics.Queue.Drops))
		}
	}
	return out, nil
}

// redirect sends what leaves an interface through the ifb.
func redirect(index, ifb int) error {
	clsact := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(clsact); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("netem: clsact: %w", err)
	}
	filter := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: priority, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{netlink.NewMirredAction(ifb)},
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("netem: redirect to the ifb: %w", err)
	}
	return nil
}

// priority is our filter's; whoever has others in the same place keeps them.
const priority = 0xa7

// restore undoes redirect. An interface that is gone needs nothing.
func restore(index int) error {
	err := netlink.FilterDel(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: priority, Protocol: unix.ETH_P_ALL},
	})
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("netem: remove the redirection: %w", err)
	}
	return nil
}
