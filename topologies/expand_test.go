package topologies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	top, err := Load("testdata/valid/five-regions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range top.Cluster("iad").Expand() {
		got = append(got, fmt.Sprintf("%d %s %s %s", n.Index, n.Name, n.Region, n.Zone))
	}
	want := []string{
		"0 control-plane iad ", "1 control-plane-2 iad ", "2 control-plane-3 iad ",
		"3 worker-1 iad ", "4 worker-2 iad ", "5 worker-3 iad ", "6 worker-4 pdx b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes: -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fra", "iad", "pdx", "syd", "gru"}, top.Regions()); diff != "" {
		t.Errorf("regions: -want +got\n%s", diff)
	}
	if !top.Peered("gru", "ctl") || top.Peered("fra", "gru") {
		t.Error("peered pairs are not those of the list")
	}
}

func TestDirectedLinks(t *testing.T) {
	top, err := Load("testdata/valid/five-regions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range top.DirectedLinks() {
		got = append(got, fmt.Sprintf("%s→%s %v %v %v %v implicit=%v", l.From, l.To, l.Latency, l.Loss.Ratio, l.Rate, l.Queue, l.Implicit))
	}
	want := []string{
		"fra→iad 45ms 0% 0bit 100ms implicit=false",
		"iad→fra 45ms 0% 0bit 100ms implicit=false",
		"fra→pdx 70ms 0% 0bit 50ms implicit=false",
		"pdx→fra 70ms 0% 0bit 50ms implicit=false",
		"iad→pdx 33ms 0% 1500Mbit 100ms implicit=false",
		"pdx→iad 33ms 0% 1500Mbit 100ms implicit=false",
		"fra→syd 141ms 25% 0bit 100ms implicit=false",
		"syd→fra 120ms 0% 500kbit 100ms implicit=false",
		"fra→gru 100ms 2% 0bit 100ms implicit=false",
		"gru→fra 100ms 2% 0bit 100ms implicit=false",
		"fra→fra 500µs 0% 0bit 100ms implicit=false",
		"iad→iad 250µs 0% 0bit 100ms implicit=true",
		"pdx→pdx 250µs 0% 0bit 100ms implicit=true",
		"syd→syd 250µs 0% 0bit 100ms implicit=true",
		"gru→gru 250µs 0% 0bit 100ms implicit=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPeeredPairs(t *testing.T) {
	top := &Topology{Spec: Spec{Clusters: []Cluster{{Name: "a"}, {Name: "b"}, {Name: "c"}}}}
	for _, c := range []struct {
		peering Peering
		want    [][2]string
	}{
		{Peering{Mode: Mesh}, [][2]string{{"a", "b"}, {"a", "c"}, {"b", "c"}}},
		{Peering{Mode: Star, Hub: "b"}, [][2]string{{"b", "a"}, {"b", "c"}}},
		{Peering{Mode: List, Peerings: []Peer{{Between: []string{"c", "a"}}}}, [][2]string{{"c", "a"}}},
	} {
		top.Spec.WAN.Peering = c.peering
		if diff := cmp.Diff(c.want, top.PeeredPairs()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.peering.Mode, diff)
		}
	}
}

// TestAssignedRangesNeverOverlap is the law of cidrs.go, whatever is given.
func TestAssignedRangesNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clusters := make([]Cluster, rapid.IntRange(1, 120).Draw(t, "clusters"))
		for i := range clusters {
			clusters[i].Nodes = []NodeGroup{{Role: Worker, Count: rapid.IntRange(1, 9).Draw(t, "nodes")}}
		}
		// Some ranges are given, apart from each other, in 10.x.y.0/20.
		var given []netip.Prefix
		for range rapid.IntRange(0, 6).Draw(t, "given") {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "second"), rapid.Byte().Draw(t, "third")}), 20).Masked()
			if apart(p, given) {
				given = append(given, p)
				clusters[rapid.IntRange(0, len(clusters)-1).Draw(t, "at")].CIDRs.Services = Prefix{p}
			}
		}
		before := fmt.Sprint(clusters)
		if full := assignCIDRs(clusters); full != nil {
			t.Fatalf("no room for %v", full)
		}
		var taken []netip.Prefix
		for i, c := range clusters {
			for _, p := range []Prefix{c.CIDRs.Nodes, c.CIDRs.Pods, c.CIDRs.Services} {
				if !p.IsValid() || p.Masked() != p.Prefix || !private.Overlaps(p.Prefix) {
					t.Fatalf("cluster %d has %v\nof %s", i, p, before)
				}
				if !apart(p.Prefix, taken) {
					t.Fatalf("cluster %d: %v overlaps an earlier range\nof %s", i, p, before)
				}
				taken = append(taken, p.Prefix)
			}
			n := nodeCount(c)
			if room := 1 << (32 - c.CIDRs.Nodes.Bits()); room < nodesRoom(n) {
				t.Fatalf("cluster %d: %v has no room for %d nodes", i, c.CIDRs.Nodes, n)
			}
			if NodePodsBits(c.CIDRs.Pods.Prefix, n) > minNodePodsBits {
				t.Fatalf("cluster %d: %v has no room for the pods of %d nodes", i, c.CIDRs.Pods, n)
			}
		}
	})
}

func apart(p netip.Prefix, taken []netip.Prefix) bool {
	return !slices.ContainsFunc(taken, p.Overlaps)
}

func TestManyClusters(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: atoll.dev/v1alpha1\nkind: Topology\nmetadata: {name: many}\nspec:\n  clusters:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {name: c%d, region: r}\n", i)
	}
	start := time.Now()
	top, err := Parse("many.yaml", []byte(b.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d clusters in %s", len(top.Spec.Clusters), time.Since(start))
	seen := map[string]bool{}
	for _, c := range top.Spec.Clusters {
		for _, p := range []Prefix{c.CIDRs.Nodes, c.CIDRs.Pods, c.CIDRs.Services} {
			if seen[p.String()] {
				t.Fatalf("%v is given twice", p)
			}
			seen[p.String()] = true
		}
	}
}
