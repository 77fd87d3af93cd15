package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/atoll-dev/atoll/sim/wan"
)

// The two directions of the tests' link differ.
const there, back = 70 * time.Millisecond, 75 * time.Millisecond

func engine(t *testing.T) *wan.Engine {
	t.Helper()
	site := func(name, region, prefix string) wan.Site {
		return wan.Site{Cluster: name, Region: region, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
	}
	link := func(from, to string, d time.Duration) wan.Link {
		return wan.Link{From: from, To: to, LinkModel: wan.LinkModel{OneWay: d}}
	}
	e, err := wan.New(wan.Policy{
		Sites: []wan.Site{site("eu", "eu-west", "10.1.0.0/16"), site("us", "us-west", "10.2.0.0/16"), site("ap", "ap-south", "10.3.0.0/16")},
		Links: []wan.Link{
			link("eu-west", "us-west", there), link("us-west", "eu-west", back),
			link("us-west", "ap-south", there), link("ap-south", "us-west", back),
		},
		Peerings: []wan.Peering{{A: "eu", B: "us"}, {A: "us", B: "ap"}},
		Routes: []wan.Route{
			{From: "eu", Peering: [2]string{"eu", "us"}, To: netip.MustParsePrefix("10.2.0.0/16")},
			{From: "us", Peering: [2]string{"eu", "us"}, To: netip.MustParsePrefix("10.1.0.0/16")},
			{From: "eu", Peering: [2]string{"eu", "us"}, To: netip.MustParsePrefix("10.3.0.0/16"), Via: "us"},
		},
		Rules: []wan.Rule{{From: "eu", To: "us", Ports: []wan.Port{{Protocol: wan.TCP, Number: 80}}}},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const eu, us, ap = "10.1.0.7", "10.2.0.9", "10.3.0.1"

func tcp(t *testing.T, src, dst string, sport, dport uint16, set func(*layers.TCP)) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: netip.MustParseAddr(src).AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice()}
	l := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Window: 65535}
	set(l)
	if err := l.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, l); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// recorded runs a capture while act sends packets. act begins once the tap is
// in place; the capture ends after it.
func recorded(t *testing.T, e *wan.Engine, o Options, act func()) []byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, e, w, o)
		w.CloseWithError(err)
		done <- err
	}()
	var out bytes.Buffer
	head := make([]byte, 28) // a section header at least
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	out.Write(head)
	rest := make(chan error, 1)
	go func() {
		_, err := io.Copy(&out, r)
		rest <- err
	}()
	act()
	if o.Count == 0 {
		cancel()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-rest; err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// handshake sends a TCP handshake from eu to us, each packet as the one before arrives.
func handshake(t *testing.T, e *wan.Engine, start time.Time) {
	t.Helper()
	at := start
	for _, b := range [][]byte{
		tcp(t, eu, us, 40000, 80, func(l *layers.TCP) { l.SYN, l.Seq = true, 1000 }),
		tcp(t, us, eu, 80, 40000, func(l *layers.TCP) { l.SYN, l.ACK, l.Seq, l.Ack = true, true, 5000, 1001 }),
		tcp(t, eu, us, 40000, 80, func(l *layers.TCP) { l.ACK, l.Seq, l.Ack = true, 1001, 5001 }),
	} {
		v := e.Send(at, b)
		if v.Cause != wan.Delivered {
			t.Fatal(v.Cause)
		}
		at = v.At
	}
}

// seen is a packet as it is read back.
type seen struct {
	at      time.Time
	iface   string
	comment string
	data    []byte
	length  int
}

func read(t *testing.T, file []byte) ([]seen, *pcapgo.NgReader) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	for {
		data, ci, o, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return out, r
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, seen{ci.Timestamp, i.Name, strings.Join(o.Comments, "\n"), data, ci.Length})
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)

func TestAnAnswerIsOneWayBehindItsQuestion(t *testing.T) {
	e := engine(t)
	file := recorded(t, e, Options{Link: []string{"eu-west", "us-west"}}, func() { handshake(t, e, start) })
	got, r := read(t, file)
	want := []seen{
		{at: start, iface: "eu-west>us-west"},
		{at: start.Add(there), iface: "us-west>eu-west"},
		{at: start.Add(there + back), iface: "eu-west>us-west"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; !g.at.Equal(w.at) || g.iface != w.iface || g.comment != "" || g.length != len(g.data) {
			t.Errorf("packet %d: got %+v, want %+v", i, g, w)
		}
	}
	p := gopacket.NewPacket(got[1].data, r.LinkType(), gopacket.Default)
	if l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); !ok || !l.SYN || !l.ACK || l.SrcPort != 80 {
		t.Errorf("second packet is %v", p)
	}
	for i, want := range []uint64{2, 1} {
		intf, err := r.Interface(i)
		if err != nil || intf.Statistics.PacketsReceived != want || intf.Statistics.PacketsDropped != 0 {
			t.Errorf("statistics of %s: %+v, %v; want %d received", intf.Name, intf.Statistics, err, want)
		}
	}
}

