package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded/binaries"
	"github.com/atoll-dev/atoll/fixtures/images"
	"github.com/atoll-dev/atoll/fixtures/kind"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
)

// finding is one thing that doctor looked at.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Seen string `json:"seen"`
	Why  string `json:"why,omitempty"`  // it matters
	Mend string `json:"mend,omitempty"` // the command that mends it
	// Optional is what a lab can do without: its lack is no failure.
	Optional bool `json:"optional,omitempty"`
	// repair runs that command, where doctor may.
	repair func(context.Context) error
}

func (a *app) doctorCmd() *cobra.Command {
	var (
		prov string
		fix  bool
	)
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Say what this machine lacks for a lab, or for a topology's, and how to mend it; changes nothing unless told to",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var plan *sim.Plan
			if len(args) > 0 {
				var err error
				if plan, err = (&planFlags{seed: 1}).plan(args[0]); err != nil {
					return err
				}
			}
			findings, err := examine(cmd.Context(), prov, plan)
			if err != nil {
				return err
			}
			if fix && a.repair(cmd.Context(), findings) > 0 {
				if findings, err = examine(cmd.Context(), prov, plan); err != nil { // as it is now
					return err
				}
			}
			bad := 0
			err = a.print(findings, func() error {
				for _, f := range findings {
					mark := "ok  "
					switch {
					case !f.OK && f.Optional:
						mark = "--  "
					case !f.OK:
						mark = "FAIL"
					}
					a.printf("%s %s: %s\n", mark, f.What, f.Seen)
					if !f.OK && !f.Optional {
						a.printf("     %s; mend: %s\n", f.Why, f.Mend)
					}
				}
				return nil
			})
			for _, f := range findings {
				if !f.OK && !f.Optional {
					bad++
				}
			}
			if err == nil && bad > 0 {
				return &codedError{code: exitInvalid, silent: true, err: fmt.Errorf("%d findings", bad)}
			}
			return err
		},
	}
	addProvider(cmd.Flags(), &prov)
	cmd.Flags().BoolVar(&fix, "fix", false, "run the commands that set kernel parameters or load modules; they need root")
	return cmd
}

// repair runs what may be run, and returns for how many findings.
func (a *app) repair(ctx context.Context, findings []finding) (n int) {
	for _, f := range findings {
		if f.OK || f.repair == nil {
			continue
		}
		n++
		if err := f.repair(ctx); err != nil {
			fmt.Fprintf(a.stderr, "atoll: %v\n", err)
		}
	}
	return n
}

// What one lab of four clusters takes, with room to spare; measured by
// BenchmarkUp in fixtures/embedded.
const (
	memoryPerLab = 2 << 30
	diskPerLab   = 2 << 30
	filesPerLab  = 4096
)

// examine looks at what a provider needs, for a plan or in general.
func examine(ctx context.Context, prov string, plan *sim.Plan) ([]finding, error) {
	if _, err := provider(prov); err != nil {
		return nil, err
	}
	var out []finding
	if prov == kind.Name {
		out = examineKind(ctx, plan)
	} else {
		out = []finding{
			{What: "system", OK: runtime.GOOS == "linux" || runtime.GOOS == "darwin", Seen: runtime.GOOS + "/" + runtime.GOARCH,
				Why: "Kubernetes' control plane is built for Linux and macOS", Mend: "use one of them"},
			examineBinaries(ctx),
			examineMemory(ctx),
		}
	}
	out = append(append(out, examineFiles()), examineDrivers()...)
	store, err := lab.DefaultStore()
	if err != nil {
		return append(out, finding{What: "labs' folder", Seen: err.Error(), Why: "a lab needs a folder", Mend: "export ATOLL_HOME=FOLDER"}), nil
	}
	return append(out, examineDisk(ctx, store), examineLabs(store)), nil
}

// examineKind looks at Docker and its machine.
func examineKind(ctx context.Context, plan *sim.Plan) (out []finding) {
	for _, x := range kind.Examine(ctx).Check(plan) {
		f := finding{What: x.What, OK: x.OK, Seen: x.Seen, Why: x.Why, Mend: x.Mend}
		if len(x.Fix) > 0 {
			f.repair = x.Repair
		}
		out = append(out, f)
	}
	return append(out, examineImages(ctx, plan)...)
}

