package wan

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRangesAreWhereTheSitesAre(t *testing.T) {
	prefixes := func(ps ...string) (out []netip.Prefix) {
		for _, p := range ps {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	p := Policy{Sites: []Site{
		{"eu", "west", prefixes("10.1.0.0/16", "10.2.0.0/16", "fd00:1::/32")},
		{"eu", "east", prefixes("10.1.4.0/24")},
		{"us", "east", prefixes("255.255.255.0/24", "ffff::/16")},
	}}
	table, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range table.Ranges() {
		got = append(got, r.First.String()+" "+r.Last.String()+" "+r.Cluster+"/"+r.Region)
		for _, a := range []netip.Addr{r.First, r.Last} {
			if c, region, ok := table.Site(a); !ok || c != r.Cluster || region != r.Region {
				t.Errorf("%v is in %s/%s, not in %s/%s", a, c, region, r.Cluster, r.Region)
			}
		}
	}
	want := []string{
		"10.1.0.0 10.1.3.255 eu/west",
		"10.1.4.0 10.1.4.255 eu/east",
		"10.1.5.0 10.2.255.255 eu/west",
		"255.255.255.0 255.255.255.255 us/east",
		"fd00:1:: fd00:1:ffff:ffff:ffff:ffff:ffff:ffff eu/west",
		"ffff:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff us/east",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
