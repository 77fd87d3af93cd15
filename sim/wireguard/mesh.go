package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/atoll-dev/atoll/sim/netstack"
)

// MeshConfig is an overlay in which everybody is everybody's peer.
type MeshConfig struct {
	Name      string // the interface's, too
	CIDR      netip.Prefix
	Port      uint16        // UDP, on every machine
	Keepalive time.Duration // whole seconds; 0 for none
	Uses      int           // how many machines the access key lets in
	Seed      uint64        // of the keys
	// Route are further ranges that members reach through the tunnel: the
	// pods of a cluster. What a member has of them is its Behind.
	Route []netip.Prefix
}

// Member is a machine that joins.
type Member struct {
	Name   string
	Addr   netip.Addr     // in the overlay
	Outer  netip.Addr     // on the network
	Behind []netip.Prefix // ranges behind it: its pods
}

// Mesh knows the members of an overlay.
type Mesh struct {
	cfg     MeshConfig
	network *netstack.Network

	mu      sync.Mutex
	used    int
	devices []*Device
}

// NewMesh makes an overlay that nobody is in yet.
func NewMesh(network *netstack.Network, cfg MeshConfig) *Mesh {
	return &Mesh{cfg: cfg, network: network}
}

// AccessKey is what a machine shows to be let in; it has Uses uses.
func (m *Mesh) AccessKey() string {
	k, err := derive(m.cfg.Seed, "access key of "+m.cfg.Name)
	if err != nil {
		return "" // admits nobody
	}
	return k.hex()[:16]
}

// UsesLeft is how many machines the access key still lets in.
func (m *Mesh) UsesLeft() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg.Uses - m.used
}

// ErrAccessKey is wrapped by Join's error where the key lets nobody in.
var ErrAccessKey = errors.New("access key")

// handshakeLimit is how long a newcomer waits for its first handshake with a
// member; one that is switched off does not answer. A handshake that is lost
// is tried again after five seconds.
const handshakeLimit = 12 * time.Second

// Join lets a machine in, makes it everybody's peer, and waits until it has
// shaken hands. Its hosts are added to the network afterwards.
func (m *Mesh) Join(ctx context.Context, accessKey string, member Member) (*Device, error) {
	d, others, err := m.admit(accessKey, member)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	for _, o := range others {
		d.awaitHandshake(ctx, o)
		if err := o.keepAlive(d); err != nil {
			return nil, errors.Join(fmt.Errorf("%s joins the overlay %s: %w", member.Name, m.cfg.Name, err), m.Leave(d))
		}
	}
	return d, nil
}

// admit makes a newcomer everybody's peer. It is the newcomer that begins to
// shake hands: of two that begin at once, neither gets through.
func (m *Mesh) admit(accessKey string, member Member) (*Device, []*Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) (*Device, []*Device, error) {
		return nil, nil, fmt.Errorf("%s joins the overlay %s: %w", member.Name, m.cfg.Name, err)
	}
	switch {
	case accessKey == "" || accessKey != m.AccessKey():
		return fail(fmt.Errorf("%w: unknown", ErrAccessKey))
	case m.used >= m.cfg.Uses:
		return fail(fmt.Errorf("%w: its %d uses are used up", ErrAccessKey, m.cfg.Uses))
	case !m.cfg.CIDR.Contains(member.Addr):
		return fail(fmt.Errorf("%v is not in %v", member.Addr, m.cfg.CIDR))
	}
	for _, d := range m.devices {
		if d.member.Name == member.Name {
			return fail(errors.New("the name is taken"))
		}
	}
	d, err := m.newDevice(member)
	if err != nil {
		return fail(err)
	}
	m.used++
	for _, o := range m.devices {
		if err := errors.Join(o.addPeer(d, 0), d.addPeer(o, m.cfg.Keepalive)); err != nil {
			d.Close()
			return fail(err)
		}
	}
	others := slices.Clone(m.devices)
	m.devices = append(m.devices, d)
	return d, others, nil
}

