package topologies

// PodFailureScenario kills one pod of a workload and follows its replacement.
type PodFailureScenario struct {
	Cluster   string           `json:"cluster"`             // where it runs
	Name      string           `json:"name"`                // a Deployment, StatefulSet or DaemonSet, of which the oldest ready pod is killed, or a pod
	Namespace string           `json:"namespace,omitempty"` // default when left out
	Expect    PodFailureExpect `json:"expect,omitzero"`
}

// PodFailureExpect bounds the times, measured from the failure.
type PodFailureExpect struct {
	ReplacedWithin Duration `json:"replacedWithin,omitzero"` // until another pod is ready; 30s when left out
}

// CongestionScenario fills the links between two clusters, both ways, with more
// than they take, and measures what others wait behind it; then it lets the
// queues drain.
type CongestionScenario struct {
	From string `json:"from"`           // a cluster
	To   string `json:"to"`             // one that is peered with it, over links that have a rate
	Load Ratio  `json:"load,omitempty"` // what is sent, as a share of each link's rate; 110% when left out
}

// ScheduleScenario goes along with the schedule of the links between two
// clusters: in every phase that is still to come, and in the one that it begins
// in, the round trip and the loss must be what the schedule says.
type ScheduleScenario struct {
	From string `json:"from"` // a cluster
	To   string `json:"to"`   // one that is peered with it, over links with a schedule
}
