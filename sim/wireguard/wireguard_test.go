package wireguard

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/wan"
)

// world is two machines, with a pod each, 30 ms apart.
func world(t *testing.T) (*netstack.Network, *wan.Engine, *Mesh, []Member) {
	t.Helper()
	p := netip.MustParsePrefix
	policy := wan.Policy{
		Sites: []wan.Site{
			{Cluster: "c", Region: "here", Prefixes: []netip.Prefix{p("10.10.0.0/16"), p("10.1.0.0/16")}},
			{Cluster: "c", Region: "there", Prefixes: []netip.Prefix{p("10.10.0.3/32"), p("10.1.1.0/24")}},
		},
		Links: []wan.Link{
			{From: "here", To: "there", LinkModel: wan.LinkModel{OneWay: 15 * time.Millisecond}},
			{From: "there", To: "here", LinkModel: wan.LinkModel{OneWay: 15 * time.Millisecond}},
		},
	}
	engine, err := wan.New(policy, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := netstack.New(engine)
	t.Cleanup(n.Close)
	m := NewMesh(n, MeshConfig{
		Name: "microk8s", CIDR: p("10.101.0.0/16"), Port: 51820, Keepalive: 20 * time.Second, Uses: 2, Seed: 7,
		Route: []netip.Prefix{p("10.1.0.0/16")},
	})
	t.Cleanup(m.Close)
	a := netip.MustParseAddr
	return n, engine, m, []Member{
		{Name: "do1", Addr: a("10.101.0.1"), Outer: a("10.10.0.2"), Behind: []netip.Prefix{p("10.1.0.0/24")}},
		{Name: "do2", Addr: a("10.101.0.2"), Outer: a("10.10.0.3"), Behind: []netip.Prefix{p("10.1.1.0/24")}},
	}
}

func host(t *testing.T, n *netstack.Network, name, addr string) *netstack.Host {
	t.Helper()
	h, err := n.AddHost(name, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// serve answers each connection with its remote address.
func serve(t *testing.T, h *netstack.Host) {
	t.Helper()
	l, err := h.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().String()+"\n")
			c.Close()
		}
	}()
}

func ask(t *testing.T, h *netstack.Host, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	from, _, _ := strings.Cut(string(b), ":")
	return from
}

func TestMachinesAndPodsTalkThroughTheTunnel(t *testing.T) {
	n, engine, m, members := world(t)
	var devices []*Device
	for _, member := range members {
		d, err := m.Join(t.Context(), m.AccessKey(), member)
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d)
	}
	do1, do2 := host(t, n, "do1", "10.101.0.1"), host(t, n, "do2", "10.101.0.2")
	pod1, pod2 := host(t, n, "pod1", "10.1.0.5"), host(t, n, "pod2", "10.1.1.5")
	for _, h := range []*netstack.Host{do2, pod2} {
		serve(t, h)
	}
	ask(t, do1, "10.101.0.2:80") // hands are shaken
	start := time.Now()
	if from := ask(t, do1, "10.101.0.2:80"); from != "10.101.0.1" {
		t.Errorf("do2 saw %s", from)
	}
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("connect and answer took %v: two round trips of 30 ms did not cross the WAN", took)
	}
	for _, c := range []struct {
		what, to, want string
		from           *netstack.Host
	}{
		{"pod to pod", "10.1.1.5:80", "10.1.0.5", pod1},
		{"node to pod", "10.1.1.5:80", "10.101.0.1", do1},
		{"pod to its own machine's neighbour", "10.101.0.2:80", "10.1.0.5", pod1},
		{"machine to machine outside the tunnel", "10.10.0.3:80", "10.10.0.2", do1},
		{"machine to its own outer address", "10.10.0.3:80", "10.10.0.3", do2},
		{"pod to its own machine", "10.101.0.2:80", "10.1.1.5", pod2},
	} {
		if from := ask(t, c.from, c.to); from != c.want {
			t.Errorf("%s: the server saw %s, want %s", c.what, from, c.want)
		}
	}
	show, err := devices[0].Show()
	if err != nil {
		t.Fatal(err)
	}
	text := show.Text(time.Now())
	for _, want := range []string{
		"interface: microk8s\n", "listening port: 51820", "(do2.microk8s)", "endpoint: 10.10.0.3:51820",
		"allowed ips: 10.101.0.2/32, 10.1.1.0/24", "latest handshake: ", "KiB received", "persistent keepalive: every 20 seconds",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	// Everything that crossed the WAN but the one plain connection was the
	// tunnel's: no packet of the overlay's addresses has a site.
	if pairs := engine.Counters(); len(pairs) != 2 || pairs[0].Packets == 0 || pairs[1].Packets == 0 {
		t.Errorf("the link's counters: %+v", pairs)
	}
}

func TestAPowerCutLosesTheSessions(t *testing.T) {
	n, _, m, members := world(t)
	d1, err := m.Join(t.Context(), m.AccessKey(), members[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(t.Context(), m.AccessKey(), members[1]); err != nil {
		t.Fatal(err)
	}
	do1, do2 := host(t, n, "do1", "10.101.0.1"), host(t, n, "do2", "10.101.0.2")
	serve(t, do1)
	ask(t, do2, "10.101.0.1:80")
	if err := d1.SetUp(false); err != nil {
		t.Fatal(err)
	}
	do1.SetUp(false)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := do2.DialContext(ctx, "tcp", "10.101.0.1:80"); err == nil {
		t.Fatal("a machine without power answered")
	}
	do1.SetUp(true)
	if err := d1.SetUp(true); err != nil {
		t.Fatal(err)
	}
	serve2 := host(t, n, "pod", "10.1.1.9")
	serve(t, serve2)
	ask(t, do1, "10.1.1.9:80") // shakes hands anew
	show, err := d1.Show()
	if err != nil {
		t.Fatal(err)
	}
	if len(show.Peers) != 1 || show.Peers[0].Handshake.IsZero() {
		t.Errorf("after the power's return: %+v", show.Peers)
	}
}

func TestTheAccessKeyHasItsUses(t *testing.T) {
	_, _, m, members := world(t)
	if _, err := m.Join(t.Context(), "let me in", members[0]); !errors.Is(err, ErrAccessKey) {
		t.Errorf("a wrong key: %v", err)
	}
	for _, member := range members {
		if _, err := m.Join(t.Context(), m.AccessKey(), member); err != nil {
			t.Fatal(err)
		}
	}
	third := Member{Name: "do3", Addr: netip.MustParseAddr("10.101.0.3"), Outer: netip.MustParseAddr("10.10.0.4")}
	if _, err := m.Join(t.Context(), m.AccessKey(), third); !errors.Is(err, ErrAccessKey) || !strings.Contains(err.Error(), "its 2 uses are used up") {
		t.Errorf("a third: %v", err)
	}
	if m.UsesLeft() != 0 {
		t.Errorf("%d uses left", m.UsesLeft())
	}
}

func TestTheSameSeedGivesTheSameKeys(t *testing.T) {
	a, err := derive(1, "x")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := derive(1, "x")
	c, _ := derive(2, "x")
	if a != b || a == c {
		t.Error("keys don't follow from the seed")
	}
}
