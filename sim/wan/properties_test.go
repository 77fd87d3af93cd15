package wan

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(0, 0)

// twoSites is one link each way, with the model in one direction.
func twoSites(m LinkModel) Policy {
	prefixes := func(of ...string) (out []netip.Prefix) {
		for _, p := range of {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	return Policy{
		Sites: []Site{
			{"a", "ra", prefixes("10.1.0.0/16", "fd01::/32")},
			{"b", "rb", prefixes("10.2.0.0/16", "fd02::/32")},
		},
		Links:    []Link{{From: "ra", To: "rb", LinkModel: m}, {From: "rb", To: "ra", LinkModel: LinkModel{OneWay: time.Millisecond}}},
		Peerings: []Peering{{A: "a", B: "b"}},
	}
}

func udp(size int) []byte {
	return spec{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, sport: 1, dport: 2, payload: size}.build()
}

func udp6(size int) []byte {
	return spec{src: "fd01::1", dst: "fd02::1", proto: UDP, sport: 1, dport: 2, payload: size}.build()
}

func must(t interface{ Fatal(...any) }, p Policy, seed uint64) *Engine {
	e, err := New(p, seed)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func drawModel(t *rapid.T) LinkModel {
	p := rapid.Float64Range(0, 1)
	m := LinkModel{
		OneWay:  time.Duration(rapid.Int64Range(0, 200e6).Draw(t, "delay")),
		Jitter:  time.Duration(rapid.Int64Range(0, 50e6).Draw(t, "jitter")),
		Reorder: rapid.Bool().Draw(t, "reorder"),
		Loss:    LossModel{p.Draw(t, "good"), p.Draw(t, "bad"), p.Draw(t, "enter"), p.Draw(t, "leave")},
		RateBps: rapid.SampledFrom([]uint64{0, 1, 1e6, 1e9, math.MaxUint64}).Draw(t, "rate"),
		Shape:   Shape(rapid.IntRange(0, int(numShapes)-1).Draw(t, "shape")),
		Corrupt: rapid.SampledFrom([]float64{0, .5, 1}).Draw(t, "corrupt"),
	}
	if rapid.Bool().Draw(t, "queue in bytes") {
		m.QueueBytes = rapid.Uint64Range(1, 100_000).Draw(t, "queue")
	} else {
		m.Queue = time.Duration(rapid.Int64Range(0, 300e6).Draw(t, "queue"))
	}
	m.Duplicate = rapid.SampledFrom([]float64{0, 0, .5, 1}).Draw(t, "duplicate")
	return m
}

// Equal seeds, packets and times give equal verdicts; and a link's do not
// depend on what happens on another.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := twoSites(drawModel(t))
		p.Links[1].Loss.Good = 0.5
		seed := rapid.Uint64().Draw(t, "seed")
		back := spec{src: "10.2.0.1", dst: "10.1.0.1", proto: UDP, sport: 2, dport: 1}.build()
		run := func(noise bool) []Verdict {
			e := must(t, p, seed)
			var out []Verdict
			now := epoch
			for i := range 50 {
				now = now.Add(time.Duration(i) * time.Millisecond)
				out = append(out, e.Send(now, udp(i)))
				if noise {
					e.Send(now, back)
				}
			}
			return out
		}
		quiet := run(false)
		if !reflect.DeepEqual(quiet, run(false)) {
			t.Fatal("the same twice differs")
		}
		if !reflect.DeepEqual(quiet, run(true)) {
			t.Fatal("traffic the other way changes the outcome")
		}
	})
}

func TestSeedsDiffer(t *testing.T) {
	outcome := func(seed uint64) (s string) {
		e := must(t, twoSites(LinkModel{Loss: LossModel{Good: .5}}), seed)
		for range 64 {
			s += e.Send(epoch, udp(0)).Cause.String()[:1]
		}
		return s
	}
	if outcome(1) == outcome(2) {
		t.Error("seeds 1 and 2 lose the same packets")
	}
}

