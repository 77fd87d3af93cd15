package agreement

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Record is what one engine answered.
type Record struct {
	Engine   string            `json:"engine"`
	Versions map[string]string `json:"versions"`
	Seed     uint64            `json:"seed"`
	Started  time.Time         `json:"started"`
	Elapsed  time.Duration     `json:"elapsed"`
	Cases    []Answer          `json:"cases"`
	// Room is what there was on each member when cases were asked that hang on it.
	Room map[string]Room `json:"room"`
	// Failure is what became of the member that was cut off.
	Failure *Failure `json:"failure,omitempty"`
}

// Answer is what came of a case.
type Answer struct {
	Case Case   `json:"case"`
	Seen []Seen `json:"seen"` // a step each
	// Events are "Deployment: Normal ScheduleBindingSucceed", each once, about
	// the template, its Service and its binding.
	Events []string `json:"events"`
	// Gone tells that the members had nothing of it any more when its template
	// and its policy had been deleted.
	Gone bool `json:"gone"`
	// Error says why it could not be asked to the end.
	Error string `json:"error,omitempty"`
}

// Seen is what there is after a step, when nothing changes any more.
type Seen struct {
	What string `json:"what"`
	// Settled says that scheduler and members were done; if not, what follows
	// is how it was when patience ended.
	Settled   bool             `json:"settled"`
	Took      time.Duration    `json:"took"`
	Division  map[string]int32 `json:"division"` // the binding's
	Members   map[string]int32 `json:"members"`  // the members' Deployments
	Services  []string         `json:"services"` // the members that have the Service
	Scheduled string           `json:"scheduled"`
	Affinity  string           `json:"affinity,omitempty"` // of several, the one in use
	// Behind tells that it was scheduled, and that the status of the binding
	// names an older generation than it has.
	Behind bool `json:"behind,omitempty"`
	// Status is the template's, of live cases.
	Status *Status `json:"status,omitempty"`
}

// Status is what the hub has added up onto a Deployment.
type Status struct {
	Replicas  int32 `json:"replicas"`
	Updated   int32 `json:"updated"`
	Ready     int32 `json:"ready"`
	Available int32 `json:"available"`
	Observed  bool  `json:"observed"` // the template's last generation
}

func (s *Status) String() string {
	if s == nil {
		return "not asked"
	}
	return fmt.Sprintf("%d replicas, %d updated, %d ready, %d available, observed: %v", s.Replicas, s.Updated, s.Ready, s.Available, s.Observed)
}

// Room is how much a member has free, as the hub knows.
type Room struct {
	Pods  int64        `json:"pods"`  // that more could run
	Nodes map[uint]int `json:"nodes"` // how many are of each grade; see the Cluster's resource models
}

func (r Room) String() string {
	var grades []string
	for _, g := range slices.Sorted(maps.Keys(r.Nodes)) {
		if n := r.Nodes[g]; n > 0 {
			grades = append(grades, fmt.Sprintf("%d of grade %d", n, g))
		}
	}
	return fmt.Sprintf("%d pods, nodes: %s", r.Pods, strings.Join(grades, ", "))
}

// Failure is a member as the hub sees it.
type Failure struct {
	Member string  `json:"member"`
	Lost   Cluster `json:"lost"`   // while it was cut off
	Healed Cluster `json:"healed"` // when it was back
}

// Cluster is a Cluster's condition and taints.
type Cluster struct {
	Ready  string        `json:"ready"` // "Unknown ClusterStatusUnknown"
	Taints []string      `json:"taints"`
	After  time.Duration `json:"after"`
}
