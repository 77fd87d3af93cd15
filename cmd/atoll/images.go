package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded/binaries"
	"github.com/atoll-dev/atoll/fixtures/images"
)

func (a *app) imagesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Get the container images that a lab on kind needs",
		Long: `Get the container images that a lab on kind needs: the official ones where a
registry answers, else made here from Debian packages and Go modules.`,
	}
	cmd.AddCommand(a.imagesBuildCmd(), a.imagesGetCmd(), a.imagesListCmd(), a.imagesSaveCmd(), a.imagesLoadCmd(), a.imagesPruneCmd())
	return cmd
}

func (a *app) imagesBuildCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "build [FILE]",
		Short: "Make the node image here, and all else that a topology needs, without a registry",
		Long: `Make the node image of Kubernetes ` + binaries.Default + ` here, without a registry: from the
packages of this machine's Debian or Ubuntu, by mmdebstrap, and from Go modules.
It goes into the engine. With FILE, also the images of that topology's stack and
workloads. What did not change since the last time is not made again.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var needs []images.Need
			if len(args) > 0 {
				var err error
				if needs, err = a.needs(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			m, err := a.maker(cmd.Context(), images.Config{Offline: true})
			if err != nil {
				return invalidError(err)
			}
			ref, err := m.BuildNode(cmd.Context())
			if err != nil {
				return invalidError(err)
			}
			b, err := m.Bundle(cmd.Context(), needs)
			if err != nil {
				return invalidError(err)
			}
			node := images.Bundled{Need: images.Need{Ref: ref, Node: binaries.Default, For: []string{"nodes"}}, Source: images.FromHere}
			return a.printImages(append([]images.Bundled{node}, b.Images...))
		},
	}
}

func (a *app) imagesGetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "get FILE",
		Short: "Get what a topology needs on kind, as up and run would: pulled where a registry answers, else made here",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			needs, err := a.needs(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := a.maker(cmd.Context(), images.Config{})
			if err != nil {
				return invalidError(err)
			}
			got, err := m.Get(cmd.Context(), needs)
			if err != nil {
				return invalidError(err)
			}
			return a.printImages(got)
		},
	}
}

func (a *app) imagesListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list FILE",
		Short: "Say which images a topology needs on kind, and from where they can be had",
		Long: `Say which images a topology needs on kind, and from where they can be had without
asking a registry: from the engine, from a loaded archive, or made here.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			needs, err := a.needs(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := images.New(images.Config{Version: fixtures.Version, Programs: fixtures.Images()})
			if err != nil {
				return invalidError(err)
			}
			var out []images.Bundled
			for _, n := range needs {
				ref, from, err := m.Have(cmd.Context(), n)
				if err != nil {
					return invalidError(err)
				}
				n.Ref = ref
				out = append(out, images.Bundled{Need: n, Source: from})
			}
			return a.printImages(out)
		},
	}
}

func (a *app) imagesSaveCmd() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "save FILE ARCHIVE",
		Short: "Write all images that a topology needs on kind into one archive; - is stdout",
		Long: `Write all images that a topology needs on kind into one archive, for a machine
without a registry: atoll images load reads it there. It is not compressed:

    atoll images save three-regions - | zstd >images.tar.zst`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			needs, err := a.needs(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := a.maker(cmd.Context(), images.Config{Offline: offline})
			if err != nil {
				return invalidError(err)
			}
			if args[1] == "-" {
				_, err := m.Save(cmd.Context(), needs, a.stdout)
				return err
			}
			b, err := saveInto(args[1], func(w io.Writer) (*images.Bundle, error) { return m.Save(cmd.Context(), needs, w) })
			if err != nil {
				return invalidError(err)
			}
			return a.printImages(b.Images)
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "ask no registry")
	return cmd
}

// saveInto writes a file whole or not at all.
func saveInto(file string, write func(io.Writer) (*images.Bundle, error)) (*images.Bundle, error) {
	f, err := os.Create(file + ".tmp")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	b, err := write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return b, os.Rename(f.Name(), file)
}

func (a *app) imagesLoadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE",
		Short: "Take the images of an archive: nodes' into the engine, the others for the nodes",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := images.New(images.Config{Progress: a.line})
			if err != nil {
				return invalidError(err)
			}
			names, err := m.Load(cmd.Context(), args[0])
			if err != nil {
				return invalidError(err)
			}
			return a.print(names, func() error { return a.printf("%s\n", strings.Join(names, "\n")) })
		},
	}
}

func (a *app) imagesPruneCmd() *cobra.Command {
	var o images.PruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what atoll made that no lab will use again: images of other builds, their layers and programs",
		Long: `Remove what atoll made that no lab will use again: images of other versions or
builds in the engine, and in the cache the layers and programs that they were
made from. What a container uses stays, and so does what images load brought.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			m, err := images.New(images.Config{Progress: a.line, Binary: images.Ready(self)})
			if err != nil {
				return invalidError(err)
			}
			gone, err := m.Prune(cmd.Context(), o)
			if err != nil {
				return invalidError(err)
			}
			return a.print(gone, func() error { return a.printPruned(gone, o.DryRun) })
		},
	}
	cmd.Flags().BoolVar(&o.All, "all", false, "also what this build would use: the next lab on kind makes it again")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would go")
	return cmd
}

func (a *app) printPruned(gone []images.Pruned, dry bool) error {
	var sum int64
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, p := range gone {
		sum += p.Bytes
		why := p.Why
		if p.Kept != "" {
			why += "; it stays: " + p.Kept
		}
		if p.Bytes > 0 || p.Kept != "" {
			fmt.Fprintf(w, "%s\t%d MiB\t%s\n", p.What, p.Bytes>>20, why)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	verb := "removed"
	if dry {
		verb = "would be removed"
	}
	return a.printf("%d MiB %s\n", sum>>20, verb)
}

// needs are those of a topology file, or one of the library.
func (a *app) needs(ctx context.Context, file string) ([]images.Need, error) {
	plan, err := (&planFlags{seed: 1}).plan(file)
	if err != nil {
		return nil, err
	}
	return images.Needs(ctx, plan, fixtures.Version)
}

// maker is a Maker that tells its progress on stderr and has an executable for
// containers.
func (a *app) maker(ctx context.Context, c images.Config) (*images.Maker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if c.Binary, err = images.Binary(ctx, self, runtime.GOARCH, a.line); err != nil {
		return nil, err
	}
	c.Version, c.Programs, c.Progress = fixtures.Version, fixtures.Images(), a.line
	return images.New(c)
}

// line tells progress.
func (a *app) line(text string) {
	if !a.quiet {
		fmt.Fprintln(a.stderr, text)
	}
}

func (a *app) printImages(list []images.Bundled) error {
	return a.print(list, func() error {
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "IMAGE\tFROM\tFOR")
		for _, i := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\n", i.Ref, i.Source, strings.Join(i.For, ", "))
		}
		return w.Flush()
	})
}
