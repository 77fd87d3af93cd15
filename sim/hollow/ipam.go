package hollow

import (
	"fmt"
	"net/netip"
	"sync"
)

// ipam hands out a node's pod addresses in order, so that an address comes
// round again only after all others: a peer that remembers a dead pod's
// address does not soon meet another pod there.
type ipam struct {
	mu     sync.Mutex
	prefix netip.Prefix
	next   netip.Addr
	used   map[netip.Addr]bool
}

func newIPAM(prefix netip.Prefix) *ipam {
	prefix = prefix.Masked()
	return &ipam{prefix: prefix, next: prefix.Addr(), used: map[netip.Addr]bool{}}
}

// take returns a free address: never the network's own, the first one (a real
// node's bridge has it) or the last one (broadcast).
func (m *ipam) take() (netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.prefix.IsValid() {
		return netip.Addr{}, fmt.Errorf("node has no pod CIDR")
	}
	first := m.prefix.Addr().Next().Next()
	for tries := 0; tries <= len(m.used)+4; tries++ {
		a := m.next
		if !m.prefix.Contains(a) || a.Less(first) {
			a = first
		}
		m.next = a.Next()
		if m.used[a] || !m.prefix.Contains(a) || !m.prefix.Contains(a.Next()) {
			continue
		}
		m.used[a] = true
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("no free address in %s (%d in use)", m.prefix, len(m.used))
}

func (m *ipam) release(a netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.used, a)
}
