package wan

import "fmt"

// Cause says why a packet was dropped. As text, in JSON too, it is a word
// such as "denied" or "queue-full".
type Cause uint8

// The causes.
const (
	Delivered Cause = iota
	Malformed       // not an IP packet, or truncated
	NoSite          // source or destination in no site
	NoPeering       // the clusters are not peered, or the peering is down
	NoRoute         // no route leads there
	NoLink          // peered, but no link joins the regions
	Denied          // no rule admits it
	LinkDown        // the link is cut
	Lost            // the loss model took it
	QueueFull       // tail drop at the link's rate
	Spoofed         // its source address is not of where it came from
	numCauses
)

var causeNames = [numCauses]string{
	"delivered", "malformed", "no-site", "no-peering", "no-route",
	"no-link", "denied", "link-down", "lost", "queue-full", "spoofed",
}

func (c Cause) String() string {
	if c < numCauses {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// MarshalText refuses a Cause that is none of the constants.
func (c Cause) MarshalText() ([]byte, error) {
	if c >= numCauses {
		return nil, fmt.Errorf("wan: no such cause: %d", uint8(c))
	}
	return []byte(causeNames[c]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (c *Cause) UnmarshalText(text []byte) error {
	for i, name := range causeNames {
		if name == string(text) {
			*c = Cause(i)
			return nil
		}
	}
	return fmt.Errorf("wan: no such cause: %q", text)
}
