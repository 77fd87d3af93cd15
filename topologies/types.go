package topologies

import (
	"net/netip"
	"time"
)

// APIVersion and Kind are the only ones a topology file may name.
const (
	APIVersion = "atoll.dev/v1alpha1"
	Kind       = "Topology"
)

// Topology is what one file asks for: a world of clusters, and what is to be
// asked of it.
type Topology struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names a topology. A lab made from it carries the name.
type Metadata struct {
	Name string `json:"name"`
}

// Spec is the world.
type Spec struct {
	Kubernetes string     `json:"kubernetes,omitempty"`
	Timers     Timers     `json:"timers,omitempty"`
	Clusters   []Cluster  `json:"clusters"`
	WAN        WAN        `json:"wan,omitempty"`
	Stack      Stack      `json:"stack,omitempty"`
	Workloads  []Workload `json:"workloads,omitempty"`
	Scenarios  []Scenario `json:"scenarios,omitempty"`
}

// Timers names a profile of failure-detection timers; see sim.Timers for what
// each profile means.
type Timers string

// The timer profiles.
const (
	TimersShort   Timers = "short"
	TimersDefault Timers = "default"
)

// Role is what a cluster does for the others.
type Role string

// The roles of clusters and, further down, of nodes.
const (
	RoleAdmin   Role = "admin"   // carries the hub
	RoleManaged Role = "managed" // carries workloads, placed by the hub
)

// Cluster is one Kubernetes cluster.
type Cluster struct {
	Name       string      `json:"name"`
	Region     string      `json:"region"`
	Role       Role        `json:"role,omitempty"`
	Network    string      `json:"network,omitempty"`    // the mesh's network; the cluster's name when left out
	Kubernetes string      `json:"kubernetes,omitempty"` // overrides Spec.Kubernetes
	CIDRs      CIDRs       `json:"cidrs,omitempty"`
	Nodes      []NodeGroup `json:"nodes,omitempty"`
}

// CIDRs are the cluster's three ranges. Those left out are assigned without
// overlap with any other range of the topology.
type CIDRs struct {
	Nodes    Prefix `json:"nodes,omitempty"`
	Pods     Prefix `json:"pods,omitempty"`
	Services Prefix `json:"services,omitempty"`
}

// NodeRole is the part a node plays in its cluster.
type NodeRole string

// The node roles.
const (
	ControlPlane NodeRole = "control-plane"
	Worker       NodeRole = "worker"
)

