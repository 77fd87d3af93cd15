package topologies

// Overlay is a network of a cluster's nodes alone, over the WAN. What they and
// their pods say to each other goes through it; their addresses in it are what
// Kubernetes calls their InternalIP, and their names NODE.OVERLAY.
type Overlay struct {
	WireGuard WireGuard `json:"wireguard"` // how it is made
}

// WireGuard is an overlay in which every node is every other's peer. Nodes
// join one at a time, in their order, by an access key.
type WireGuard struct {
	Name          string   `json:"name"`                    // a DNS label: the interface's name, and the domain of the nodes' names
	CIDR          Prefix   `json:"cidr"`                    // the nodes' addresses in it, from the first on
	Port          int      `json:"port,omitempty"`          // UDP, on each node; 51820 when left out
	Keepalive     Duration `json:"keepalive,omitzero"`      // whole seconds; 20s when left out
	AccessKeyUses int      `json:"accessKeyUses,omitempty"` // how many nodes the access key lets in; 100 when left out
}

// SiteFailureScenario stops every node that a stretched cluster has in a
// region, and follows what becomes of a workload that runs there: its pods are
// replaced in the other regions. Then the site returns.
type SiteFailureScenario struct {
	Cluster  string            `json:"cluster"`         // a cluster with nodes in several regions
	Region   string            `json:"region"`          // the site that fails
	Workload string            `json:"workload"`        // of which all pods run there before the failure; a Deployment of the same name
	Page     string            `json:"page,omitempty"`  // a URL which the ingress of every node that runs answers; not asked when left out
	Expect   NodeFailureExpect `json:"expect,omitzero"` // for every node and every pod; the plan's prediction when left out
}

// QuorumScenario measures what a write to the API takes in a cluster whose
// datastore has a voter on each control-plane node, then loses a region: writes
// go on. Then it loses one voter too many: no write is answered until one is
// back. The lab's API server is on the first control-plane node, which stays.
type QuorumScenario struct {
	Cluster string `json:"cluster"` // one with three control-plane nodes or more
	Region  string `json:"region"`  // whose nodes fail: it has voters, and the others are a majority
}

// Ingress is an Ingress controller: a pod on each node, at its ports 80 and 443.
type Ingress struct {
	API    string   `json:"api" jsonschema:"enum=ingress"`                                       // ingress: networking.k8s.io/v1
	Engine Engine   `json:"engine,omitempty" jsonschema:"enum=builtin,enum=chart,enum=binaries"` // builtin when left out
	Class  string   `json:"class,omitempty"`                                                     // its IngressClass, the default of its clusters; public when left out
	On     []string `json:"on,omitempty"`                                                        // every managed cluster when left out
}