// examineImages says where the images of a plan would come from; without one,
// the nodes'.
func examineImages(ctx context.Context, plan *sim.Plan) (out []finding) {
	needs := []images.Need{{Ref: "a node of " + binaries.Default, Node: binaries.Default}}
	var err error
	if plan != nil {
		needs, err = images.Needs(ctx, plan, fixtures.Version)
	}
	maker, merr := images.New(images.Config{Version: fixtures.Version, Programs: fixtures.Images()})
	if err := errors.Join(err, merr); err != nil {
		return []finding{{What: "images", Seen: err.Error(), Why: "containers are made from them", Mend: "see the error"}}
	}
	for _, n := range needs {
		f := finding{What: "image " + n.Ref, Why: "containers are made from it", Mend: "docker pull " + n.Ref}
		_, from, err := maker.Have(ctx, n)
		switch {
		case err != nil:
			f.Seen = err.Error()
		case from == images.FromRegistry:
			f.OK, f.Seen = true, "not at hand; to be pulled when it is needed"
		default:
			f.OK, f.Seen = true, string(from)
		}
		out = append(out, f)
	}
	return out
}

func examineBinaries(ctx context.Context) finding {
	f := finding{What: "Kubernetes binaries", Why: "a lab runs real control planes", Mend: "install Go, or set " + binaries.EnvBin}
	if dir := os.Getenv(binaries.EnvBin); dir != "" {
		f.OK, f.Seen = exists(filepath.Join(dir, "kube-apiserver")), dir
		return f
	}
	cache, err := binaries.CacheDir()
	if err == nil {
		dir := filepath.Join(cache, fmt.Sprintf("%s-%s-%s", binaries.Default, runtime.GOOS, runtime.GOARCH))
		if exists(dir) {
			f.OK, f.Seen = true, dir
			return f
		}
	}
	if path, err := exec.LookPath("go"); err == nil {
		f.OK, f.Seen = true, "not there yet; the first lab downloads or builds them with "+path+" (about 5 minutes, once)"
		return f
	}
	f.Seen = "neither in " + binaries.EnvBin + " nor in the cache, and no go to build them with"
	return f
}

func examineMemory(ctx context.Context) finding {
	f := finding{What: "memory", Why: "four clusters take about 1.2 GiB", Mend: "close something, or use a smaller topology"}
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		f.Seen = err.Error()
		return f
	}
	f.OK, f.Seen = m.Available >= memoryPerLab, fmt.Sprintf("%.1f GiB available", float64(m.Available)/(1<<30))
	return f
}

func examineFiles() finding {
	f := finding{What: "open files", Why: "each pod and each connection takes some", Mend: fmt.Sprintf("ulimit -n %d", filesPerLab)}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		f.Seen = err.Error()
		return f
	}
	f.OK, f.Seen = l.Cur >= filesPerLab, fmt.Sprintf("at most %d", l.Cur)
	return f
}

func examineDisk(ctx context.Context, store lab.Store) finding {
	f := finding{What: "disk", Why: "etcd and the logs take about 100 MiB per cluster", Mend: "make room, or export ATOLL_HOME=FOLDER"}
	dir := store.Root
	for !exists(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	u, err := disk.UsageWithContext(ctx, dir)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		f.Seen = fmt.Sprintf("%s: %v", dir, err)
		return f
	}
	f.OK, f.Seen = u.Free >= diskPerLab, fmt.Sprintf("%.1f GiB free in %s", float64(u.Free)/(1<<30), store.Root)
	return f
}

func examineLabs(store lab.Store) finding {
	f := finding{What: "labs", OK: true, Why: "what a killed atoll left behind takes memory and a name", Mend: "atoll down --all"}
	records, err := store.List()
	if err != nil {
		return finding{What: f.What, Seen: err.Error(), Why: f.Why, Mend: f.Mend}
	}
	dead := 0
	for _, r := range records {
		if !r.Owner.Alive() {
			dead++
		}
	}
	f.OK, f.Seen = dead == 0, fmt.Sprintf("%d there, %d of them dead", len(records), dead)
	return f
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
