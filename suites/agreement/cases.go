package agreement

import (
	"fmt"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1alpha1 "github.com/atoll-dev/atoll/fixtures/stack/admin/api/policy/v1alpha1"
)

// Case is a template with a policy of its own, and what is done to it.
type Case struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // one of the kinds
	// Descending is how ties are to be broken: see sim/placement.
	Descending bool `json:"descending"`
	// Live cases run their pods, and their status is compared too. The others'
	// Deployments are paused: a division is no less one without pods.
	Live bool `json:"live"`
	// Requests are what a replica asks for: with none, a template that is scaled
	// to zero is to Karmada like one that has no replicas.
	Requests map[string]string `json:"requests,omitempty"`
	Steps    []Step            `json:"steps"` // the first is how it begins
}

// ByRoom tells that the case hangs on how much room the members have. It is
// asked while nothing runs that takes any.
func (c *Case) ByRoom() bool {
	return c.Kind == Spread || c.Kind == Regional || c.Kind == ByFree || c.Kind == Together
}

// Step is what a case is after it.
type Step struct {
	What      string                   `json:"what"`
	Replicas  int32                    `json:"replicas"`
	Placement policyv1alpha1.Placement `json:"placement"`
	// Reschedule asks the scheduler to decide anew, as a WorkloadRebalancer does.
	Reschedule bool `json:"reschedule,omitempty"`
}

// Member is what a policy may select a cluster by.
type Member struct {
	Name, Region string
	Tier         string // the label TierLabel
}

// TierLabel is on every member's Cluster while cases are asked.
const TierLabel = "atoll.dev/tier"

// The kinds of cases.
const (
	Weights    = "static weights"
	ByLabel    = "static weights by label"
	Even       = "divided, no weights"
	Duplicated = "duplicated"
	Spread     = "spread over clusters"
	Regional   = "spread over regions"
	ByFree     = "dynamic weights"
	Together   = "aggregated"
	Ordered    = "several affinities"
	Nowhere    = "no cluster fits"
)

// share is out of how many cases how many are of a kind.
var share = []struct {
	kind string
	of   int
}{{Weights, 30}, {ByLabel, 10}, {Even, 6}, {Duplicated, 8}, {Spread, 8}, {Regional, 6}, {ByFree, 10}, {Together, 10}, {Ordered, 8}, {Nowhere, 4}}

// little is asked for where room does not matter; sizes are from what a node
// takes many of to what it takes two of, by Karmada's own resource models.
var (
	little = map[string]string{"cpu": "10m", "memory": "16Mi"}
	sizes  = []map[string]string{nil, little, {"cpu": "500m"}, {"cpu": "1"}, {"cpu": "1500m", "memory": "1Gi"}, {"memory": "9Gi"}}
)

// liveEvery is one in how many cases runs its pods.
const liveEvery = 8

// Cases are n cases over these members; the seed fixes them.
func Cases(seed uint64, n int, members []Member) []Case {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x61746f6c6c)), members: members}
	out := make([]Case, n)
	for i := range out {
		out[i] = g.one(i)
	}
	return out
}

type generator struct {
	*rand.Rand
	members []Member
}

func (g *generator) one(i int) Case {
	c := Case{Name: fmt.Sprintf("case-%03d", i), Descending: g.IntN(2) == 1}
	at, sum := g.IntN(100), 0
	for _, s := range share {
		if sum += s.of; at < sum {
			c.Kind = s.kind
			break
		}
	}
	switch {
	case c.ByRoom():
		c.Requests = sizes[g.IntN(len(sizes))]
	case g.IntN(2) == 1:
		c.Requests = little
	}
	c.Live = i%liveEvery == 0 && !c.ByRoom()
	now := Step{What: "begin", Replicas: g.replicas(c.Kind), Placement: g.placement(c.Kind)}
	c.Steps = append(c.Steps, now)
	for range 1 + g.IntN(3) {
		now = g.change(c.Kind, now)
		c.Steps = append(c.Steps, now)
	}
	return c
}

// replicas are few, as in a lab; none at times, and at times more than there
// is room for.
func (g *generator) replicas(kind string) int32 {
	if g.IntN(15) == 0 {
		return 0
	}
	most := 15
	if kind == ByFree || kind == Together {
		most = 30
	}
	return int32(1 + g.IntN(most))
}

// change scales, or changes the policy, or both where the outcome does not
// hang on which came first, or asks that it be decided anew.
func (g *generator) change(kind string, now Step) Step {
	next := Step{Replicas: now.Replicas, Placement: now.Placement}
	how := g.IntN(4)
	switch kind {
	case ByFree, Together:
		if how == 3 {
			next.What, next.Reschedule = "decide anew", true
			return next
		}
	case Spread, Regional, Ordered:
		how = g.IntN(3)
	}
	if how != 2 {
		for next.Replicas == now.Replicas {
			next.Replicas = g.replicas(kind)
		}
		next.What = fmt.Sprintf("scale to %d", next.Replicas)
	}
	if how >= 2 {
		next.Placement = g.placement(kind)
		if next.What != "" {
			next.What += ", and "
		}
		next.What += "another placement"
	}
	return next
}

