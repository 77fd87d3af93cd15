package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) execCmd() *cobra.Command {
	var (
		name, namespace, container string
		stdin                      bool
	)
	cmd := &cobra.Command{
		Use:     "exec CLUSTER/WORKLOAD -- COMMAND [ARG...]",
		Short:   "Run a command in a pod, as kubectl exec does; its exit code is the command's",
		Example: "  atoll exec us/sleep -- curl -sS hello:5000",
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cluster, workload, ok := strings.Cut(args[0], "/")
			if !ok || cluster == "" || workload == "" {
				return usageError(fmt.Errorf("%q: want CLUSTER/WORKLOAD", args[0]))
			}
			b, _, err := open(cmd.Context(), []string{name})
			if err != nil {
				return err
			}
			if b.Plan().Cluster(cluster) == nil {
				return usageError(fmt.Errorf("no cluster %s; there are %s", cluster, strings.Join(lab.ClusterNames(b), ", ")))
			}
			cfg, err := b.RESTConfig(cluster)
			if err != nil {
				return invalidError(err)
			}
			client, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				return err
			}
			pod, err := lab.ReadyPod(cmd.Context(), client, namespace, workload)
			if err != nil {
				return usageError(fmt.Errorf("%s: %w", args[0], err))
			}
			o := lab.ExecOptions{
				Namespace: pod.Namespace, Pod: pod.Name, Container: container, Command: args[1:],
				Stdout: a.stdout, Stderr: a.stderr,
			}
			if o.Container == "" {
				o.Container = pod.Spec.Containers[0].Name
			}
			if stdin {
				o.Stdin = a.stdin
			}
			err = lab.Exec(cmd.Context(), cfg, o)
			var exit *lab.ExitError
			if errors.As(err, &exit) {
				return &codedError{code: exit.Code, silent: true, err: err}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "lab", "", "the lab, by name or file; the only one when left out")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace; default when left out")
	cmd.Flags().StringVarP(&container, "container", "c", "", "the container; the pod's first when left out")
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	return cmd
}
