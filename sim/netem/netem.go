package netem

import (
	"errors"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Config says what a driver joins.
type Config struct {
	// Namespace is the path of the network namespace that the attachments are
	// in, such as /proc/PID/ns/net; empty means that of the calling thread.
	Namespace string
	// Attachments are the interfaces, which exist and are up.
	Attachments []wan.Attachment
	// Policy is the first.
	Policy wan.Policy
}

// ErrMissing is wrapped by Probe's error where the machine lacks something.
var ErrMissing = errors.New("netem driver")
