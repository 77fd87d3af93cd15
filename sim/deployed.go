package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/atoll-dev/atoll/sim/placement"
	"github.com/atoll-dev/atoll/topologies"
)

// deployed is a workload as it is at one moment of the run; what is not known
// is nil.
type deployed struct {
	known      bool     // its manifest is
	deployment string   // the name of its main Deployment; "" if it has none
	services   []string // names of its Services
	withheld   bool     // there is no policy, so it is nowhere
	extended   []string // workloads that its policy selects as well
	affinity   []string // the clusters that its policy admits
	replicas   *int
	asked      map[string]int64 // the static weights as they were given
	weights    map[string]int64 // of these, what counts
	duplicated bool             // every cluster of weights gets all the replicas
	// divisions are the replicas per cluster that may be in force.
	divisions []map[string]int
	// deployments are the names of the Deployments, by cluster, of a workload
	// that is applied to clusters; nil where they are not known.
	deployments map[string][]string
}

// weigh sets the static weights. A cluster outside the affinity gets nothing,
// whatever its weight.
func (d *deployed) weigh(weights map[string]int64) {
	d.asked, d.weights, d.duplicated = maps.Clone(weights), maps.Clone(weights), false
	if d.affinity == nil {
		return
	}
	var rules []placement.Rule
	for c, w := range weights {
		rules = append(rules, placement.Rule{Matches: func(name string) bool { return name == c }, Weight: w})
	}
	d.weights = placement.Weights(d.affinity, rules)
}

// divide brings divisions up to date with replicas and weights.
func (d *deployed) divide() {
	d.divisions = nil
	switch {
	case d.withheld:
		d.divisions = []map[string]int{{}}
	case d.replicas == nil || d.weights == nil:
	case d.duplicated:
		clusters := make([]string, 0, len(d.weights))
		for c := range d.weights {
			clusters = append(clusters, c)
		}
		d.divisions = []map[string]int{placement.Duplicated(*d.replicas, clusters)}
	default:
		d.divisions = placement.Possible(*d.replicas, d.weights)
	}
}

// begin reads what a workload is when it has just been applied.
func (f *forecast) begin(w *topologies.Workload, manifests Manifests) (*deployed, error) {
	if w.Via == topologies.ViaDirect {
		return f.beginDirect(w, manifests)
	}
	objects, err := f.read(w, "", manifests)
	if err != nil || objects == nil {
		d := &deployed{services: []string{w.Name}, withheld: w.Policy == topologies.PolicyWithhold}
		d.divide()
		return d, err
	}
	d := &deployed{known: true, services: services(objects), withheld: w.Policy == topologies.PolicyWithhold}
	deployment := mainDeployment(w, objects)
	if deployment == nil {
		return d, nil
	}
	d.deployment, d.replicas = deployment.Metadata.Name, deployment.replicas()
	var members []string
	if f.plan.Hub != nil {
		members = f.plan.Hub.Members
	}
	for _, o := range objects {
		if o.Kind == "PropagationPolicy" && o.selects(deployment) {
			d.affinity = o.Spec.Placement.affinity(members)
			d.weights, d.duplicated = o.Spec.Placement.weights(d.affinity)
			d.asked = d.weights
			break
		}
	}
	d.divide()
	return d, nil
}

// objects are the Deployment and the Services, each as KIND/NAME.
func (d *deployed) objects() (out []string) {
	if d.deployment != "" {
		out = append(out, "Deployment/"+d.deployment)
	}
	for _, s := range d.services {
		out = append(out, "Service/"+s)
	}
	return out
}

// beginDirect reads a workload that is applied to clusters one by one.
func (f *forecast) beginDirect(w *topologies.Workload, manifests Manifests) (*deployed, error) {
	d := &deployed{services: []string{w.Name}}
	division := map[string]int{}
	for _, cluster := range w.On {
		objects, err := f.read(w, cluster, manifests)
		if err != nil || objects == nil {
			return d, err
		}
		d.services = services(objects)
		if d.deployments == nil {
			d.deployments = map[string][]string{}
		}
		d.deployments[cluster] = []string{}
		for _, o := range objects {
			if o.Kind == "Deployment" && w.PlacedOn(o.Metadata.Name, cluster) {
				d.deployments[cluster] = append(d.deployments[cluster], o.Metadata.Name)
			}
		}
		if err := placesKnown(w, cluster, objects); err != nil {
			return nil, err
		}
		deployment := mainDeployment(w, objects)
		if deployment == nil {
			division = nil
		}
		if division != nil {
			division[cluster] = *deployment.replicas()
			if !w.PlacedOn(deployment.Metadata.Name, cluster) {
				division[cluster] = 0
			}
		}
	}
	if division != nil {
		d.divisions = []map[string]int{division}
	}
	return d, nil
}

// placesKnown checks that what a workload places on a cluster is in its manifest.
func placesKnown(w *topologies.Workload, cluster string, objects []object) error {
	for _, name := range w.Place[cluster] {
		if !slices.ContainsFunc(objects, func(o object) bool { return o.Kind == "Deployment" && o.Metadata.Name == name }) {
			return fmt.Errorf("place: %s names %q, and the manifest has no such Deployment", cluster, name)
		}
	}
	return nil
}

func (f *forecast) read(w *topologies.Workload, cluster string, manifests Manifests) ([]object, error) {
	text, err := manifests(w, cluster)
	if err != nil {
		return nil, err
	}
	return parseObjects(text)
}