// Between clusters a packet is there once, whatever it crosses and wherever it ends.
func TestBetweenClustersAPacketIsThereOnce(t *testing.T) {
	e := engine(t)
	transit := tcp(t, eu, ap, 1, 2, func(*layers.TCP) {})
	stray := tcp(t, ap, eu, 2, 1, func(*layers.TCP) {})
	file := recorded(t, e, Options{Between: []string{"eu", "ap"}}, func() {
		e.Send(start, transit)
		e.Send(start, stray)
		e.Send(start, tcp(t, eu, us, 1, 80, func(*layers.TCP) {}))
		p := e.Policy()
		if err := e.Swap(p.WithLinkDown("us-west", "ap-south")); err != nil {
			t.Error(err)
		}
		e.Send(start.Add(time.Second), transit)
	})
	got, _ := read(t, file)
	want := []seen{
		{at: start, iface: "eu>ap", data: transit},
		{at: start, iface: "ap>eu", comment: "dropped: no-peering", data: stray},
		{at: start.Add(time.Second), iface: "eu>ap", comment: "dropped: link-down", data: transit},
	}
	if !slices.EqualFunc(got, want, func(a, b seen) bool {
		return a.at.Equal(b.at) && a.iface == b.iface && a.comment == b.comment && bytes.Equal(a.data, b.data)
	}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWithoutFilterEverythingIsThere(t *testing.T) {
	e := engine(t)
	denied := tcp(t, eu, us, 1, 22, func(l *layers.TCP) { l.SYN = true })
	file := recorded(t, e, Options{}, func() {
		e.Send(start, denied)
		e.Send(start, tcp(t, eu, ap, 1, 2, func(*layers.TCP) {}))
	})
	got, _ := read(t, file)
	var lines []string
	for _, s := range got {
		lines = append(lines, s.iface+" "+s.comment)
	}
	if want := []string{"no-link dropped: denied", "eu-west>us-west ", "us-west>ap-south "}; !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// A link that a later policy brings gets its interface when it is needed.
func TestALaterLinkIsCaptured(t *testing.T) {
	e := engine(t)
	file := recorded(t, e, Options{}, func() {
		p := e.Policy()
		p.Links = append(slices.Clone(p.Links), wan.Link{From: "eu-west", To: "ap-south"})
		p.Peerings = append(slices.Clone(p.Peerings), wan.Peering{A: "eu", B: "ap"})
		if err := e.Swap(p); err != nil {
			t.Error(err)
		}
		e.Send(start, tcp(t, eu, ap, 1, 2, func(*layers.TCP) {}))
	})
	got, _ := read(t, file)
	if len(got) != 1 || got[0].iface != "eu-west>ap-south" {
		t.Errorf("got %+v", got)
	}
}

func TestCountAndSnapLenLimit(t *testing.T) {
	e := engine(t)
	big := tcp(t, eu, us, 1, 80, func(*layers.TCP) {})
	file := recorded(t, e, Options{Count: 2, SnapLen: 24}, func() {
		for range 5 {
			e.Send(start, big)
		}
	})
	got, _ := read(t, file)
	if len(got) != 2 || len(got[0].data) != 24 || got[0].length != len(big) {
		t.Errorf("got %+v", got)
	}
}

func TestForEndsByItself(t *testing.T) {
	if err := Run(t.Context(), engine(t), io.Discard, Options{For: time.Millisecond}); err != nil {
		t.Error(err)
	}
}

// What a slow writer misses is counted, and the WAN does not wait for it.
func TestASlowWriterMissesPackets(t *testing.T) {
	q := newQueue(0)
	s := wan.Sighting{Packet: make([]byte, 65535)}
	const n = 1000
	for range n {
		q.add(direction{"a", "b"}, start, &s)
	}
	kept := len(q.take(nil))
	seen, missed := q.totals(direction{"a", "b"})
	if seen != n || missed == 0 || kept+int(missed) != n {
		t.Errorf("seen %d, kept %d, missed %d", seen, kept, missed)
	}
	if q.add(direction{"a", "b"}, start, &s); len(q.take(nil)) != 1 {
		t.Error("after the writer caught up, packets are still missed")
	}
}

func TestAWriterThatFailsEndsTheCapture(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(os.ErrClosed)
	if err := Run(t.Context(), engine(t), w, Options{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeCapturedIsSaid(t *testing.T) {
	e := engine(t)
	for want, o := range map[string]Options{
		"capture: no link joins eu-west and ap-south; there are eu-west,us-west us-west,eu-west us-west,ap-south ap-south,us-west": {Link: []string{"eu-west", "ap-south"}},
		"capture: want two regions":                       {Link: []string{"eu-west"}},
		"capture: want two clusters":                      {Between: []string{"eu", "eu"}},
		"capture: no cluster mars; there are eu, us, ap":  {Between: []string{"eu", "mars"}},
		"capture: a link or a pair of clusters, not both": {Link: []string{"a", "b"}, Between: []string{"eu", "us"}},
		"capture: a limit is negative":                    {Count: -1},
	} {
		if err := Run(t.Context(), e, io.Discard, o); err == nil || err.Error() != want {
			t.Errorf("%+v: got %v, want %s", o, err, want)
		}
	}
}

// Wireshark's own reader agrees: stamps, interfaces and comments.
func TestWiresharkReadsIt(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark")
	}
	e := engine(t)
	file := filepath.Join(t.TempDir(), "x.pcapng")
	data := recorded(t, e, Options{Between: []string{"eu", "us"}}, func() {
		handshake(t, e, start)
		e.Send(start.Add(time.Second), tcp(t, eu, us, 1, 22, func(l *layers.TCP) { l.SYN = true }))
	})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", file, "-T", "fields", "-E", "separator=/s",
		"-e", "frame.time_relative", "-e", "frame.interface_name", "-e", "tcp.flags.str", "-e", "frame.comment", "-e", "_ws.malformed").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := `0.000000000 eu>us ··········S·
0.070000000 us>eu ·······A··S·
0.145000000 eu>us ·······A····
1.000000000 eu>us ··········S· dropped: denied
`
	var got strings.Builder
	for line := range strings.Lines(string(out)) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
