package bench

import "errors"

// The drivers' names.
const (
	kernelName    = "kernel" // what the others are held against
	tunName       = "tun"    // the engine behind a TUN device
	netemName     = "netem"
	toxiproxyName = "toxiproxy"
)

// Drivers lists them all, whether or not this machine has them, in the order
// they are measured and shown.
func Drivers() []string { return []string{kernelName, tunName, netemName, toxiproxyName} }

// Groups lists what can be measured, in its order.
func Groups() []string { return []string{tcpGroup, packetsGroup, delayGroup, memoryGroup, linksGroup} }

const (
	tcpGroup     = "tcp"
	packetsGroup = "packets"
	delayGroup   = "delay"
	memoryGroup  = "memory"
	linksGroup   = "links"
)

// ErrMachine is wrapped by errors about what this machine does not permit.
var ErrMachine = errors.New("this machine cannot run the benchmark")
