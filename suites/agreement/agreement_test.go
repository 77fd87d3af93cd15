package agreement

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var three = []Member{{"eu", "eu-west", "gold"}, {"ap", "ap-south", "silver"}, {"us", "us-west", "gold"}}

// A seed fixes the cases; another gives others.
func TestCasesAreSeeded(t *testing.T) {
	a, b := Cases(7, 200, three), Cases(7, 200, three)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives other cases")
	}
	if reflect.DeepEqual(a, Cases(8, 200, three)) {
		t.Error("another seed gives the same cases")
	}
}

// Two hundred cases hold every kind, both orders, live ones, a scale to zero;
// every one does something after its beginning.
func TestCasesCover(t *testing.T) {
	kinds, orders, live, none := map[string]int{}, map[bool]int{}, 0, 0
	names, spreads, regions := map[string]bool{}, 0, 0
	for _, c := range Cases(1, 200, three) {
		kinds[c.Kind]++
		orders[c.Descending]++
		if c.Live {
			live++
		}
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if len(c.Steps) < 2 || len(c.Steps) > 4 {
			t.Errorf("%s has %d steps", c.Name, len(c.Steps))
		}
		for i, s := range c.Steps {
			if s.Replicas == 0 {
				none++
			}
			if n := len(s.Placement.SpreadConstraints); n > 0 {
				spreads, regions = spreads+1, regions+n-1
			}
			if i > 0 && s.What == "" {
				t.Errorf("%s: step %d does nothing", c.Name, i)
			}
		}
	}
	for _, s := range share {
		if kinds[s.kind] == 0 {
			t.Errorf("no case of %s", s.kind)
		}
	}
	if regions == 0 || regions == spreads {
		t.Errorf("of %d spread, %d over regions", spreads, regions)
	}
	if orders[true] == 0 || orders[false] == 0 || live == 0 || none == 0 {
		t.Errorf("orders %v, %d live, %d at zero", orders, live, none)
	}
}

// answered is a record in which the engine does as the case says.
func answered(engine string) *Record {
	r := &Record{Engine: engine, Seed: 1, Room: map[string]Room{"us": {Pods: 108, Nodes: map[uint]int{3: 2}}}, Failure: &Failure{Member: "us", Lost: Cluster{Ready: "Unknown X", Taints: []string{"a:NoSchedule"}}}}
	for _, c := range Cases(1, 20, three) {
		a := Answer{Case: c, Gone: true, Events: []string{"Deployment: Normal ScheduleBindingSucceed"}}
		for _, s := range c.Steps {
			a.Seen = append(a.Seen, Seen{What: s.What, Settled: true, Division: map[string]int32{"eu": s.Replicas}, Members: map[string]int32{"eu": s.Replicas}, Services: []string{"eu"}, Scheduled: "True Success"})
		}
		r.Cases = append(r.Cases, a)
	}
	return r
}

func TestAgree(t *testing.T) {
	r, err := Compare(answered("a"), answered("b"))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Agree() || len(r.Events) > 0 || r.Cases != 20 || r.Asked["division"] != r.Steps || r.Steps < 40 {
		t.Errorf("got %+v", r)
	}
}

// Whatever is answered otherwise is found, and named.
func TestDifferences(t *testing.T) {
	for what, spoil := range map[string]func(*Record){
		"division":                     func(r *Record) { r.Cases[3].Seen[1].Division["eu"]++ },
		"members":                      func(r *Record) { r.Cases[3].Seen[1].Members["ap"] = 1 },
		"service":                      func(r *Record) { r.Cases[3].Seen[1].Services = nil },
		"scheduled":                    func(r *Record) { r.Cases[3].Seen[1].Scheduled = "False NoClusterFit" },
		"room on a member":             func(r *Record) { r.Room["us"] = Room{Pods: 108, Nodes: map[uint]int{4: 2}} },
		"settled":                      func(r *Record) { r.Cases[3].Seen[1].Settled = false },
		"status":                       func(r *Record) { r.Cases[0].Seen[1].Status = &Status{Ready: 3} },
		"nothing left on the members":  func(r *Record) { r.Cases[3].Gone = false },
		"asked to the end":             func(r *Record) { r.Cases[3].Error = "step 2: refused" },
		"the hub's view of the member": func(r *Record) { r.Failure.Lost.Ready = "False Y" },
		"taints":                       func(r *Record) { r.Failure.Lost.Taints = nil },
	} {
		b := answered("b")
		spoil(b)
		r, err := Compare(answered("a"), b)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Differences) != 1 || r.Differences[0].What != what {
			t.Errorf("%s: got %+v", what, r.Differences)
		}
	}
}

func TestEventDifferences(t *testing.T) {
	b := answered("b")
	b.Cases[5].Events = append(b.Cases[5].Events, "Deployment: Warning SyncFailed")
	b.Cases[6].Events = nil
	r, err := Compare(answered("a"), b)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Agree() || len(r.Events) != 2 {
		t.Fatalf("got %+v", r.Events)
	}
	if e := r.Events[0]; e.OnlyA != 1 || e.OnlyB != 0 || e.Both != 19 || !strings.HasPrefix(e.Examples[0], "case-006") {
		t.Errorf("got %+v", e)
	}
	if e := r.Events[1]; e.OnlyB != 1 || e.Both != 0 {
		t.Errorf("got %+v", e)
	}
}

// A status that is behind is counted, and no difference.
func TestBehind(t *testing.T) {
	b := answered("b")
	b.Cases[3].Seen[1].Behind = true
	r, err := Compare(answered("a"), b)
	if err != nil || !r.Agree() || r.BehindA != 0 || r.BehindB != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Records of other cases are not compared.
func TestOtherCases(t *testing.T) {
	b := answered("b")
	b.Seed = 2
	if _, err := Compare(answered("a"), b); err == nil {
		t.Error("another seed was compared")
	}
	b = answered("b")
	b.Cases = slices.Clone(b.Cases[1:])
	if _, err := Compare(answered("a"), b); err == nil {
		t.Error("fewer cases were compared")
	}
}

// What is kept is read again.
func TestRecord(t *testing.T) {
	a := answered("a")
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	b := &Record{}
	if err := json.Unmarshal(text, b); err != nil {
		t.Fatal(err)
	}
	r, err := Compare(a, b)
	if err != nil || !r.Agree() {
		t.Errorf("%+v, %v", r, err)
	}
}