// Loss and the lengths of its bursts are the model's, within 5 standard
// errors; the seeds are fixed, so this passes always or never.
func TestLossStatistics(t *testing.T) {
	const n = 200_000
	for _, m := range []LossModel{
		{Good: 0.01},
		{Good: 0.3},
		{Bad: 1, Enter: 0.01, Leave: 0.25},
		{Good: 0.001, Bad: 0.5, Enter: 0.002, Leave: 0.05},
		{Good: 1},
	} {
		t.Run(fmt.Sprintf("%+v", m), func(t *testing.T) {
			e := must(t, twoSites(LinkModel{Loss: m}), 7)
			lost, bursts, inBurst := 0, 0, false
			for range n {
				gone := e.Send(epoch, udp(0)).Cause == Lost
				if gone {
					lost++
					if !inBurst {
						bursts++
					}
				}
				inBurst = gone
			}
			want := m.Ratio()
			got := float64(lost) / n
			// Bursts correlate packets: the variance grows by the memory of the chain.
			spread := 1.0
			if m.Enter > 0 {
				spread = math.Sqrt(1 + 2*(1-m.Enter-m.Leave)/(m.Enter+m.Leave))
			}
			if margin := 5 * spread * math.Sqrt(want*(1-want)/n); math.Abs(got-want) > margin {
				t.Errorf("lost %.5f, want %.5f ± %.5f", got, want, margin)
			}
			if m.Bad == 1 && m.Good == 0 { // pure bursts: geometric, mean 1/Leave
				mean, want := float64(lost)/float64(bursts), 1/m.Leave
				if margin := 5 * math.Sqrt(1-m.Leave) / m.Leave / math.Sqrt(float64(bursts)); math.Abs(mean-want) > margin {
					t.Errorf("bursts of %.3f, want %.3f ± %.3f", mean, want, margin)
				}
			}
		})
	}
}

// A transmitter shared by direct traffic and traffic in transit, which comes
// in no order of arrival, never sends two packets at once.
func TestTransmitterIsTakenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLink(1, "a", "b")
		m := &LinkModel{RateBps: 8e6, Queue: time.Second}
		now := epoch
		var sent []interval
		for range rapid.IntRange(1, 100).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 2e6).Draw(t, "gap")))
			arrives := now.Add(time.Duration(rapid.SampledFrom([]int64{0, 0, 3e6, 20e6}).Draw(t, "transit")))
			size := rapid.IntRange(1, 3000).Draw(t, "size")
			end, cause := l.serialise(m, now, arrives, size)
			if cause != Delivered {
				continue
			}
			takes := transmission(size, m.RateBps)
			if end.Add(-takes).Before(arrives) {
				t.Fatal("sent before it arrived")
			}
			sent = append(sent, interval{end.Add(-takes), end})
		}
		slices.SortFunc(sent, func(a, b interval) int { return a.from.Compare(b.from) })
		for i := 1; i < len(sent); i++ {
			if sent[i].from.Before(sent[i-1].to) {
				t.Fatalf("%v and %v overlap", sent[i-1], sent[i])
			}
		}
	})
}

// The flattened prefixes give what trying each prefix gives.
func TestLongestPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		six := rapid.Bool().Draw(t, "six")
		addr := func(label string) netip.Addr {
			// Few bits vary, so that prefixes nest and meet; first and last
			// addresses of the family are among them.
			if six {
				b := [16]byte{}
				v := rapid.SampledFrom([]byte{0, 0x20, 0xff}).Draw(t, label)
				for i := range b {
					b[i] = v
				}
				b[15] = rapid.Byte().Draw(t, label+" low")
				b[7] = rapid.SampledFrom([]byte{0, 1, 0xff}).Draw(t, label+" mid")
				return netip.AddrFrom16(b)
			}
			return netip.AddrFrom4([4]byte{
				rapid.SampledFrom([]byte{0, 10, 255}).Draw(t, label), rapid.SampledFrom([]byte{0, 1, 255}).Draw(t, label+" second"),
				0, rapid.Byte().Draw(t, label+" low"),
			})
		}
		var all []sitePrefix
		seen := map[netip.Prefix]bool{}
		for i := range rapid.IntRange(0, 12).Draw(t, "prefixes") {
			a := addr("prefix")
			p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
			if !seen[p] {
				seen[p] = true
				all = append(all, sitePrefix{p, int32(i)})
			}
		}
		s := flatten(slices.Clone(all))
		for range 20 {
			a := addr("address")
			want, bits := int32(-1), -1
			for _, p := range all {
				if p.prefix.Contains(a) && p.prefix.Bits() > bits {
					want, bits = p.site, p.prefix.Bits()
				}
			}
			if got := s.find(numberOf(a)); got != want {
				t.Fatalf("%v: got site %d, want %d of %v", a, got, want, all)
			}
		}
	})
}

