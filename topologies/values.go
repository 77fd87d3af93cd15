package topologies

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The scalars of the format. Each reads what a person writes and writes what
// it reads: Unmarshal(Marshal(x)) is x. Whether a value makes sense where it
// stands (a negative duration, a loss of 130%) is the validator's question.

// UnmarshalText reads a Go duration; its unit must be given, unless it is 0.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	v, err := time.ParseDuration(s)
	if err != nil {
		if _, numErr := strconv.ParseFloat(s, 64); numErr == nil {
			return fmt.Errorf("%q has no unit; did you mean %sms?", s, s)
		}
		return fmt.Errorf(`%q is not a duration such as 140ms, 1.5s or 2m`, s)
	}
	d.Duration = v
	return nil
}

// String writes a Go duration as people do: "2m", where Go itself says "2m0s".
func (d Duration) String() string {
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes a Go duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "0.01%" or "0.0001".
func (r *Ratio) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	number, percent := strings.CutSuffix(s, "%")
	number = strings.TrimSpace(number)
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("%q is not a share such as 0.01%% or 0.0001", s)
	}
	if percent {
		v /= 100
		// In decimal where it can be, so that 0.01% is the float nearest to
		// 0.0001 and not a neighbour of it.
		if exact, err := strconv.ParseFloat(number+"e-2", 64); err == nil {
			v = exact
		}
	}
	*r = Ratio(v)
	return nil
}

// String writes a percentage. It moves the decimal point in the text: a
// multiplication would round.
func (r Ratio) String() string {
	s := strconv.FormatFloat(math.Abs(float64(r)), 'f', -1, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	for len(fraction) < 2 {
		fraction += "0"
	}
	whole = strings.TrimLeft(whole+fraction[:2], "0")
	fraction = fraction[2:]
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if r < 0 {
		whole = "-" + whole
	}
	return whole + "%"
}

// MarshalText writes a percentage.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// rateUnits are tc(8)'s units of bits, largest first.
var rateUnits = []struct {
	name string
	bits float64
}{
	{"Tibit", 1 << 40}, {"Tbit", 1e12},
	{"Gibit", 1 << 30}, {"Gbit", 1e9},
	{"Mibit", 1 << 20}, {"Mbit", 1e6},
	{"Kibit", 1 << 10}, {"kbit", 1e3},
	{"bit", 1},
}

// UnmarshalText reads a rate in tc's units of bits. Its units of bytes are
// refused: their names ("mbps") are too often taken for bits.
func (r *Rate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	lower := strings.ToLower(s)
	if strings.HasSuffix(lower, "bps") {
		return fmt.Errorf("%q: in tc, bps means bytes per second; write bits, such as 10Mbit", s)
	}
	number, factor := s, 1.0
	for _, u := range rateUnits {
		if strings.HasSuffix(lower, strings.ToLower(u.name)) {
			number, factor = s[:len(s)-len(u.name)], u.bits
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(v) {
		return fmt.Errorf("%q is not a rate such as 1Gbit, 10Mbit or 500kbit", s)
	}
	if v < 0 {
		return fmt.Errorf("rate %s is negative", s)
	}
	bits := math.Round(v * factor)
	if bits > maxRate {
		return fmt.Errorf("rate %s is more than 100Tbit", s)
	}
	if v > 0 && bits < 1 {
		return fmt.Errorf("rate %s is less than one bit per second", s)
	}
	*r = Rate(bits)
	return nil
}

// maxRate is beyond any link there is, and exact in a float64.
const maxRate = 1e14

// String writes the rate in the largest unit that divides it.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if strings.HasSuffix(u.name, "ibit") {
			continue
		}
		if unit := uint64(u.bits); r > 0 && uint64(r)%unit == 0 {
			return strconv.FormatUint(uint64(r)/unit, 10) + u.name
		}
	}
	return "0bit"
}

// MarshalText writes the rate in the largest unit that divides it.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// byteUnits are those of sizes, largest first; B, which ends every name, last.
var byteUnits = []struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// UnmarshalText reads a duration ("50ms") or a size ("256KiB").
func (q *Queue) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, u := range byteUnits {
		if !strings.HasSuffix(strings.ToLower(s), strings.ToLower(u.name)) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(s[:len(s)-len(u.name)]), 64)
		bytes := math.Round(v * u.bytes)
		switch {
		case err != nil || math.IsNaN(v):
			return fmt.Errorf("%q is not a size such as 64kB, 256KiB or 1MiB", s)
		case bytes < 1:
			return fmt.Errorf("a queue of %s has no room for a packet", s)
		case bytes > maxQueue:
			return fmt.Errorf("a queue of %s is more than 1TiB", s)
		}
		*q = Queue{Bytes: uint64(bytes)}
		return nil
	}
	var d Duration
	if err := d.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is neither a time such as 100ms nor a size such as 256KiB", s)
	}
	*q = Queue{Time: d.Duration}
	return nil
}

// maxQueue is beyond any queue there is, and exact in a float64.
const maxQueue = 1 << 40

// String is how a file writes it: a size in the largest unit that divides it.
func (q Queue) String() string {
	if q.Bytes == 0 {
		return Duration{q.Time}.String()
	}
	for _, u := range byteUnits {
		if unit := uint64(u.bytes); q.Bytes%unit == 0 {
			return strconv.FormatUint(q.Bytes/unit, 10) + u.name
		}
	}
	return "" // every size is a multiple of 1B
}

