package agreement_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/embedded/embeddedtest"
	"github.com/atoll-dev/atoll/fixtures/stack/karmada"
	"github.com/atoll-dev/atoll/suites/agreement"
	"github.com/atoll-dev/atoll/topologies"
)

const threeMembers = `apiVersion: atoll.dev/v1alpha1
kind: Topology
metadata: {name: agreement}
spec:
  timers: short
  clusters:
  - {name: manager, region: eu-west, role: admin}
  - {name: eu, region: eu-west}
  - {name: ap, region: ap-south}
  - {name: us, region: us-west}
  wan:
    links:
    - {between: [eu-west, us-west], rtt: 40ms}
    - {between: [eu-west, ap-south], rtt: 60ms}
    peering: {mode: star, hub: manager}
  stack:
    admin: {api: karmada, engine: %s}
    agents: {mode: pull}
`

// The built-in engine and a real Karmada give the same answers to the same
// policies, where docs/fidelity.md does not say otherwise.
func TestEnginesAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real control planes")
	}
	if _, err := karmada.Find(t.Context()); errors.Is(err, karmada.ErrNotSet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	var records []*agreement.Record
	for _, engine := range []topologies.Engine{topologies.EngineBuiltin, topologies.EngineBinaries} {
		t.Run(string(engine), func(t *testing.T) {
			ctx, b := embeddedtest.Up(t, fmt.Sprintf(threeMembers, engine), 8*time.Minute)
			r, err := agreement.Ask(ctx, b, agreement.Options{Seed: 1, Policies: 24, Events: embeddedtest.Log(t), Engine: string(engine)})
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, r)
		})
	}
	if len(records) != 2 {
		t.Fatal("one of the engines was not asked")
	}
	result, err := agreement.Compare(records[0], records[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range result.Differences {
		t.Errorf("%s (%s), %s: %s: %s and %s", d.Case, d.Kind, d.Step, d.What, d.A, d.B)
	}
}
