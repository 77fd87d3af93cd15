package main

import (
	"fmt"

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
	cmd.AddCommand(a.imagesBuildCmd())
	return cmd
}

func (a *app) imagesBuildCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Make the node image here, from Debian packages and Go modules",
		Long: `Make the node image here, without a registry: from the packages of this machine's
Debian or Ubuntu, by mmdebstrap, and from Go modules. What did not change since
the last time is not made again. The image goes into the engine.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := a.maker(images.Config{Offline: true})
			if err != nil {
				return invalidError(err)
			}
			ref, err := m.BuildNode(cmd.Context())
			if err != nil {
				return invalidError(err)
			}
			return a.print(map[string]string{"node": ref, "kubernetes": binaries.Default}, func() error { return a.printf("%s\n", ref) })
		},
	}
}

// maker is a Maker that tells its progress on stderr.
func (a *app) maker(c images.Config) (*images.Maker, error) {
	c.Version, c.Programs = fixtures.Version, fixtures.Images()
	c.Progress = func(line string) {
		if !a.quiet {
			fmt.Fprintln(a.stderr, line)
		}
	}
	return images.New(c)
}