func (g *generator) placement(kind string) policyv1alpha1.Placement {
	p := policyv1alpha1.Placement{ClusterAffinity: g.affinity()}
	divided := &policyv1alpha1.ReplicaSchedulingStrategy{
		ReplicaSchedulingType: policyv1alpha1.Divided, ReplicaDivisionPreference: policyv1alpha1.Weighted,
	}
	switch kind {
	case Weights:
		p.ReplicaScheduling = divided
		divided.WeightPreference = &policyv1alpha1.ClusterPreferences{StaticWeightList: g.weights()}
	case ByLabel:
		p.ReplicaScheduling = divided
		divided.WeightPreference = &policyv1alpha1.ClusterPreferences{StaticWeightList: []policyv1alpha1.StaticClusterWeight{
			{TargetCluster: *g.byTier(), Weight: g.weight()},
			{TargetCluster: *g.byRegion(), Weight: g.weight()},
		}}
	case Even:
		p.ReplicaScheduling = divided
	case ByFree, Together:
		p.ReplicaScheduling = divided
		divided.WeightPreference = &policyv1alpha1.ClusterPreferences{DynamicWeight: policyv1alpha1.AvailableReplicas}
		if kind == Together {
			divided.ReplicaDivisionPreference, divided.WeightPreference = policyv1alpha1.Aggregated, nil
		}
		if g.IntN(3) == 0 {
			p.SpreadConstraints = g.spread(g.IntN(2) == 0)
		}
	case Regional:
		if g.IntN(2) == 0 {
			p = g.placement([]string{ByFree, Together}[g.IntN(2)])
			p.SpreadConstraints = g.spread(true)
			return p
		}
		fallthrough
	case Spread:
		p.SpreadConstraints = g.spread(kind == Regional)
		fallthrough
	case Duplicated:
		p.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.Duplicated}
	case Ordered:
		p.ClusterAffinity = nil
		for i := range 2 {
			a := policyv1alpha1.ClusterAffinityTerm{AffinityName: fmt.Sprintf("group-%d", i), ClusterAffinity: *g.affinity()}
			if i == 0 && g.IntN(2) == 0 { // only the second has clusters
				a.ClusterAffinity = policyv1alpha1.ClusterAffinity{ClusterNames: []string{"nowhere"}}
			}
			p.ClusterAffinities = append(p.ClusterAffinities, a)
		}
		p.ReplicaScheduling = divided
		divided.WeightPreference = &policyv1alpha1.ClusterPreferences{StaticWeightList: g.weights()}
	case Nowhere:
		p.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"nowhere"}}
		p.ReplicaScheduling = divided
	}
	return p
}

// spread bounds the number of clusters, and that of regions too if they count.
func (g *generator) spread(regions bool) []policyv1alpha1.SpreadConstraint {
	out := []policyv1alpha1.SpreadConstraint{g.bounds(policyv1alpha1.SpreadByCluster, len(g.members))}
	if !regions {
		return out
	}
	there := map[string]bool{}
	for _, m := range g.members {
		there[m.Region] = true
	}
	return append(out, g.bounds(policyv1alpha1.SpreadByRegion, len(there)))
}

func (g *generator) bounds(field string, groups int) policyv1alpha1.SpreadConstraint {
	most := 1 + g.IntN(groups)
	return policyv1alpha1.SpreadConstraint{SpreadByField: field, MinGroups: 1 + g.IntN(most), MaxGroups: most}
}

// affinity selects some of the members, in one of the ways there are.
func (g *generator) affinity() *policyv1alpha1.ClusterAffinity {
	switch g.IntN(8) {
	case 0:
		return g.byTier()
	case 1:
		return g.byRegion()
	case 2:
		return &policyv1alpha1.ClusterAffinity{ExcludeClusters: []string{g.members[g.IntN(len(g.members))].Name}}
	case 3, 4:
		return &policyv1alpha1.ClusterAffinity{ClusterNames: g.names(1)}
	}
	return &policyv1alpha1.ClusterAffinity{ClusterNames: g.names(len(g.members))}
}

// names are at least so many of the members, in the plan's order.
func (g *generator) names(least int) []string {
	n := least + g.IntN(len(g.members)-least+1)
	chosen := g.Perm(len(g.members))[:n]
	slices.Sort(chosen)
	out := make([]string, n)
	for i, at := range chosen {
		out[i] = g.members[at].Name
	}
	return out
}

func (g *generator) byTier() *policyv1alpha1.ClusterAffinity {
	return &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{
		MatchLabels: map[string]string{TierLabel: g.members[g.IntN(len(g.members))].Tier},
	}}
}

func (g *generator) byRegion() *policyv1alpha1.ClusterAffinity {
	return &policyv1alpha1.ClusterAffinity{FieldSelector: &policyv1alpha1.FieldSelector{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: "region", Operator: corev1.NodeSelectorOpIn, Values: []string{g.members[g.IntN(len(g.members))].Region},
	}}}}
}

func (g *generator) weight() int64 { return int64(1 + g.IntN(9)) }

// weights are a rule for each of some members, and at times one for several:
// a cluster may match two rules, or none.
func (g *generator) weights() []policyv1alpha1.StaticClusterWeight {
	var out []policyv1alpha1.StaticClusterWeight
	for _, name := range g.names(1 + g.IntN(len(g.members))) {
		out = append(out, policyv1alpha1.StaticClusterWeight{
			TargetCluster: policyv1alpha1.ClusterAffinity{ClusterNames: []string{name}}, Weight: g.weight(),
		})
	}
	if g.IntN(4) == 0 {
		out = append(out, policyv1alpha1.StaticClusterWeight{
			TargetCluster: policyv1alpha1.ClusterAffinity{ClusterNames: g.names(1)}, Weight: g.weight(),
		})
	}
	return out
}