// Leave takes a machine out: nobody is its peer any more.
func (m *Mesh) Leave(d *Device) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices = slices.DeleteFunc(m.devices, func(o *Device) bool { return o == d })
	var errs []error
	for _, o := range m.devices {
		errs = append(errs, o.dev.IpcSet("public_key="+d.public.hex()+"\nremove=true\n"))
	}
	d.Close()
	return errors.Join(errs...)
}

// Close ends the overlay.
func (m *Mesh) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.devices {
		d.Close()
	}
	m.devices = nil
}

// Device returns a member's device, or nil.
func (m *Mesh) Device(name string) *Device {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.devices {
		if d.member.Name == name {
			return d
		}
	}
	return nil
}

// Device is a machine's WireGuard interface.
type Device struct {
	mesh    *Mesh
	member  Member
	private Key
	public  Key
	tunnel  *netstack.Tunnel
	dev     *device.Device
}

func (m *Mesh) newDevice(member Member) (*Device, error) {
	d := &Device{mesh: m, member: member}
	var err error
	if d.private, err = derive(m.cfg.Seed, "private key of "+member.Name+"."+m.cfg.Name); err != nil {
		return nil, err
	}
	if d.public, err = d.private.public(); err != nil {
		return nil, err
	}
	in := newInside(m.cfg.Name, func(p []byte) { d.tunnel.Deliver(p) })
	out := &outside{in: make(chan datagram, queueLen), sendTo: func(to netip.AddrPort, p []byte) { d.tunnel.SendTo(to, p) }}
	d.tunnel, err = m.network.AddTunnel(netstack.TunnelConfig{
		Inner: member.Addr, Outer: member.Outer, Port: m.cfg.Port,
		Local: member.Behind, Remote: append([]netip.Prefix{m.cfg.CIDR}, m.cfg.Route...),
		Send: in.send, Receive: out.receive,
	})
	if err != nil {
		return nil, err
	}
	d.dev = device.NewDevice(in, out, &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf})
	err = d.dev.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\n", d.private.hex(), m.cfg.Port))
	if err == nil {
		err = d.dev.Up()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Device) addPeer(o *Device, keepalive time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "public_key=%s\nendpoint=%s\n", o.public.hex(), netip.AddrPortFrom(o.member.Outer, d.mesh.cfg.Port))
	fmt.Fprintf(&b, "persistent_keepalive_interval=%d\nreplace_allowed_ips=true\n", int(keepalive.Seconds()))
	for _, p := range append([]netip.Prefix{netip.PrefixFrom(o.member.Addr, 32)}, o.member.Behind...) {
		fmt.Fprintf(&b, "allowed_ip=%s\n", p)
	}
	return d.dev.IpcSet(b.String())
}

// keepAlive lets a peer hear from the device now and then.
func (d *Device) keepAlive(o *Device) error {
	return d.dev.IpcSet(fmt.Sprintf("public_key=%s\nupdate_only=true\npersistent_keepalive_interval=%d\n", o.public.hex(), int(d.mesh.cfg.Keepalive.Seconds())))
}

// awaitHandshake waits for the first handshake with a peer, or for ctx's end.
func (d *Device) awaitHandshake(ctx context.Context, o *Device) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		i, err := d.Show()
		if err != nil || slices.ContainsFunc(i.Peers, func(p Peer) bool { return p.PublicKey == o.public.String() && !p.Handshake.IsZero() }) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// SetUp gives the machine power or takes it: sessions are lost with it, as
// they are in memory alone.
func (d *Device) SetUp(up bool) error {
	if !up {
		d.tunnel.SetUp(false)
		return d.dev.Down()
	}
	d.tunnel.SetUp(true)
	return d.dev.Up()
}

// Silence keeps a machine that is halted from sending and receiving by the
// tunnel, or lets it again. Unlike with SetUp, sessions stay.
func (d *Device) Silence(silent bool) { d.tunnel.SetUp(!silent) }

// Close ends the device.
func (d *Device) Close() {
	if d.dev != nil {
		d.dev.Close()
	}
	d.tunnel.Close()
}