// object is what the forecast reads of a Kubernetes object.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Replicas          *int               `json:"replicas"`
		ResourceSelectors []resourceSelector `json:"resourceSelectors"`
		Placement         policyPlacement    `json:"placement"`
	} `json:"spec"`
}

type resourceSelector struct {
	APIVersion    string         `json:"apiVersion"`
	Kind          string         `json:"kind"`
	Name          string         `json:"name"`
	LabelSelector map[string]any `json:"labelSelector"`
}

// policyPlacement is the placement of a Karmada PropagationPolicy.
type policyPlacement struct {
	ClusterAffinity   *clusterAffinity `json:"clusterAffinity"`
	ClusterAffinities []any            `json:"clusterAffinities"`
	SpreadConstraints []any            `json:"spreadConstraints"`
	ReplicaScheduling *struct {
		Type             string `json:"replicaSchedulingType"`
		Division         string `json:"replicaDivisionPreference"`
		WeightPreference *struct {
			StaticWeightList []struct {
				TargetCluster clusterAffinity `json:"targetCluster"`
				Weight        int64           `json:"weight"`
			} `json:"staticWeightList"`
			DynamicWeight string `json:"dynamicWeight"`
		} `json:"weightPreference"`
	} `json:"replicaScheduling"`
}

type clusterAffinity struct {
	ClusterNames  []string       `json:"clusterNames"`
	Exclude       []string       `json:"exclude"`
	LabelSelector map[string]any `json:"labelSelector"`
	FieldSelector map[string]any `json:"fieldSelector"`
}

// byName tells whether names alone decide.
func (a *clusterAffinity) byName() bool {
	return len(a.LabelSelector) == 0 && len(a.FieldSelector) == 0
}

func (a *clusterAffinity) matches(cluster string) bool {
	return !slices.Contains(a.Exclude, cluster) &&
		(len(a.ClusterNames) == 0 || slices.Contains(a.ClusterNames, cluster))
}

// affinity returns the members that the policy admits, nil where that hangs
// on more than the clusters' names.
func (p *policyPlacement) affinity(members []string) []string {
	if len(p.ClusterAffinities) > 0 || len(p.SpreadConstraints) > 0 ||
		p.ClusterAffinity != nil && !p.ClusterAffinity.byName() {
		return nil
	}
	clusters := []string{}
	for _, m := range members {
		if p.ClusterAffinity == nil || p.ClusterAffinity.matches(m) {
			clusters = append(clusters, m)
		}
	}
	return clusters
}

// weights returns the weight of each cluster of the affinity, nil where the
// policy hangs on more than the clusters' names.
func (p *policyPlacement) weights(clusters []string) (weights map[string]int64, duplicated bool) {
	if clusters == nil {
		return nil, false
	}
	s := p.ReplicaScheduling
	if s == nil || s.Type == "Duplicated" {
		return placement.Weights(clusters, nil), true
	}
	// What is left out the hub makes Divided and Weighted.
	if s.Division == "Aggregated" {
		return nil, false // that hangs on what is free
	}
	var rules []placement.Rule
	if s.WeightPreference != nil {
		if s.WeightPreference.DynamicWeight != "" {
			return nil, false
		}
		for _, w := range s.WeightPreference.StaticWeightList {
			if !w.TargetCluster.byName() {
				return nil, false
			}
			rules = append(rules, placement.Rule{Matches: w.TargetCluster.matches, Weight: w.Weight})
		}
	}
	return placement.Weights(clusters, rules), false
}

// selects tells whether a PropagationPolicy names the Deployment.
func (o *object) selects(d *object) bool {
	return slices.ContainsFunc(o.Spec.ResourceSelectors, func(s resourceSelector) bool {
		return s.APIVersion == d.APIVersion && s.Kind == d.Kind &&
			(s.Name == d.Metadata.Name || s.Name == "" && len(s.LabelSelector) == 0)
	})
}

func (o *object) replicas() *int {
	if o.Spec.Replicas != nil {
		return o.Spec.Replicas
	}
	one := 1 // as the API server has it
	return &one
}

// mainDeployment returns the Deployment called as the workload, or else the only one.
func mainDeployment(w *topologies.Workload, objects []object) *object {
	var found *object
	n := 0
	for i, o := range objects {
		if o.Kind != "Deployment" {
			continue
		}
		if o.Metadata.Name == w.Name {
			return &objects[i]
		}
		found, n = &objects[i], n+1
	}
	if n != 1 {
		return nil
	}
	return found
}

func services(objects []object) []string {
	var names []string
	for _, o := range objects {
		if o.Kind == "Service" {
			names = append(names, o.Metadata.Name)
		}
	}
	return names
}

// parseObjects reads the kinds that the forecast knows. What is in the others,
// and an object that is not as its kind should be, is the API server's to judge.
func parseObjects(text []byte) ([]object, error) {
	var out []object
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var doc struct {
			Kind  any               `json:"kind"`
			Items []json.RawMessage `json:"items"`
		}
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		items := []json.RawMessage{raw}
		if json.Unmarshal(raw, &doc) == nil && doc.Kind == "List" {
			items = doc.Items
		}
		for _, item := range items {
			var kind struct {
				Kind string `json:"kind"`
			}
			if json.Unmarshal(item, &kind) != nil || !slices.Contains(forecastKinds, kind.Kind) {
				continue
			}
			var o object
			if json.Unmarshal(item, &o) == nil {
				out = append(out, o)
			}
		}
	}
}

var forecastKinds = []string{"Deployment", "Service", "PropagationPolicy"}
