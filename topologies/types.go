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
	APIVersion string   `json:"apiVersion" jsonschema:"enum=atoll.dev/v1alpha1"` // atoll.dev/v1alpha1
	Kind       string   `json:"kind" jsonschema:"enum=Topology"`                 // Topology
	Metadata   Metadata `json:"metadata"`                                        // what it is called
	Spec       Spec     `json:"spec"`                                            // the world
}

// Metadata names a topology. A lab made from it carries the name.
type Metadata struct {
	Name string `json:"name"` // a DNS label of at most 40 characters
}

// Spec is the world.
type Spec struct {
	Kubernetes string     `json:"kubernetes,omitempty"`                                  // every cluster's version; v1.36.3 when left out
	Timers     Timers     `json:"timers,omitempty" jsonschema:"enum=default,enum=short"` // how fast failures are noticed; default (Kubernetes' and Karmada's own) when left out
	Clusters   []Cluster  `json:"clusters"`                                              // at least one
	WAN        WAN        `json:"wan,omitzero"`                                          // what joins the regions
	Stack      Stack      `json:"stack,omitzero"`                                        // what runs over the clusters
	Workloads  []Workload `json:"workloads,omitempty"`                                   // what is deployed
	Scenarios  []Scenario `json:"scenarios,omitempty"`                                   // what is asked
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
	Name       string      `json:"name"`                                                // a DNS label of at most 40 characters, and not "hub"
	Region     string      `json:"region"`                                              // where it is; links join regions
	Role       Role        `json:"role,omitempty" jsonschema:"enum=admin,enum=managed"` // managed when left out; at most one is the admin
	Network    string      `json:"network,omitempty"`                                   // the mesh's network: clusters of one dial each other's pods; the cluster's name when left out (in a flat mesh, the first cluster's network)
	Kubernetes string      `json:"kubernetes,omitempty"`                                // this cluster's version, where it differs
	CIDRs      CIDRs       `json:"cidrs,omitzero"`                                      // its ranges; those left out are assigned
	Overlay    *Overlay    `json:"overlay,omitempty"`                                   // the nodes' own network over the WAN; without one they use their addresses in cidrs.nodes
	Nodes      []NodeGroup `json:"nodes,omitempty"`                                     // one control-plane node when left out
	Existing   *Existing   `json:"existing,omitempty"`                                  // provider existing only: which one it is
}

// Existing says which of your clusters a cluster is, for the provider of that
// name; others pass it over.
type Existing struct {
	Context    string `json:"context,omitempty"`    // of the kubeconfig; the cluster's name when left out
	Kubeconfig string `json:"kubeconfig,omitempty"` // a file, relative to the topology's folder; KUBECONFIG or ~/.kube/config when left out
	APIServer  string `json:"apiServer,omitempty"`  // HOST:PORT by which other clusters reach its API server; the kubeconfig's when left out
	// NodeAddress is a name or an IPv4 address by which other clusters reach a
	// port of its nodes, where a hub is; its first node's internal address when
	// left out.
	NodeAddress string `json:"nodeAddress,omitempty"`
	Image       string `json:"image,omitempty"` // where its nodes have atoll's own image; atoll.dev/atoll:VERSION when left out

	// AllowFaults are the faults that may be done to it, of kill-pod and
	// cordon-node; none when left out.
	AllowFaults []string `json:"allowFaults,omitempty" jsonschema:"enum=kill-pod,enum=cordon-node"`
}

// CIDRs are the cluster's three ranges. Those left out are assigned without
// overlap with any other range of the topology.
type CIDRs struct {
	Nodes    Prefix `json:"nodes,omitzero"`    // its last quarter is for Services of type LoadBalancer
	Pods     Prefix `json:"pods,omitzero"`     // divided among the nodes
	Services Prefix `json:"services,omitzero"` // cluster DNS has the tenth address
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
	Name   string            `json:"name,omitempty"`                                   // of a single node; control-plane, worker-1 … when left out
	Role   NodeRole          `json:"role" jsonschema:"enum=control-plane,enum=worker"` // control-plane or worker
	Count  int               `json:"count,omitempty"`                                  // how many; 1 when left out
	Region string            `json:"region,omitempty"`                                 // the cluster's when left out; another one stretches the cluster
	Zone   string            `json:"zone,omitempty"`                                   // becomes the label topology.kubernetes.io/zone
	Labels map[string]string `json:"labels,omitempty"`                                 // Kubernetes labels of each node
	Taints []Taint           `json:"taints,omitempty"`                                 // Kubernetes taints of each node

	// Schedulable lets control-plane nodes take ordinary pods although the
	// cluster has workers: they lack kubeadm's taint.
	Schedulable bool `json:"schedulable,omitempty"`
}