// MarshalText writes it as a file does.
func (q Queue) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads true, false, blackhole or reject.
func (d *Down) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); s {
	case "false":
		*d = Up
	case "true", string(Blackhole):
		*d = Blackhole
	case string(Reject):
		*d = Reject
	default:
		return fmt.Errorf("%q is none of true, false, blackhole and reject", s)
	}
	return nil
}

// MarshalText writes false, blackhole or reject.
func (d Down) MarshalText() ([]byte, error) {
	if d == Up {
		return []byte("false"), nil
	}
	return []byte(d), nil
}

// MarshalJSON writes false, or how it is down.
func (d Down) MarshalJSON() ([]byte, error) {
	if d == Up {
		return []byte("false"), nil
	}
	return json.Marshal(string(d))
}

// UnmarshalJSON reads a text or a truth value.
func (d *Down) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	return d.UnmarshalText([]byte(text))
}

// UnmarshalText reads CIDR notation.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	v, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is not a CIDR such as 10.10.0.0/16", s)
	}
	p.Prefix = v
	return nil
}

// MarshalText writes CIDR notation.
func (p Prefix) MarshalText() ([]byte, error) { return p.Prefix.MarshalText() }

// UnmarshalText reads "tcp/6443", "udp/53" or "icmp".
func (p *Port) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	protocol, number, numbered := strings.Cut(s, "/")
	switch protocol {
	case "icmp":
		if numbered {
			return fmt.Errorf("%q: icmp has no ports", s)
		}
		*p = Port{Protocol: protocol}
		return nil
	case "tcp", "udp":
		if number == "*" {
			*p = Port{Protocol: protocol}
			return nil
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q: a port is a number from 1 to 65535, as in %s/6443", s, protocol)
		}
		*p = Port{Protocol: protocol, Number: uint16(n)}
		return nil
	}
	return fmt.Errorf("%q is not a port such as tcp/6443, udp/53 or icmp", s)
}

// String is how a file writes it.
func (p Port) String() string {
	switch {
	case p.Protocol == "icmp" || p.Protocol == "":
		return p.Protocol
	case p.Number == 0:
		return p.Protocol + "/*"
	}
	return p.Protocol + "/" + strconv.Itoa(int(p.Number))
}

// MarshalText writes it as a file does.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes the text as it is.
func (o *Objects) UnmarshalText(text []byte) error {
	*o = append(Objects(nil), text...)
	return nil
}

// MarshalText is the text as it is.
func (o Objects) MarshalText() ([]byte, error) { return o, nil }

// A shorthand is a sequence or mapping that may also be written as one scalar.
type shorthand interface{ fromScalar(text string) error }

func (n *Names) fromScalar(text string) error {
	*n = Names{text}
	return nil
}

func (w *Workload) fromScalar(text string) error {
	*w = Workload{Name: text}
	return nil
}

func (l *Loss) fromScalar(text string) error {
	*l = Loss{}
	return l.Ratio.UnmarshalText([]byte(text))
}

// Bursty tells whether the loss is of the Gilbert-Elliott kind.
func (l Loss) Bursty() bool { return l.Enter != 0 || l.Leave != 0 || l.Bad != 0 || l.Good != 0 }

// UnmarshalJSON reads one name or a list.
func (n *Names) UnmarshalJSON(data []byte) error {
	if scalar, ok := jsonScalar(data); ok {
		return n.fromScalar(scalar)
	}
	return json.Unmarshal(data, (*[]string)(n))
}

// UnmarshalJSON reads a name or a mapping.
func (w *Workload) UnmarshalJSON(data []byte) error {
	if scalar, ok := jsonScalar(data); ok {
		return w.fromScalar(scalar)
	}
	type plain Workload
	return json.Unmarshal(data, (*plain)(w))
}

// UnmarshalJSON reads a ratio or a mapping.
func (l *Loss) UnmarshalJSON(data []byte) error {
	if scalar, ok := jsonScalar(data); ok {
		return l.fromScalar(scalar)
	}
	type plain Loss
	*l = burst()
	return json.Unmarshal(data, (*plain)(l))
}

// MarshalJSON writes independent loss as a scalar.
func (l Loss) MarshalJSON() ([]byte, error) {
	if !l.Bursty() {
		return json.Marshal(l.Ratio)
	}
	// Bad is always written: left out it would be read as 100%.
	return json.Marshal(struct {
		Ratio Ratio `json:"ratio,omitempty"`
		Enter Ratio `json:"enter,omitempty"`
		Leave Ratio `json:"leave,omitempty"`
		Bad   Ratio `json:"bad"`
		Good  Ratio `json:"good,omitempty"`
	}(l))
}

// burst is a loss mapping with nothing in it yet.
func burst() Loss { return Loss{Bad: 1} }

// beforeMapping sets what a mapping leaves out.
func (l *Loss) beforeMapping() { *l = burst() }

// jsonScalar returns the text of a JSON string or number.
func jsonScalar(data []byte) (string, bool) {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return "", false
	}
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return string(data), true
	}
	return "", false
}

// errWholeNumber is told where a count has a fraction or is no number.
var errWholeNumber = errors.New("must be a whole number")
