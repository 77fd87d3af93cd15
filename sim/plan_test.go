package sim

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// TestPlans plans each topology of testdata/plans and compares the
// description; -rewrite writes it anew.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata/plans", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var (
				topology *topologies.Topology
				err      error
			)
			switch d.Cmd {
			case "library":
				topology, err = topologies.FromLibrary(d.CmdArgs[0].Key)
			case "topology":
				topology, err = topologies.Parse(path, []byte(d.Input), nil)
			default:
				t.Fatalf("no such command: %s", d.Cmd)
			}
			if err != nil {
				return fmt.Sprintf("error: %v\n", err)
			}
			plan, err := NewPlan(topology, 1)
			if err != nil {
				return fmt.Sprintf("error: %v\n", err)
			}
			if _, err := wan.New(plan.WAN, plan.Seed); err != nil {
				t.Errorf("the engine refuses the plan: %v", err)
			}
			roundTrip(t, plan)
			var out []string
			for _, line := range strings.Split(plan.String(), "\n") {
				if line != "" { // a blank line ends the expectation
					out = append(out, strings.TrimRight(line, " "))
				}
			}
			return strings.Join(out, "\n") + "\n"
		})
	})
}

// roundTrip checks that JSON loses nothing.
func roundTrip(t *testing.T, plan *Plan) {
	t.Helper()
	first, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan, &again) {
		second, _ := json.MarshalIndent(&again, "", " ")
		t.Errorf("JSON changes the plan %s to\n%s", first, second)
	}
	if plan.String() != again.String() {
		t.Error("the description differs after JSON")
	}
	// And the same topology and seed give the same plan.
	same, err := NewPlan(plan.Topology, plan.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan, same) {
		t.Error("planned twice, the plans differ")
	}
}