// The table of flows is bounded: a flood drops the oldest, not the engine.
func TestFlowsAreBounded(t *testing.T) {
	p := twoSites(LinkModel{})
	p.Rules = []Rule{{From: "a", To: "b", Ports: []Port{{TCP, 443}}}, {From: "b", To: "a"}}
	e := must(t, p, 1)
	now := epoch
	for i := range 2 * flowShards * flowsPerShard {
		now = now.Add(time.Microsecond)
		e.Send(now, spec{src: fmt.Sprintf("10.1.%d.%d", i>>8&255, i&255), dst: "10.2.0.1", proto: TCP, sport: uint16(i >> 4), dport: 443, flags: tcpSYN}.build())
	}
	total := 0
	for i := range e.flows.shards {
		n := len(e.flows.shards[i].known)
		if n > flowsPerShard {
			t.Errorf("shard %d holds %d", i, n)
		}
		total += n
	}
	if total < flowShards*flowsPerShard/2 {
		t.Errorf("only %d flows: the shards are uneven", total)
	}
	// The newest flow is known, the first is forgotten.
	i := 2*flowShards*flowsPerShard - 1
	reply := func(i int) Verdict {
		return e.Send(now, spec{src: "10.2.0.1", dst: fmt.Sprintf("10.1.%d.%d", i>>8&255, i&255), proto: TCP, sport: 443, dport: uint16(i >> 4), flags: tcpSYN | tcpACK}.build())
	}
	if v := reply(i); v.Cause != Delivered {
		t.Errorf("the newest flow: %v", v.Cause)
	}
	if v := reply(0); v.Cause != Denied {
		t.Errorf("the oldest flow: %v", v.Cause)
	}
}

// Policies are swapped while packets flow; no packet is lost to it and none
// is counted twice. Run with -race this is a test of the locking.
func TestSwapWhilePacketsFlow(t *testing.T) {
	open := twoSites(LinkModel{OneWay: time.Millisecond, Jitter: time.Microsecond})
	ruled := open
	ruled.Rules = []Rule{{From: "a", To: "b", Ports: []Port{{UDP, 2}}}, {From: "b", To: "a"}}
	e := must(t, open, 1)
	const senders, each = 4, 2000
	var wg sync.WaitGroup
	for s := range senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(1, uint64(s)))
			for i := range each {
				now := epoch.Add(time.Duration(i) * time.Microsecond)
				if v := e.Send(now, udp(rng.IntN(100))); v.Cause != Delivered {
					t.Errorf("dropped: %v", v.Cause)
					return
				}
			}
		}()
	}
	for i := range 200 {
		if err := e.Swap([]Policy{open, ruled}[i%2]); err != nil {
			t.Fatal(err)
		}
		e.Counters()
		e.Pairs()
	}
	wg.Wait()
	if got := e.Counters()[0].Packets; got != senders*each {
		t.Errorf("counted %d packets of %d", got, senders*each)
	}
}

func TestCauseText(t *testing.T) {
	in := Counters{From: "a", To: "b", Dropped: map[Cause]uint64{Lost: 3, QueueFull: 1}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"From":"a","To":"b","Packets":0,"Bytes":0,"Dropped":{"lost":3,"queue-full":1},"QueueMax":0,"Queued":0}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var out Counters
	if err := json.Unmarshal(text, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("came back as %+v (%v)", out, err)
	}
	if _, err := json.Marshal(Cause(99)); err == nil {
		t.Error("cause 99 was written")
	}
	var c Cause
	if err := c.UnmarshalText([]byte("tired")); err == nil {
		t.Error("cause tired was read")
	}
}
