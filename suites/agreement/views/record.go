package views

import "time"

// Record is what one engine told its proxies.
type Record struct {
	Engine   string            `json:"engine"`
	Versions map[string]string `json:"versions"`
	Started  time.Time         `json:"started"`
	Elapsed  time.Duration     `json:"elapsed"`
	Steps    []Step            `json:"steps"`
}

// Step is one thing that was done, and what proxies were told then.
type Step struct {
	What string `json:"what"`
	// Settled says that the views changed, where they have to; if not, they are
	// those of when patience ended.
	Settled bool          `json:"settled"`
	Took    time.Duration `json:"took"` // until the views were as they stayed
	// Views are by client, CLUSTER/WORKLOAD.
	Views map[string]View `json:"views"`
}

// View is what a client is told, by service and port: hello.default:5000.
type View map[string]Port

// Port is what there is behind a service's port, in words.
type Port struct {
	Protocol  string   `json:"protocol"`
	Endpoints []string `json:"endpoints"` // "eu: 3 pods, 60.0 %, mutual TLS of spiffe://…"
	Policy    string   `json:"policy"`
}
