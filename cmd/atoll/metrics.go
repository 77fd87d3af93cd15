package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/fixtures/lab/metrics"
)

func (a *app) metricsCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "metrics [LAB]",
		Short: "Print a running lab's metrics as Prometheus reads them, or serve them",
		Long: `Prints what a running lab tells Prometheus: packets, bytes, drops and queueing of
each link, traffic between clusters, faults in force, what is up. With --listen
it is served until ctrl-C; ` + "`atoll up --metrics ADDRESS`" + ` serves it as long as the lab.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := open(cmd.Context(), args)
			if err != nil {
				return err
			}
			if listen == "" {
				var text bytes.Buffer // all of it or an error
				if err := metrics.Write(&text, b); err != nil {
					return invalidError(err)
				}
				return a.printf("%s", &text)
			}
			e, err := newExporter(cmd.Context(), listen)
			if err != nil {
				return usageError(err)
			}
			defer e.close()
			e.serve(b)
			if err := a.printf("metrics on %s\n", e.url()); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve on this address, such as 127.0.0.1:9464, until ctrl-C")
	return cmd
}

func addMetrics(f *pflag.FlagSet, addr *string) {
	f.StringVar(addr, "metrics", "", "serve Prometheus metrics on this address, such as 127.0.0.1:9464, while the lab is up")
}

const metricsPath = "/metrics"

// exporter answers Prometheus' scrapes on an address of this machine. A nil
// exporter, for an empty address, does nothing.
type exporter struct {
	listener net.Listener
	server   *http.Server
}

func newExporter(ctx context.Context, addr string) (*exporter, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &exporter{listener: l}, nil
}

func (e *exporter) url() string {
	if e == nil {
		return ""
	}
	return "http://" + e.listener.Addr().String() + metricsPath
}

// serve answers for a lab until close.
func (e *exporter) serve(b lab.Backend) {
	if e == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle(metricsPath, metrics.Handler(b))
	mux.Handle("/{$}", http.RedirectHandler(metricsPath, http.StatusFound))
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.server.Serve(e.listener) }() // ends with close
}

func (e *exporter) close() {
	if e == nil {
		return
	}
	if e.server != nil {
		e.server.Close()
	}
	e.listener.Close()
}