// Taint is a Kubernetes node taint.
type Taint struct {
	Key    string `json:"key"`                                                                      // a qualified name
	Value  string `json:"value,omitempty"`                                                          // may be empty
	Effect string `json:"effect" jsonschema:"enum=NoSchedule,enum=PreferNoSchedule,enum=NoExecute"` // what it does to pods that do not tolerate it
}

// WAN joins the regions and the clusters in them.
type WAN struct {
	Links   []Link  `json:"links,omitempty"`  // between regions; clusters of one region have an implicit link of 0.5 ms round trip
	Peering Peering `json:"peering,omitzero"` // which clusters exchange traffic at all
	Rules   []Rule  `json:"rules,omitempty"`  // security lists, by cluster
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
	Mode     PeeringMode `json:"mode,omitempty" jsonschema:"enum=mesh,enum=star,enum=list"` // mesh when left out
	Hub      string      `json:"hub,omitempty"`                                             // star only: the cluster in the middle
	Peerings []Peer      `json:"peerings,omitempty"`                                        // list: the pairs; star: the routes of the hub's peerings that have some
}

// Peer is one peered pair of clusters.
type Peer struct {
	Between []string `json:"between" jsonschema:"minItems=2,maxItems=2"` // two clusters
	Routes  []Route  `json:"routes,omitempty"`                           // when left out: each side's three ranges, both ways
}

// Route is a rule of a route table: From sends what is meant for To through
// this peering. Via, where given, is the cluster that passes it on (transit).
type Route struct {
	From string `json:"from"`          // one of the two clusters
	To   Prefix `json:"to"`            // where it may send
	Via  string `json:"via,omitempty"` // the cluster that passes it on
}

// Rule is a security list. An ordered pair of clusters that no rule names is
// open; one that is named admits only what its rules list, and the replies.
// An end is a cluster, or one of its ranges: CLUSTER/nodes, CLUSTER/pods,
// CLUSTER/services. A rule for a range admits that range's traffic, and makes
// the pair of clusters one that is named.
type Rule struct {
	Name  string `json:"name,omitempty"`  // what scenarios and faults call it; may be left out
	From  Names  `json:"from"`            // clusters, or ranges of them
	To    Names  `json:"to"`              // clusters, or ranges of them; a pair of a cluster with itself is passed over
	Allow []Port `json:"allow,omitempty"` // nothing when left out
}

// Names is one name or a list of them.
type Names []string

// Stack is what runs over the clusters.
type Stack struct {
	Admin  *Admin    `json:"admin,omitempty"`  // the hub, on the cluster whose role is admin
	Agents *Agents   `json:"agents,omitempty"` // what joins clusters to the hub
	Mesh   *MeshSpec `json:"mesh,omitempty"`   // the service mesh

	Ingress *Ingress `json:"ingress,omitempty"` // what lets requests from outside in
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
	API    string `json:"api" jsonschema:"enum=karmada"`                                       // karmada
	Engine Engine `json:"engine,omitempty" jsonschema:"enum=builtin,enum=chart,enum=binaries"` // builtin when left out
	Chart  *Chart `json:"chart,omitempty"`                                                     // engine chart only: Karmada's chart
}

// The modes of joining a cluster to the hub.
const (
	ModePull = "pull"
	ModePush = "push"
)

// Agents join the managed clusters to the hub.
type Agents struct {
	Mode string   `json:"mode,omitempty" jsonschema:"enum=pull,enum=push"` // pull when left out: an agent in each cluster dials the hub; push: the hub dials each cluster's API server
	On   []string `json:"on,omitempty"`                                    // every managed cluster when left out; the admin may be named too
}

