package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	netlog "gvisor.dev/gvisor/pkg/log"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/topologies"
)

// planFlags are those of every verb that makes a plan.
type planFlags struct {
	seed   uint64
	timers string
	// kubernetes is the version of every cluster, if not the file's own.
	kubernetes string
	// engine is another than the file's, as setEngine reads it.
	engine string
}

func (f *planFlags) add(flags *pflag.FlagSet) {
	flags.Uint64Var(&f.seed, "seed", 0, "fixes every random choice; 0 draws one and prints it")
	flags.StringVar(&f.timers, "timers", "", "short or default; overrides the file's")
	flags.StringVar(&f.kubernetes, "kubernetes", "", "the version of every cluster, such as v1.36.3; overrides the file's")
	flags.StringVar(&f.engine, "engine", "", "the admin's engine, or of a topology without one the mesh's: builtin, chart or binaries; admin=ENGINE or mesh=ENGINE says which; overrides the file's")
}

// args are the flags that ask for the same plan again, but for the seed.
func (f *planFlags) args() (args []string) {
	if f.timers != "" {
		args = append(args, "--timers", f.timers)
	}
	if f.kubernetes != "" {
		args = append(args, "--kubernetes", f.kubernetes)
	}
	if f.engine != "" {
		args = append(args, "--engine", f.engine)
	}
	return args
}

var kubernetesVersion = regexp.MustCompile(`^v1\.[0-9]{1,2}\.[0-9]{1,2}$`)

// plan loads a topology file and plans it. Every error is bad input.
func (f *planFlags) plan(file string) (*sim.Plan, error) {
	t, err := loadTopology(file)
	if err != nil {
		return nil, usageError(err)
	}
	return f.planOf(t)
}

func (f *planFlags) planOf(t *topologies.Topology) (*sim.Plan, error) {
	switch timers := topologies.Timers(f.timers); timers {
	case "":
	case topologies.TimersShort, topologies.TimersDefault:
		t.Spec.Timers = timers
	default:
		return nil, usageError(fmt.Errorf("--timers %s: want short or default", timers))
	}
	if f.kubernetes != "" {
		if !kubernetesVersion.MatchString(f.kubernetes) {
			return nil, usageError(fmt.Errorf("--kubernetes %s: want a version such as v1.36.3", f.kubernetes))
		}
		t.Spec.Kubernetes = f.kubernetes
		for i := range t.Spec.Clusters {
			t.Spec.Clusters[i].Kubernetes = f.kubernetes
		}
	}
	if f.engine != "" {
		if err := setEngine(t, f.engine); err != nil {
			return nil, usageError(err)
		}
	}
	seed := f.seed
	for seed == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, err
		}
		// 53 bits, so that a seed survives every JSON reader.
		seed = binary.LittleEndian.Uint64(b[:]) >> 11
	}
	p, err := fixtures.Plan(t, seed)
	if err != nil {
		return nil, usageError(err)
	}
	return p, nil
}

// The parts of a stack that have engines to choose from.
const partAdmin, partMesh = "admin", "mesh"

// partOf reads [PART=]ENGINE on a topology: without a part it is the admin, and
// the mesh where there is no admin.
func partOf(t *topologies.Topology, text string) (part string, engine topologies.Engine, err error) {
	part, name, named := strings.Cut(text, "=")
	if !named {
		part, name = partAdmin, text
		if t.Spec.Stack.Admin == nil && t.Spec.Stack.Mesh != nil {
			part = partMesh
		}
	}
	engines := []topologies.Engine{topologies.EngineBuiltin, topologies.EngineChart, topologies.EngineBinaries}
	engine = topologies.Engine(name)
	switch {
	case !slices.Contains(engines, engine):
		return "", "", fmt.Errorf("--engine %s: want builtin, chart or binaries", text)
	case part != partAdmin && part != partMesh:
		return "", "", fmt.Errorf("--engine %s: want admin=ENGINE or mesh=ENGINE", text)
	case part == partAdmin && t.Spec.Stack.Admin == nil, part == partMesh && t.Spec.Stack.Mesh == nil:
		return "", "", fmt.Errorf("--engine %s: %s has no stack.%s", text, t.Metadata.Name, part)
	}
	return part, engine, nil
}

// setEngine makes another engine answer for a part of the stack.
func setEngine(t *topologies.Topology, text string) error {
	part, engine, err := partOf(t, text)
	if err != nil {
		return err
	}
	if part == partMesh {
		t.Spec.Stack.Mesh.Engine = engine
	} else {
		t.Spec.Stack.Admin.Engine = engine
	}
	return nil
}

// loadTopology loads a file, or one of the library by its bare name.
func loadTopology(file string) (*topologies.Topology, error) {
	if filepath.Base(file) != file || filepath.Ext(file) != "" || exists(file) {
		return topologies.Load(file)
	}
	if slices.Contains(topologies.LibraryNames(), file) {
		return topologies.FromLibrary(file)
	}
	return nil, fmt.Errorf("%s: neither a file nor in the library (%s)", file, strings.Join(topologies.LibraryNames(), ", "))
}

// quietLibraries keeps the libraries from writing between our
// lines: what matters comes back as an error.
func quietLibraries() {
	klog.SetLogger(logr.Discard())
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	ctrllog.SetLogger(logr.Discard())
	netlog.SetTarget(netlog.GoogleEmitter{Writer: &netlog.Writer{Next: io.Discard}})
	if os.Getenv("ATOLL_KLOG") != "" { // for whoever debugs atoll itself
		klog.ClearLogger()
		klog.LogToStderr(true)
	}
}