// NodeGroup is a number of nodes that are alike.
type NodeGroup struct {
	Role   NodeRole          `json:"role"`
	Count  int               `json:"count,omitempty"`  // 1 when left out
	Region string            `json:"region,omitempty"` // the cluster's when left out; another one stretches the cluster
	Zone   string            `json:"zone,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Taints []Taint           `json:"taints,omitempty"`
}

// Taint is a Kubernetes node taint.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// WAN joins the regions and the clusters in them.
type WAN struct {
	Links   []Link  `json:"links,omitempty"`
	Peering Peering `json:"peering,omitempty"`
	Rules   []Rule  `json:"rules,omitempty"`
}

// Link joins two regions: both directions alike with Between, or one
// direction with From and To.
type Link struct {
	Between []string `json:"between,omitempty"` // two regions
	From    string   `json:"from,omitempty"`
	To      string   `json:"to,omitempty"`

	RTT     Duration `json:"rtt,omitempty"`     // round trip, halved each way; only with Between
	Latency Duration `json:"latency,omitempty"` // one way
	Jitter  Duration `json:"jitter,omitempty"`  // standard deviation, per direction
	Loss    *Loss    `json:"loss,omitempty"`    // per direction
	Rate    Rate     `json:"rate,omitempty"`    // per direction; 0 is unlimited
	Queue   Duration `json:"queue,omitempty"`   // how much time's worth of traffic at Rate may wait; 100ms when left out
	Reorder bool     `json:"reorder,omitempty"` // lets jitter reorder packets
}

// Loss is either independent ("0.01%") or, given as a mapping, bursty by the
// Gilbert-Elliott model: per packet, Enter and Leave are the chances to go
// into and out of the bad state, Bad and Good the chances to lose a packet there.
type Loss struct {
	Ratio Ratio `json:"ratio,omitempty"` // independent (Bernoulli) loss

	Enter Ratio `json:"enter,omitempty"`
	Leave Ratio `json:"leave,omitempty"`
	Bad   Ratio `json:"bad,omitempty"` // 100% when left out
	Good  Ratio `json:"good,omitempty"`
}

// PeeringMode is how clusters are peered.
type PeeringMode string

// The peering modes.
const (
	Mesh PeeringMode = "mesh" // every pair
	Star PeeringMode = "star" // the hub with every other
	List PeeringMode = "list" // just the listed pairs
)

// Peering says which clusters exchange traffic at all. Mesh when left out.
type Peering struct {
	Mode     PeeringMode `json:"mode,omitempty"`
	Hub      string      `json:"hub,omitempty"`      // star only
	Peerings []Peer      `json:"peerings,omitempty"` // list only
}

// Peer is one peered pair of clusters.
type Peer struct {
	Between []string `json:"between"`
	Routes  []Route  `json:"routes,omitempty"` // when left out: each side's three ranges, both ways
}

// Route is a rule of a route table: From sends what is meant for To through
// this peering. Via, where given, is the cluster that passes it on (transit).
type Route struct {
	From string `json:"from"`
	To   Prefix `json:"to"`
	Via  string `json:"via,omitempty"`
}

// Rule is a security list. An ordered pair of clusters that no rule names is
// open; one that is named admits only what its rules list, and the replies.
type Rule struct {
	From  Names  `json:"from"`
	To    Names  `json:"to"`
	Allow []Port `json:"allow,omitempty"`
}

// Names is one name or a list of them.
type Names []string

// Stack is what runs over the clusters.
type Stack struct {
	Admin  *Admin    `json:"admin,omitempty"`
	Agents *Agents   `json:"agents,omitempty"`
	Mesh   *MeshSpec `json:"mesh,omitempty"`
}

// Engine is what answers behind an API.
type Engine string

// The engines.
const (
	EngineBuiltin  Engine = "builtin"
	EngineChart    Engine = "chart"
	EngineBinaries Engine = "binaries"
)

// Admin is the hub: it places workloads on the managed clusters.
type Admin struct {
	API    string `json:"api"` // karmada
	Engine Engine `json:"engine,omitempty"`
}

// Agents join the managed clusters to the hub.
type Agents struct {
	Mode string   `json:"mode,omitempty"` // pull
	On   []string `json:"on,omitempty"`   // every managed cluster when left out
}

// MeshSpec is the service mesh.
type MeshSpec struct {
	API     string   `json:"api"`              // istio
	Layout  string   `json:"layout,omitempty"` // multi-primary
	Primary string   `json:"primary,omitempty"`
	Engine  Engine   `json:"engine,omitempty"`
	On      []string `json:"on,omitempty"` // every managed cluster when left out
}

// Workload is applied to the hub, or with Via direct to the clusters On.
// A bare string is the name of one in the library.
type Workload struct {
	Name     string   `json:"name"`
	Manifest string   `json:"manifest,omitempty"` // a file beside the topology; the library's when left out
	Via      string   `json:"via,omitempty"`      // hub (default) | direct
	On       []string `json:"on,omitempty"`

	// Objects is the manifest's text, read when the file is loaded, so that a
	// topology is complete in itself.
	Objects []byte `json:"-"`
}

// Scenario is one question. Exactly one of the kinds is set.
type Scenario struct {
	Name string `json:"name,omitempty"` // "<kind>" or "<kind>-2" … when left out

	Peering             *PeeringScenario             `json:"peering,omitempty"`
	Placement           *PlacementScenario           `json:"placement,omitempty"`
	Traffic             *TrafficScenario             `json:"traffic,omitempty"`
	NodeFailure         *NodeFailureScenario         `json:"nodeFailure,omitempty"`
	ControlPlaneFailure *ControlPlaneFailureScenario `json:"controlPlaneFailure,omitempty"`
	AgentPartition      *AgentPartitionScenario      `json:"agentPartition,omitempty"`
}

// PeeringScenario checks every ordered pair of clusters: what is allowed
// answers, what is forbidden does not, the round trip is the link's; then one
// peering is cut and healed.
type PeeringScenario struct {
	Cut []string `json:"cut,omitempty"` // the pair to cut; a seeded choice when left out
}

// PlacementScenario applies steps to a workload on the hub and reads the
// replicas from the members' own API servers.
type PlacementScenario struct {
	Workload string          `json:"workload"`
	Steps    []PlacementStep `json:"steps"`
}

// PlacementStep changes the replicas, the weights or both.
type PlacementStep struct {
	Replicas *int             `json:"replicas,omitempty"`
	Weights  map[string]int64 `json:"weights,omitempty"`
	Expect   map[string]int   `json:"expect,omitempty"` // replicas per cluster; the plan's prediction when left out
}

// TrafficScenario sends requests from a workload and counts who answers.
type TrafficScenario struct {
	From      string        `json:"from"` // CLUSTER/WORKLOAD
	To        string        `json:"to"`   // a URL
	Requests  int           `json:"requests,omitempty"`
	Partition string        `json:"partition,omitempty"` // afterwards, cut this cluster off: the others must answer
	Expect    TrafficExpect `json:"expect,omitempty"`
}

// TrafficExpect names the clusters that answer, in proportion to their ready
// endpoints.
type TrafficExpect struct {
	Clusters []string `json:"clusters,omitempty"`
}

// NodeFailureScenario stops a node and watches Kubernetes replace its pods.
type NodeFailureScenario struct {
	Cluster string            `json:"cluster"`
	Node    string            `json:"node"`
	Expect  NodeFailureExpect `json:"expect,omitempty"`
}

// NodeFailureExpect bounds the times, measured from the failure; those left
// out follow from the timers in force.
type NodeFailureExpect struct {
	NotReadyWithin Duration `json:"notReadyWithin,omitempty"`
	ReplacedWithin Duration `json:"replacedWithin,omitempty"`
}

// ControlPlaneFailureScenario kills a cluster's control plane, starts it
// again, and checks that no object was lost and pods kept running.
type ControlPlaneFailureScenario struct {
	Cluster string `json:"cluster"`
}

// AgentPartitionScenario cuts a managed cluster off from the hub, changes the
// workload meanwhile, and checks that its pods keep running, that the hub
// sees the cluster as not ready, and that it catches up after healing.
type AgentPartitionScenario struct {
	Cluster  string `json:"cluster"`
	Workload string `json:"workload"`
}

// Duration is a Go duration in text ("140ms").
type Duration struct{ time.Duration }

// Ratio is a share between 0 and 1, written as a percentage ("0.01%") or a number.
type Ratio float64

// Rate is bits per second, written with the units of tc(8) in bits ("1Gbit",
// "10Mbit"). 0 is unlimited.
type Rate uint64

// Prefix is an IP network ("10.10.0.0/16"). The zero value is "left out".
type Prefix struct{ netip.Prefix }

// Port is a protocol and, but for icmp, a port: "tcp/6443", "udp/53", "icmp".
type Port struct {
	Protocol string
	Number   uint16
}
