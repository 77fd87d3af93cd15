package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) kubeconfigCmd() *cobra.Command {
	var merge string
	cmd := &cobra.Command{
		Use:   "kubeconfig [LAB]",
		Short: "Print one kubeconfig for all clusters of a lab, a context per cluster",
		Example: `  atoll kubeconfig >lab.kubeconfig
  kubectl --kubeconfig lab.kubeconfig --context eu get pods

  atoll kubeconfig --merge ~/.kube/config`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := open(cmd.Context(), args)
			if err != nil {
				return err
			}
			cfg, err := lab.Kubeconfig(b)
			if err != nil {
				return invalidError(err)
			}
			if merge != "" {
				return a.mergeKubeconfig(merge, cfg)
			}
			data, err := clientcmd.Write(*cfg)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
	cmd.Flags().StringVar(&merge, "merge", "", "add the contexts to this file; what it holds already is left as it is")
	return cmd
}

// mergeKubeconfig adds contexts to a file without touching what it holds: a
// name that is there with another meaning is refused before anything is written.
func (a *app) mergeKubeconfig(file string, add *clientcmdapi.Config) error {
	have, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		have, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", file, err))
	}
	for name, c := range add.Clusters {
		if old, ok := have.Clusters[name]; ok && old.Server != c.Server {
			return usageError(fmt.Errorf("%s has a cluster %s (%s); nothing was changed", file, name, old.Server))
		}
		if _, ok := have.Clusters[name]; !ok {
			if _, ok := have.Contexts[name]; ok {
				return usageError(fmt.Errorf("%s has a context %s; nothing was changed", file, name))
			}
			if _, ok := have.AuthInfos[name]; ok {
				return usageError(fmt.Errorf("%s has a user %s; nothing was changed", file, name))
			}
		}
	}
	for name := range add.Contexts {
		have.Clusters[name], have.AuthInfos[name], have.Contexts[name] = add.Clusters[name], add.AuthInfos[name], add.Contexts[name]
	}
	if have.CurrentContext == "" {
		have.CurrentContext = add.CurrentContext
	}
	if err := clientcmd.WriteToFile(*have, file); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return a.printf("%d contexts in %s\n", len(add.Contexts), file)
}
