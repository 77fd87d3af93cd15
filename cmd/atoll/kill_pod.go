package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// killPodCmd kills a pod once; nothing of it stays in force.
func (a *app) killPodCmd(name *string) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "kill-pod CLUSTER/NAME",
		Short: "Delete a pod without grace and wait for its replacement",
		Long: `Delete a pod without grace, and wait until its controller has replaced it and the
replacement is ready. NAME is a Deployment, a StatefulSet or a DaemonSet, of which
the oldest ready pod is killed, or a pod.

  atoll fault kill-pod eu/hello
  atoll fault kill-pod manager/karmada-controller-manager -n karmada-system`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t := lab.PodTarget{Namespace: namespace}
			var err error
			if t.Cluster, t.Name, err = cutSubject(args[0], "CLUSTER/NAME"); err != nil {
				return usageError(err)
			}
			b, _, err := open(cmd.Context(), []string{*name})
			if err != nil {
				return err
			}
			if err := known(b, lab.Fault{Kind: lab.KillPodKind, Cluster: t.Cluster}); err != nil {
				return usageError(err)
			}
			done, err := b.KillPod(cmd.Context(), t)
			if errors.Is(err, lab.ErrUnsupported) {
				return usageError(err)
			}
			if err != nil {
				return invalidError(err)
			}
			return a.printf("killed: %s on %s; %s on %s is ready after %s\n",
				done.Pod, done.Node, done.Replacement, done.ReplacementNode, done.Took.Round(10*time.Millisecond))
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace; default when left out")
	return cmd
}
