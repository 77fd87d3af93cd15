// Package atoll_test states how the house is laid out.
package atoll_test

import (
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/atoll-dev/atoll"

// Imports run one way: topologies ← sim ← fixtures ← suites ← reports ← cmd.
// For each room, the rooms it may not know, and why.
var forbidden = []struct{ room, mayNotKnow, because string }{
	{"topologies", "sim", "a file format that knew the simulation could not be read without it"},
	{"topologies", "fixtures", "what is asked for does not depend on what makes it"},
	{"topologies", "suites", "what is asked for does not depend on who checks it"},
	{"topologies", "reports", "what is asked for does not depend on how it is told"},
	{"sim", "fixtures", "the simulated world joins in-process hosts, kind nodes and virtual time alike"},
	{"sim", "suites", "a world does not know what is asked of it"},
	{"sim", "reports", "a world does not know how it is told"},
	{"fixtures", "suites", "a lab also runs without a suite: `atoll up`"},
	{"fixtures", "reports", "a lab tells events; who renders them is not its business"},
	{"suites", "reports", "results are data; a report reads them, never the other way round"},
	{"suites", "fixtures/embedded", "a scenario that knew its provider would be true of that one only"},
	{"suites", "fixtures/kind", "a scenario that knew its provider would be true of that one only"},
	{"suites", "fixtures/existing", "a scenario that knew its provider would be true of that one only"},
	{"reports", "fixtures/embedded", "a report tells of any provider"},
	{"fixtures/stack", "fixtures/embedded", "the stack is installed through Kubernetes' API, the same everywhere"},
	{"fixtures/lab", "fixtures/embedded", "the words don't know their speakers"},
	{"fixtures/lab", "fixtures/stack", "a lab is there before anything is installed on it"},
	{"sim/wan", "sim/netstack", "the engine has no I/O: kernel devices and virtual time use it too"},
	{"topologies", "cmd", "cmd joins the rooms and is joined to none"},
	{"reports", "cmd", "cmd joins the rooms and is joined to none"},
}

func TestImportsRunOneWay(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedImports}, module+"/...")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages found: this test would prove nothing", len(pkgs))
	}
	for _, p := range pkgs {
		for imported := range p.Imports {
			for _, f := range forbidden {
				if within(p.PkgPath, f.room) && within(imported, f.mayNotKnow) {
					t.Errorf("%s imports %s: %s", p.PkgPath, imported, f.because)
				}
			}
		}
	}
}

func within(path, room string) bool {
	return path == module+"/"+room || strings.HasPrefix(path, module+"/"+room+"/")
}