// MeshSpec is the service mesh.
type MeshSpec struct {
	API     string   `json:"api" jsonschema:"enum=istio"`                                                    // istio
	Layout  string   `json:"layout,omitempty" jsonschema:"enum=multi-primary,enum=primary-remote,enum=flat"` // multi-primary when left out
	Primary string   `json:"primary,omitempty"`                                                              // primary-remote only: the cluster with the control plane
	Engine  Engine   `json:"engine,omitempty" jsonschema:"enum=builtin,enum=chart,enum=binaries"`            // builtin when left out
	On      []string `json:"on,omitempty"`                                                                   // every managed cluster when left out
	MCS     bool     `json:"mcs,omitempty"`                                                                  // multi-cluster services too: ServiceExport, ServiceImport, clusterset.local
	Ingress []string `json:"ingress,omitempty"`                                                              // the clusters with a gateway into the mesh; none when left out
	Chart   *Chart   `json:"chart,omitempty"`                                                                // engine chart only: Istio's charts
}

// The ways a workload reaches the clusters.
const (
	ViaHub    = "hub"
	ViaDirect = "direct"
)

// The layouts of a mesh.
const (
	MultiPrimary  = "multi-primary"  // a control plane in each cluster; gateways join the networks, where there are several
	PrimaryRemote = "primary-remote" // one control plane for all; gateways as above
	Flat          = "flat"           // a control plane in each cluster, all of one network: pods dial each other
)

// Workload is applied to the hub, or with Via direct to the clusters On.
// A bare string is the name of one in the library.
type Workload struct {
	Name     string   `json:"name"`                                            // a DNS label; what scenarios call it
	Manifest string   `json:"manifest,omitempty"`                              // a file in the topology's folder; the library's when left out
	Via      string   `json:"via,omitempty" jsonschema:"enum=hub,enum=direct"` // hub when left out, direct if there is no hub
	On       []string `json:"on,omitempty"`                                    // via direct only: the clusters; every managed one when left out
	// Place is, via direct only, on which clusters Deployments of the manifest
	// are, by cluster: one that is named is on the clusters that name it, all
	// else is on every cluster.
	Place  map[string][]string `json:"place,omitempty"`
	Policy Policy              `json:"policy,omitempty" jsonschema:"enum=withhold"` // via hub only: withhold its propagation policies until a placement scenario applies them

	// Objects is the manifest itself, Kubernetes objects in YAML. It is read
	// from Manifest when the file is loaded, so that a topology is complete in
	// itself; where both are given, Manifest is not read.
	Objects Objects `json:"objects,omitempty"`
}

// Objects are Kubernetes objects as YAML text.
type Objects []byte

// Scenario is one question. Exactly one of the kinds is set.
type Scenario struct {
	Name string `json:"name,omitempty"` // "<kind>" or "<kind>-2" … when left out

	Peering             *PeeringScenario             `json:"peering,omitempty"`             // who reaches whom, and how fast
	Placement           *PlacementScenario           `json:"placement,omitempty"`           // how the hub divides replicas
	Traffic             *TrafficScenario             `json:"traffic,omitempty"`             // who answers, and how fast
	NodeFailure         *NodeFailureScenario         `json:"nodeFailure,omitempty"`         // a node stops
	ControlPlaneFailure *ControlPlaneFailureScenario `json:"controlPlaneFailure,omitempty"` // a control plane is killed and started again
	AgentPartition      *AgentPartitionScenario      `json:"agentPartition,omitempty"`      // a cluster is cut off from the hub
	Running             *RunningScenario             `json:"running,omitempty"`             // every pod of a workload runs where it belongs
	Proxies             *ProxiesScenario             `json:"proxies,omitempty"`             // which control planes of the mesh answer, and for whom
	Firewall            *FirewallScenario            `json:"firewall,omitempty"`            // what passes with a security rule, and without it
	Shop                *ShopScenario                `json:"shop,omitempty"`                // the shop's pages
	Change              *ChangeScenario              `json:"change,omitempty"`              // the topology changes while the lab runs
	SiteFailure         *SiteFailureScenario         `json:"siteFailure,omitempty"`         // every node of a region stops
	Quorum              *QuorumScenario              `json:"quorum,omitempty"`              // voters of a datastore stop, one too many
	PodFailure          *PodFailureScenario          `json:"podFailure,omitempty"`          // a pod is killed
	Congestion          *CongestionScenario          `json:"congestion,omitempty"`          // links are filled
	Schedule            *ScheduleScenario            `json:"schedule,omitempty"`            // links change over time
}

