package topologies

// Policy is what becomes of a workload's propagation policy.
type Policy string

// What a placement step may do with the policy.
const (
	PolicyApply    Policy = "apply"    // it is there
	PolicyWithhold Policy = "withhold" // it is not, and the workload is taken back from the members
)

// PlacementScenario applies steps to a workload on the hub and reads the
// replicas from the members' own API servers.
type PlacementScenario struct {
	Workload string          `json:"workload"` // one that goes via the hub
	Steps    []PlacementStep `json:"steps"`    // one after another
}

// PlacementStep changes the replicas, the weights, the policy or several of
// them; with nothing but an expect it only looks.
type PlacementStep struct {
	Policy   Policy           `json:"policy,omitempty" jsonschema:"enum=apply,enum=withhold"` // as it was when left out
	Extend   []string         `json:"extend,omitempty"`                                       // workloads that the policy selects from now on as well
	On       []string         `json:"on,omitempty"`                                           // the policy's affinity: just these clusters; as it was when left out
	Replicas *int             `json:"replicas,omitempty"`                                     // as they were when left out
	Weights  map[string]int64 `json:"weights,omitempty"`                                      // per cluster, at least 1; as they were when left out
	Expect   map[string]int   `json:"expect,omitempty"`                                       // replicas per cluster; the plan's prediction when left out
	Events   []EventExpect    `json:"events,omitempty"`                                       // on the hub; what follows from the policy when left out
}

// EventExpect is a Kubernetes event that has to be there.
type EventExpect struct {
	On      string `json:"on"`                // KIND/NAME, e.g. Service/hello
	Reason  string `json:"reason"`            // e.g. SyncSucceed
	Message string `json:"message,omitempty"` // what the message contains; anything when left out
}
