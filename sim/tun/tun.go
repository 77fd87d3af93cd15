package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Defaults of Config.
const (
	DefaultName   = "wan"
	DefaultSpin   = 50 * time.Microsecond
	DefaultQueue  = 1000
	DefaultMemory = 256 << 20
)

// Config says what a router joins.
type Config struct {
	// Engine decides. Drivers' Apply swaps its policy; so may others.
	Engine *wan.Engine
	// Attachments are the interfaces, which exist and are up.
	Attachments []wan.Attachment
	// Namespace is the path of the network namespace that the attachments are
	// in, such as /proc/PID/ns/net; empty means that of the calling thread.
	Namespace string
	// Name is the first part of the TUN devices' names; DefaultName if empty.
	Name string
	// MTU of the TUN devices; 0 means the largest of the attachments'.
	MTU int
	// Queue is the length of each device's queue in packets, which is where
	// they wait for the router to read them; DefaultQueue if 0. What does not
	// fit is dropped by the kernel and counted in its statistics of the device.
	Queue int
	// Memory bounds, in bytes, the packets on their way; DefaultMemory if 0.
	// Beyond it packets are dropped and counted in Counters.Overflow.
	Memory int
	// Ordinary does without real-time scheduling and without keeping processors
	// awake, even where they are permitted.
	Ordinary bool
	// Spin is for how long before a packet is due the router is awake, so that
	// it need not be woken in time; DefaultSpin if 0, not at all if negative.
	// It spins for a tenth of the time at most.
	Spin time.Duration
}

func (c *Config) defaults() {
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	switch {
	case c.Spin == 0:
		c.Spin = DefaultSpin
	case c.Spin < 0:
		c.Spin = 0
	}
}

// validate reports every fault.
func (c *Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("tun: "+format, args...)) }
	if c.Engine == nil {
		fault("no engine")
	}
	if len(c.Name) > 10 {
		fault("name %q: at most 10 bytes, a number is put behind it", c.Name)
	}
	if len(c.Attachments) == 0 {
		fault("no attachments")
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 65521) { // tun(4): 68 to 65,535 less an Ethernet header
		fault("MTU %d is outside 576-65521", c.MTU)
	}
	if c.Queue < 0 || c.Memory < 0 {
		fault("queue %d, memory %d: below 0", c.Queue, c.Memory)
	}
	owner := map[netip.Prefix]string{}
	for _, a := range c.Attachments {
		if a.Interface == "" {
			fault("an attachment without an interface")
		}
		for _, r := range a.Routes {
			switch {
			case !r.To.IsValid() || r.To.Addr().Is4In6():
				fault("%s: %v is no prefix", a.Interface, r.To)
				continue
			case r.Via.IsValid() && r.Via.Is4() != r.To.Addr().Is4():
				fault("%s: %v via %v: two families", a.Interface, r.To, r.Via)
			}
			if other, taken := owner[r.To.Masked()]; taken {
				fault("%s: %v is behind %s already", a.Interface, r.To, other)
			}
			owner[r.To.Masked()] = a.Interface
		}
	}
	return errors.Join(faults...)
}

// NotRunning is Report.RealtimeWhy and AwakeWhy of a router whose Run has not
// begun.
const NotRunning = "not running"

// Report is what the machine granted a router.
type Report struct {
	// Devices are the TUN devices, one for each interface.
	Devices []string
	MTU     int
	// Offloads are the kinds of super-packets that the kernel hands over:
	// tcp4, tcp6, ecn, udp.
	Offloads []string
	// Realtime tells whether the thread runs under SCHED_FIFO; else RealtimeWhy
	// says why not. Both are known once Run has begun.
	Realtime    bool
	RealtimeWhy string `json:",omitempty"`
	// Awake tells whether processors are kept from sleeping while packets are
	// near; else AwakeWhy says why not.
	Awake    bool
	AwakeWhy string `json:",omitempty"`
	// Spin is the spin that was granted; where none, SpinWhy says why.
	Spin    time.Duration
	SpinWhy string `json:",omitempty"`
}

// Counters are a router's own totals; what links dropped and delivered is the
// engine's to tell. Packets here are those of the devices: a super-packet is one.
type Counters struct {
	Reads, ReadBytes   uint64
	Writes, WriteBytes uint64
	// Supers are super-packets read; Cut, how many of them were cut, and Pieces
	// into how many packets.
	Supers, Cut, Pieces uint64
	// Malformed are super-packets that could not be cut, and packets whose
	// checksum had no place. What is no IP packet the engine counts.
	Malformed uint64
	// Oversized are packets that did not fit into the largest buffer.
	Oversized uint64
	// Overflow are packets dropped because Config.Memory was reached.
	Overflow uint64
	// WriteErrors are packets that the kernel did not take back.
	WriteErrors uint64
	// Rejected are packets whose sender was told by ICMP.
	Rejected uint64
	// Held and HeldBytes are on their way now, and Memory is what they and the
	// room between them take, in bytes.
	Held, HeldBytes, Memory uint64
	// CPU is the time that the router's thread has had of a processor: reading,
	// deciding, writing, and what the kernel does with a written packet until it
	// is received or queued.
	CPU time.Duration
	// Late tells how much later than they were due packets were written.
	Late Lateness
}
