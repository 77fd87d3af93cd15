package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [LAB]",
		Short: "Show what runs: clusters, nodes, links, faults; without labs, say so",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := lab.DefaultStore()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				records, err := store.List()
				if err != nil {
					return err
				}
				if len(records) != 1 || !records[0].Owner.Alive() || !records[0].Ready {
					return a.print(records, func() error { return a.listLabs(records) })
				}
			}
			b, r, err := open(cmd.Context(), args)
			if err != nil {
				return err
			}
			st, err := b.State(cmd.Context())
			if err != nil {
				return invalidError(err)
			}
			return a.print(st, func() error { return a.showState(b, r, st) })
		},
	}
}

func (a *app) listLabs(records []lab.Record) error {
	if len(records) == 0 {
		return a.printf("no lab is up\n")
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tPROVIDER\tSTATE\tAGE")
	for _, r := range records {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Provider, recordState(r), time.Since(r.Created).Round(time.Second))
	}
	return w.Flush()
}

func recordState(r lab.Record) string {
	switch {
	case !r.Owner.Alive():
		return "dead (`atoll down` removes it)"
	case !r.Ready:
		return "coming up"
	default:
		return "up"
	}
}

func (a *app) showState(b lab.Backend, r lab.Record, st lab.State) error {
	a.printf("lab %s, %s provider, up %s, process %d\n\n", r.Name, b.Provider(), time.Since(r.Created).Round(time.Second), r.Owner.PID)
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CLUSTER\tREGION\tAPI SERVER\tNODES")
	for _, c := range st.Clusters {
		api := "up"
		if !c.Up {
			api = "down"
		}
		var nodes []string
		for _, n := range c.Nodes {
			name := n.Name
			switch {
			case !n.Running:
				name += " (stopped)"
			case n.Paused:
				name += " (paused)"
			}
			nodes = append(nodes, name)
		}
		region := ""
		if pc := b.Plan().Cluster(c.Name); pc != nil {
			region = pc.Region
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, region, api, strings.Join(nodes, " "))
	}
	if len(st.Peerings) > 0 {
		fmt.Fprintln(w, "\nPEERING\tSTATE")
		for _, p := range st.Peerings {
			fmt.Fprintf(w, "%s↔%s\t%s\n", p.A, p.B, p.State)
		}
	}
	fmt.Fprintln(w, "\nLINK\tPACKETS\tBYTES\tDROPPED")
	for _, l := range st.Links {
		var drops []string
		for cause, n := range l.Dropped {
			drops = append(drops, fmt.Sprintf("%v %d", cause, n))
		}
		fmt.Fprintf(w, "%s→%s\t%d\t%d\t%s\n", l.From, l.To, l.Packets, l.Bytes, sortedJoin(drops))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(st.Faults) > 0 {
		a.printf("\nFAULTS IN FORCE\n")
		for _, f := range st.Faults {
			a.printf("%s\n", f)
		}
	}
	return nil
}
