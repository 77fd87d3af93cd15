package wan

import (
	"context"
	"net/netip"
)

// Driver makes a policy true of the traffic between real networks: it is what
// a router between them runs. sim/tun is one; its contract is tested by
// sim/wan/drivertest, and another passes the same test.
//
// A driver is open when it is made, and nothing crosses it until Run.
type Driver interface {
	// Apply puts a policy in force, whole, while traffic flows. What the
	// driver cannot do it refuses, naming it, with an error that wraps
	// errors.ErrUnsupported; the policy before then stays in force.
	Apply(ctx context.Context, p Policy) error

	// Counters are the totals of every link since the driver was opened.
	Counters() ([]Counters, error)

	// Run moves the traffic until ctx is done, which is no error, or until it
	// no longer can. Nothing crosses once it has returned: not the link of the
	// policy, nor any other way through the router. It runs once.
	Run(ctx context.Context) error

	// Close gives back what the driver holds. Networks stay apart; a second
	// Close does nothing.
	Close() error
}

// Attachment is one interface by which a router reaches clusters' networks.
// What comes in by it and is meant for its own prefixes is local: it never
// enters the WAN. An interface shared by several sites is attached once for
// each of them, and then nothing that comes in by it is local.
type Attachment struct {
	Interface string
	// Routes are the ranges behind the interface: those of its site.
	Routes []AttachedRoute
}

// AttachedRoute is a range that is reached through an attachment.
type AttachedRoute struct {
	To netip.Prefix
	// Via is the neighbour that passes traffic on, such as the node of a pod
	// range. The zero value means that To is on the link itself.
	Via netip.Addr
}
