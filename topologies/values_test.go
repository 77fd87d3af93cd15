package topologies

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type text interface {
	UnmarshalText([]byte) error
	MarshalText() ([]byte, error)
}

func TestScalars(t *testing.T) {
	for _, c := range []struct {
		v       text
		in, out string // an out that begins with "!" is a part of the error
	}{
		{&Duration{}, "140ms", "140ms"},
		{&Duration{}, "2m", "2m"},
		{&Duration{}, "1h", "1h"},
		{&Duration{}, "90m", "1h30m"},
		{&Duration{}, "0", "0s"},
		{&Duration{}, "-5ms", "-5ms"},
		{&Duration{}, "140", "!did you mean 140ms?"},
		{&Duration{}, "soon", "!is not a duration"},
		{&Duration{}, "999999999h", "!is not a duration"},

		{new(Ratio), "0.01%", "0.01%"},
		{new(Ratio), "0.0001", "0.01%"},
		{new(Ratio), "1e-4", "0.01%"},
		{new(Ratio), "100%", "100%"},
		{new(Ratio), "1", "100%"},
		{new(Ratio), "0", "0%"},
		{new(Ratio), "130 %", "130%"},
		{new(Ratio), "33.3%", "33.3%"},
		{new(Ratio), "nan", "!is not a share"},
		{new(Ratio), "inf%", "!is not a share"},
		{new(Ratio), "", "!is not a share"},

		{new(Rate), "1Gbit", "1Gbit"},
		{new(Rate), "1.5gbit", "1500Mbit"},
		{new(Rate), "500 kbit", "500kbit"},
		{new(Rate), "1Kibit", "1024bit"},
		{new(Rate), "2000000", "2Mbit"},
		{new(Rate), "0", "0bit"},
		{new(Rate), "10mbps", "!bytes per second"},
		{new(Rate), "-1bit", "!negative"},
		{new(Rate), "1e300Gbit", "!more than"},
		{new(Rate), "0.1bit", "!less than"},
		{new(Rate), "NaN", "!is not a rate"},
		{new(Rate), "fast", "!is not a rate"},
		{new(Queue), "50ms", "50ms"},
		{new(Queue), "0", "0s"},
		{new(Queue), "256KiB", "256KiB"},
		{new(Queue), "256 kib", "256KiB"},
		{new(Queue), "1.5MB", "1500kB"},
		{new(Queue), "1500B", "1500B"},
		{new(Queue), "1TiB", "1TiB"},
		{new(Queue), "1025GiB", "!more than"},
		{new(Queue), "0kB", "!no room"},
		{new(Queue), "NaNB", "!is not a size"},
		{new(Queue), "12", "!neither a time"},
		{new(Queue), "long", "!neither a time"},
		{new(Down), "true", "blackhole"},
		{new(Down), "false", "false"},
		{new(Down), "reject", "reject"},
		{new(Down), "blackhole", "blackhole"},
		{new(Down), "yes", "!none of"},

		{&Prefix{}, "10.0.0.0/8", "10.0.0.0/8"},
		{&Prefix{}, "10.0.0.1/16", "10.0.0.1/16"},
		{&Prefix{}, "10.0.0.0", "!is not a CIDR"},

		{&Port{}, "tcp/6443", "tcp/6443"},
		{&Port{}, "udp/53", "udp/53"},
		{&Port{}, "icmp", "icmp"},
		{&Port{}, "icmp/8", "!no ports"},
		{&Port{}, "tcp", "!a port is a number"},
		{&Port{}, "tcp/-1", "!a port is a number"},
		{&Port{}, "6443", "!is not a port"},
	} {
		err := c.v.UnmarshalText([]byte(c.in))
		if want, fails := strings.CutPrefix(c.out, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%T %q: error %v, want one with %q", c.v, c.in, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%T %q: %v", c.v, c.in, err)
			continue
		}
		if out, err := c.v.MarshalText(); err != nil || string(out) != c.out {
			t.Errorf("%T %q: written as %q (%v), want %q", c.v, c.in, out, err, c.out)
		}
	}
}

// TestScalarsReadWhatTheyWrite is the law of values.go.
func TestScalarsReadWhatTheyWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		again(t, Duration{time.Duration(rapid.Int64().Draw(t, "duration"))})
		again(t, Ratio(rapid.Float64Range(0, 1).Draw(t, "ratio")))
		again(t, Rate(rapid.Uint64Range(0, maxRate).Draw(t, "rate")))
		again(t, Queue{Bytes: rapid.Uint64Range(1, maxQueue).Draw(t, "queue")})
		again(t, Port{Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"), Number: rapid.Uint16Min(1).Draw(t, "port")})
		again(t, Names(rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "names")))
		again(t, Loss{Ratio: Ratio(rapid.Float64Range(0, 1).Draw(t, "loss"))})
		again(t, Loss{
			Enter: Ratio(rapid.Float64Range(0.01, 1).Draw(t, "enter")),
			Bad:   Ratio(rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "bad")),
		})
	})
}

func again[T any](t *rapid.T, v T) {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T %v: %v", v, v, err)
	}
	var got T
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("%T %v: %s: %v", v, v, data, err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Fatalf("%T: %s: -written +read\n%s", v, data, diff)
	}
}

func TestShorthandsInJSON(t *testing.T) {
	var got struct {
		Names    Names
		Workload Workload
		Loss     Loss
	}
	if err := json.Unmarshal([]byte(`{"Names": "eu", "Workload": "hello", "Loss": 0.25}`), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Names) != 1 || got.Names[0] != "eu" || got.Workload.Name != "hello" || got.Loss.Ratio != 0.25 {
		t.Errorf("%+v", got)
	}
}

func TestTopologyThroughJSON(t *testing.T) {
	want, err := FromLibrary("three-regions")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &Topology{}
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestDidYouMean(t *testing.T) {
	for _, c := range []struct{ s, want string }{
		{"rgion", "region"}, {"Region", "region"}, {"naem", "name"}, {"x", ""}, {"colour", ""}, {"", ""},
		{strings.Repeat("region", 1000), ""},
	} {
		if got, _ := nearest(c.s, []string{"name", "region", "role"}); got != c.want {
			t.Errorf("%.20q: %q, want %q", c.s, got, c.want)
		}
	}
}
