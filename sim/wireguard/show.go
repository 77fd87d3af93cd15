package wireguard

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Interface is a device as it is now.
type Interface struct {
	Name       string
	Node       string // the machine's
	PublicKey  string
	ListenPort uint16
	Addr       netip.Addr
	Peers      []Peer // by name
}

// Peer is what a device knows of another.
type Peer struct {
	Name       string
	PublicKey  string
	Endpoint   netip.AddrPort // where it was last heard from
	AllowedIPs []netip.Prefix
	Handshake  time.Time // the latest; zero before the first
	Received   uint64    // bytes
	Sent       uint64
	Keepalive  time.Duration // 0 is off
}

// Show reads the device's state.
func (d *Device) Show() (Interface, error) {
	i := Interface{
		Name: d.mesh.cfg.Name, Node: d.member.Name, PublicKey: d.public.String(),
		ListenPort: d.mesh.cfg.Port, Addr: d.member.Addr,
	}
	text, err := d.dev.IpcGet()
	if err != nil {
		return i, fmt.Errorf("%s.%s: %w", d.member.Name, d.mesh.cfg.Name, err)
	}
	names := d.mesh.names()
	var p *Peer
	var seconds, nanoseconds int64
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "public_key" {
			k, err := parseHex(value)
			if err != nil {
				return i, err
			}
			i.Peers = append(i.Peers, Peer{Name: names[k], PublicKey: k.String()})
			p, seconds = &i.Peers[len(i.Peers)-1], 0
			continue
		}
		if p == nil {
			continue
		}
		switch key {
		case "endpoint":
			p.Endpoint, err = netip.ParseAddrPort(value)
		case "allowed_ip":
			var a netip.Prefix
			a, err = netip.ParsePrefix(value)
			p.AllowedIPs = append(p.AllowedIPs, a)
		case "last_handshake_time_sec":
			seconds, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			if nanoseconds, err = strconv.ParseInt(value, 10, 64); seconds > 0 {
				p.Handshake = time.Unix(seconds, nanoseconds)
			}
		case "rx_bytes":
			p.Received, err = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			p.Sent, err = strconv.ParseUint(value, 10, 64)
		case "persistent_keepalive_interval":
			seconds, err = strconv.ParseInt(value, 10, 64)
			p.Keepalive = time.Duration(seconds) * time.Second
		}
		if err != nil {
			return i, fmt.Errorf("%s.%s: %s: %w", d.member.Name, d.mesh.cfg.Name, key, err)
		}
	}
	slices.SortFunc(i.Peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	for n := range i.Peers {
		slices.SortFunc(i.Peers[n].AllowedIPs, func(a, b netip.Prefix) int {
			return cmp.Or(b.Bits()-a.Bits(), a.Addr().Compare(b.Addr()))
		})
	}
	return i, nil
}

func (m *Mesh) names() map[Key]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[Key]string{}
	for _, d := range m.devices {
		names[d.public] = d.member.Name
	}
	return names
}

// Text is the interface as wg(8) shows it, with the peers' names beside their
// keys; ages are those at now.
func (i Interface) Text(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interface: %s\n  public key: %s\n  private key: (hidden)\n  listening port: %d\n", i.Name, i.PublicKey, i.ListenPort)
	for _, p := range i.Peers {
		fmt.Fprintf(&b, "\npeer: %s (%s.%s)\n  endpoint: %s\n", p.PublicKey, p.Name, i.Name, p.Endpoint)
		var ips []string
		for _, a := range p.AllowedIPs {
			ips = append(ips, a.String())
		}
		fmt.Fprintf(&b, "  allowed ips: %s\n", cmp.Or(strings.Join(ips, ", "), "(none)"))
		if !p.Handshake.IsZero() {
			fmt.Fprintf(&b, "  latest handshake: %s ago\n", now.Sub(p.Handshake).Truncate(time.Second))
		}
		if p.Received+p.Sent > 0 {
			fmt.Fprintf(&b, "  transfer: %s received, %s sent\n", size(p.Received), size(p.Sent))
		}
		if p.Keepalive > 0 {
			fmt.Fprintf(&b, "  persistent keepalive: every %d seconds\n", int(p.Keepalive.Seconds()))
		}
	}
	return b.String()
}

// size writes bytes as wg(8) does.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	v, unit := float64(n)/1024, 0
	for v >= 1024 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.2f %s", v, units[unit])
}