// PeeringScenario checks every ordered pair of clusters: what is allowed
// answers, what is forbidden does not, the round trip is the link's; then one
// peering is cut and healed.
type PeeringScenario struct {
	Cut   []string `json:"cut,omitempty" jsonschema:"minItems=2,maxItems=2"` // the pair to cut; a seeded choice when left out
	Ports []Port   `json:"ports,omitempty"`                                  // to try beside those that a rule or the stack names

	RemoveRoute *Direction `json:"removeRoute,omitempty"` // afterwards, take what leads to a cluster out of another's route table: just that direction breaks
}

// Direction is a way from one cluster to another.
type Direction struct {
	From string `json:"from"` // a cluster
	To   string `json:"to"`   // one that is peered with it
}

// TrafficScenario sends requests from a workload and counts who answers.
type TrafficScenario struct {
	From      string        `json:"from"`                // CLUSTER/WORKLOAD, or WORKLOAD for one that the hub places: from wherever it is
	To        string        `json:"to"`                  // a URL
	Requests  int           `json:"requests,omitempty"`  // 100 when left out
	Partition string        `json:"partition,omitempty"` // afterwards, cut this cluster off: the others must answer
	Expect    TrafficExpect `json:"expect,omitzero"`     // the plan's prediction when left out
}

// TrafficExpect names the clusters that answer, in proportion to their ready
// endpoints.
type TrafficExpect struct {
	Clusters []string `json:"clusters,omitempty"` // exactly these
	Regions  bool     `json:"regions,omitempty"`  // each reply names the region of the cluster that gave it, as REGION=NAME, and they are several
}

// NodeFailureScenario stops a node and watches Kubernetes replace its pods.
type NodeFailureScenario struct {
	Cluster string            `json:"cluster"`         // where the node is
	Node    string            `json:"node"`            // its name in the lab: control-plane, worker-1 …
	Pause   bool              `json:"pause,omitempty"` // halt it as it is, instead of cutting its power
	Expect  NodeFailureExpect `json:"expect,omitzero"` // the plan's prediction when left out
}

// NodeFailureExpect bounds the times, measured from the failure; those left
// out follow from the timers in force.
type NodeFailureExpect struct {
	NotReadyWithin Duration `json:"notReadyWithin,omitzero"` // until Kubernetes calls the node NotReady
	ReplacedWithin Duration `json:"replacedWithin,omitzero"` // until another node runs its pods
}

// ControlPlaneFailureScenario kills a cluster's control plane, starts it
// again, and checks that no object was lost and pods kept running.
type ControlPlaneFailureScenario struct {
	Cluster string `json:"cluster"` // the one that fails
}

// AgentPartitionScenario cuts a managed cluster off from the hub, changes the
// workload meanwhile, and checks that its pods keep running, that the hub
// sees the cluster as not ready, and that it catches up after healing.
type AgentPartitionScenario struct {
	Cluster  string `json:"cluster"`  // one with an agent, and not the admin
	Workload string `json:"workload"` // one that goes via the hub
}

// RunningScenario checks that the Deployments of a workload that is applied to
// clusters run on those that it places them on, and nowhere else.
type RunningScenario struct {
	Workload string `json:"workload"` // one that goes to clusters directly
}

// ProxiesScenario asks the mesh's control plane for its proxies in each
// cluster: one with a control plane lists those of all clusters it serves, a
// remote refuses.
type ProxiesScenario struct{}

// FirewallScenario calls pods of each cluster that the rule names from pods of
// the others, without the mesh: with the rule they answer, without it nothing
// does, and with it they answer again.
type FirewallScenario struct {
	Rule     string `json:"rule"`     // its name
	Workload string `json:"workload"` // whose pods call and answer: their images have curl, and a readiness probe by HTTP
}

// ShopScenario opens the shop of the workload library through a gateway into
// the mesh, and looks at which cluster served each part. Without Restart and
// Partition it also places an order.
type ShopScenario struct {
	Gateway   string `json:"gateway"`             // the cluster whose gateway into the mesh is asked
	Restart   string `json:"restart,omitempty"`   // a Deployment of the shop: its pod is replaced, and a cart must survive
	Partition string `json:"partition,omitempty"` // cut this cluster off: just what lives there may be missing
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
// "tcp/*" is every port.
type Port struct {
	Protocol string
	Number   uint16 // 0: every port; icmp has none
}
