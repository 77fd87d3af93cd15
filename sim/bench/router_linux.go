package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan"
)

const roleTUN = "tun"

func init() { services[roleTUN] = func() any { return &Router{} } }

// Router is what the child with the engine does when asked; exported for
// net/rpc alone.
type Router struct {
	engine  *wan.Engine
	router  *tun.Router
	stop    context.CancelFunc
	ended   chan error
	profile *os.File
}

// OpenArgs says how to open it.
type OpenArgs struct {
	Ordinary bool   // without real-time scheduling
	Profile  string // a file for a CPU profile; may be empty
	Bare     bool   // only read and write, without the engine
}

// Open begins to forward between the two hosts, without delay.
func (r *Router) Open(args OpenArgs, note *string) error {
	var err error
	if r.engine, err = wan.New(pair(0), 1); err != nil {
		return err
	}
	r.router, err = tun.Open(tun.Config{
		Engine:      r.engine,
		Attachments: attachments(),
		Ordinary:    args.Ordinary,
	})
	if err != nil {
		return err
	}
	if args.Profile != "" {
		if r.profile, err = os.Create(args.Profile); err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(r.profile); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ended = stop, make(chan error, 1)
	run := r.router.Run
	if args.Bare {
		run = r.router.RunBare
	}
	go func() { r.ended <- run(ctx) }()
	*note, err = r.begun()
	tun.Trim() // as the process does that is a lab's router
	return err
}

// begun waits until the router runs, and tells what it was granted.
func (r *Router) begun() (string, error) {
	select {
	case <-r.router.Ready():
	case err := <-r.ended:
		r.ended <- err // for Close
		return "", errors.Join(errors.New("the router ended"), err)
	}
	report := r.router.Report()
	scheduling, awake := "SCHED_FIFO granted", "processors kept awake"
	if !report.Realtime {
		scheduling = "no SCHED_FIFO: " + report.RealtimeWhy
	}
	if !report.Awake {
		awake = "processors may sleep: " + report.AwakeWhy
	}
	return fmt.Sprintf("%s, spin %v; %s; super-packets: %s", scheduling, report.Spin, awake, strings.Join(report.Offloads, " ")), nil
}

// Delay sets the delay of both directions.
func (r *Router) Delay(oneWay time.Duration, _ *None) error {
	return r.router.Apply(context.Background(), pair(oneWay))
}

// LinkTimes is how long a policy took.
type LinkTimes struct{ Compile, Swap time.Duration }

// Links compiles a policy of many links by itself, then puts it in force (which
// compiles it too), and then the one before again.
func (r *Router) Links(links int, times *LinkTimes) error {
	p := many(links)
	start := time.Now()
	if _, err := p.Compile(); err != nil {
		return err
	}
	times.Compile = time.Since(start)
	start = time.Now()
	if err := r.router.Apply(context.Background(), p); err != nil {
		return err
	}
	times.Swap = time.Since(start)
	if got := len(r.engine.Policy().Links); got != links {
		return fmt.Errorf("%d links are in force, not %d", got, links)
	}
	err := r.router.Apply(context.Background(), pair(0))
	// What ten thousand links took, pages of the program included, is no part of
	// the next round's measurements.
	tun.Trim()
	return err
}

// Close ends it, when the benchmark has hung up.
func (r *Router) Close() error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	err := errors.Join(<-r.ended, r.router.Close())
	if r.profile != nil {
		pprof.StopCPUProfile()
		err = errors.Join(err, r.profile.Close())
	}
	return err
}

// attachments are those of a bed's router.
func attachments() []wan.Attachment {
	return []wan.Attachment{
		{Interface: routerDeviceA, Routes: []wan.AttachedRoute{{To: hostA.Masked()}}},
		{Interface: routerDeviceB, Routes: []wan.AttachedRoute{{To: hostB.Masked()}}},
	}
}

// pair is two clusters in two regions, with the same delay both ways.
func pair(oneWay time.Duration) wan.Policy {
	model := wan.LinkModel{OneWay: oneWay}
	return wan.Policy{
		Sites: []wan.Site{
			{Cluster: "a", Region: "ra", Prefixes: []netip.Prefix{hostA.Masked()}},
			{Cluster: "b", Region: "rb", Prefixes: []netip.Prefix{hostB.Masked()}},
		},
		Links:    []wan.Link{{From: "ra", To: "rb", LinkModel: model}, {From: "rb", To: "ra", LinkModel: model}},
		Peerings: []wan.Peering{{A: "a", B: "b"}},
	}
}

// many is pair with further regions, of one peered cluster each, so that there
// are as many links.
func many(links int) wan.Policy {
	p := pair(0)
	regions := 2
	for regions*(regions-1) < links {
		regions++
	}
	names := []string{"ra", "rb"}
	for i := len(names); i < regions; i++ {
		names = append(names, fmt.Sprintf("r%d", i))
	}
	for i := 2; i < regions; i++ {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100 + byte(i>>8), byte(i), 0}), 24)
		p.Sites = append(p.Sites, wan.Site{Cluster: fmt.Sprintf("c%d", i), Region: names[i], Prefixes: []netip.Prefix{prefix}})
	}
	for i := range regions {
		for j := range regions {
			if i == j || i+j == 1 || len(p.Links) == links {
				continue
			}
			p.Links = append(p.Links, wan.Link{From: names[i], To: names[j], LinkModel: wan.LinkModel{OneWay: time.Duration(i+j) * time.Millisecond}})
		}
	}
	return p
}
