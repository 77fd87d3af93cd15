package hollow

import (
	"context"
	"sync"
)

// Pause halts a running node as a hypervisor halts a machine: nothing leaves
// its hosts or reaches them, nobody is told, and it keeps its state. Its
// programs, which are part of this process, go on computing; its kubelet
// judges nobody meanwhile.
func (n *Node) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kubelet == nil {
		return
	}
	n.kubelet.pauses.begin()
	n.kubelet.unplug()
	n.host.SetUp(false)
}

// Resume lets a paused node go on where it was. One that is not is left alone.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kubelet == nil || !n.kubelet.pauses.now() {
		return
	}
	n.host.SetUp(true)
	n.kubelet.plug()
	n.kubelet.pauses.end()
}

// Paused tells whether the node is.
func (n *Node) Paused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kubelet != nil && n.kubelet.pauses.now()
}

// pauses are those of one boot of a node.
type pauses struct {
	mu    sync.Mutex
	over  chan struct{} // closed at the end; nil while there is none
	count int
}

func (p *pauses) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == nil {
		p.over = make(chan struct{})
		p.count++
	}
}

func (p *pauses) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		close(p.over)
		p.over = nil
	}
}

func (p *pauses) now() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over != nil
}

// await waits for the end of a pause, and returns how many there were.
func (p *pauses) await(ctx context.Context) int {
	p.mu.Lock()
	over, count := p.over, p.count
	p.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-ctx.Done():
		}
	}
	return count
}

// plug lets the pods' hosts send and receive again.
func (k *kubelet) plug() { k.setPodsUp(true) }

// unplug silences the pods' hosts, before anything ends, so that no peer
// learns of the end.
func (k *kubelet) unplug() { k.setPodsUp(false) }

func (k *kubelet) setPodsUp(up bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		p.mu.Lock()
		if p.host != nil && !p.spec.HostNetwork {
			p.host.SetUp(up)
		}
		p.mu.Unlock()
	}
}
