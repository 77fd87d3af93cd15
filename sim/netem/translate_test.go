package netem

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/atoll-dev/atoll/sim/wan"
)

// TestTranslations holds what a policy asks of the kernel against files that
// can be read beside tc's and nft's manuals. The input is a policy as JSON.
// -rewrite writes the files anew.
func TestTranslations(t *testing.T) {
	datadriven.Walk(t, "testdata/policies", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var p wan.Policy
			dec := json.NewDecoder(strings.NewReader(d.Input))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&p); err != nil {
				d.Fatalf(t, "%v", err)
			}
			tr, err := translate(p, 1500, numbered())
			if err != nil {
				if !errors.Is(err, errors.ErrUnsupported) {
					d.Fatalf(t, "a refusal does not wrap errors.ErrUnsupported: %v", err)
				}
				return err.Error() + "\n"
			}
			var out strings.Builder
			switch d.Cmd {
			case "links":
				for _, r := range tr.requests(1500) {
					fmt.Fprintln(&out, r)
				}
			case "firewall":
				out.WriteString(tr.firewall(attachments(p), !d.HasArg("closed")))
			default:
				d.Fatalf(t, "no command %q", d.Cmd)
			}
			return out.String()
		})
	})
}

// numbered gives classes from 1 on.
func numbered() func(from, to string) uint16 {
	known := map[[2]string]uint16{}
	return func(from, to string) uint16 {
		key := [2]string{from, to}
		if _, ok := known[key]; !ok {
			known[key] = uint16(len(known) + 1)
		}
		return known[key]
	}
}

// attachments puts each cluster behind an interface of its name.
func attachments(p wan.Policy) []wan.Attachment {
	var out []wan.Attachment
	for _, s := range p.Sites {
		a := wan.Attachment{Interface: s.Cluster}
		for _, to := range s.Prefixes {
			a.Routes = append(a.Routes, wan.AttachedRoute{To: to})
		}
		out = append(out, a)
	}
	return out
}

func TestNormalTable(t *testing.T) {
	table := normalTable()
	var sum, squares float64
	for i, v := range table {
		x := float64(v) / tableScale
		sum += x
		squares += x * x
		if i > 0 && v < table[i-1] {
			t.Fatalf("entry %d is below the one before", i)
		}
	}
	mean, deviation := sum/tableSize, math.Sqrt(squares/tableSize)
	if math.Abs(mean) > 1e-3 || math.Abs(deviation-1) > 5e-3 {
		t.Errorf("mean %v, deviation %v; want 0 and 1", mean, deviation)
	}
	// Of iproute2's normal.dist: 68.27 % are within one deviation.
	within := 0
	for _, v := range table {
		if v >= -tableScale && v <= tableScale {
			within++
		}
	}
	if share := float64(within) / tableSize; math.Abs(share-.6827) > 1e-3 {
		t.Errorf("%v are within a deviation, want .6827", share)
	}
}

// What netem holds is enough for the delay at the rate, and bounded.
func TestNetemLimit(t *testing.T) {
	for _, c := range []struct {
		m    wan.LinkModel
		want uint32
	}{
		{wan.LinkModel{}, minHeld},
		{wan.LinkModel{OneWay: 1e6, RateBps: 1e6}, minHeld},
		{wan.LinkModel{OneWay: 100e6, RateBps: 100_000_000}, 24415},        // ten times 100 Mbit/s for 100 ms in packets of 512 bytes
		{wan.LinkModel{OneWay: 100e6}, 244141},                             // 10 Gbit/s
		{wan.LinkModel{OneWay: 100e6, RateBps: 5_000_000_000}, 244141},     // not more than that
		{wan.LinkModel{OneWay: 60e6, Jitter: 10e6, RateBps: 100e6}, 24415}, // four deviations more
		{wan.LinkModel{OneWay: 24 * 3600e9}, maxHeld},
	} {
		if got := netemLimit(&c.m); got != c.want {
			t.Errorf("%+v: %d packets, want %d", c.m, got, c.want)
		}
	}
}

// The kernel knows a bucket's depth by the time it takes: cut super-packets
// must neither pass whole nor may a whole packet not fit.
func TestBucketTicks(t *testing.T) {
	for _, b := range []bucket{
		{rate: unlimited, burst: 1500 + ethernet},
		{rate: unlimited, burst: 9000 + ethernet},
		{rate: unlimited, burst: superFrame},
		{rate: 1000, burst: 1514},
		{rate: 125_000_000, burst: 31250},
	} {
		depth := float64(b.rate) * float64(b.ticks()) * float64(tick) / 1e9
		if depth < float64(b.burst) || depth > 1.2*float64(b.burst)+256 {
			t.Errorf("%v: %d ticks are %v bytes", b, b.ticks(), depth)
		}
	}
}

func TestLossParameters(t *testing.T) {
	g := gilbertElliott(wan.LossModel{Good: .01, Bad: .75, Enter: .1, Leave: .5})
	near := func(name string, got uint32, want float64) {
		if math.Abs(float64(got)/math.MaxUint32-want) > 1e-9 {
			t.Errorf("%s is %d, %v of certain; want %v", name, got, float64(got)/math.MaxUint32, want)
		}
	}
	near("p", g.p, .1)
	near("r", g.r, .5)
	near("h", g.h, .25)
	near("k1", g.k1, .01)
	if probability(1) != math.MaxUint32 || probability(0) != 0 {
		t.Error("certain and never are not")
	}
}

func TestRoutesCutRanges(t *testing.T) {
	addr := netip.MustParseAddr
	r := wan.Range{First: addr("10.0.0.0"), Last: addr("10.0.255.255"), Cluster: "a"}
	got := cut([]wan.Range{r}, []wan.Route{
		{To: netip.MustParsePrefix("10.0.4.0/24")}, {To: netip.MustParsePrefix("10.0.0.0/8")}, {To: netip.MustParsePrefix("fd00::/8")},
		{To: netip.MustParsePrefix("255.255.255.255/32")},
	})
	var s []string
	for _, r := range got {
		s = append(s, span(r))
	}
	if want := "10.0.0.0-10.0.3.255 10.0.4.0-10.0.4.255 10.0.5.0-10.0.255.255"; strings.Join(s, " ") != want {
		t.Errorf("got %v, want %s", s, want)
	}
}
