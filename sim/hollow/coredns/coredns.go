// Package coredns is the cluster's DNS server as a program of a hollow pod:
// what the image of the Deployment kube-dns runs.
//
//	images["registry.k8s.io/coredns/coredns"] = coredns.Image()
//
// It takes CoreDNS' command line (-conf FILE, -dns.port N) and looks in the
// Corefile for what it can follow: the port of the server block, the names of
// the hosts plugin, the zone of the kubernetes plugin, the addresses of health and ready, and lameduck. It watches the
// API server with the pod's service account and answers as [services.DNS] does.
// Further server blocks may send a zone on to others with the plugin forward.
package coredns

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/miekg/dns"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/program/nameserver"
	"github.com/atoll-dev/atoll/sim/services"
)

// Image is the image registry.k8s.io/coredns/coredns.
func Image() program.Image {
	return program.Image{
		Entrypoint: []string{"/coredns"},
		Commands:   map[string]program.Func{"/coredns": Program, "coredns": Program},
	}
}

// Program serves DNS over UDP and TCP until ctx is done. It is ready once it
// has read the cluster's services.
func Program(ctx context.Context, p *program.Process) error {
	conf, err := configure(p)
	if err != nil {
		return &program.ExitError{Code: 1, Msg: err.Error()}
	}
	client, err := inCluster(p)
	if err != nil {
		return &program.ExitError{Code: 1, Msg: "plugin/kubernetes: " + err.Error()}
	}
	out := &lockedWriter{w: p.Stdout}
	// Queries are answered a little longer than ctx lives.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	table := services.NewTable(0)
	table.Follow(serving, client, funcr.New(func(_, args string) {
		_, _ = fmt.Fprintf(out, "[ERROR] plugin/kubernetes: %s\n", args)
	}, funcr.Options{}))

	s := &server{ctx: serving, failed: make(chan error, 1)}
	defer s.shutdown()
	names := &zones{own: withHosts(conf.hosts, services.NewDNS(table, conf.zone)), forwards: conf.forwards, dial: p.Dial, ctx: serving}
	answer, err := nameserver.Listen(serving, p, conf.port, names)
	if err != nil {
		return err
	}
	s.serve("serve names", answer, stop)
	if err := s.http(p, conf.health, "/health", func() bool { return true }); err != nil {
		return err
	}
	ready := func() bool {
		select {
		case <-table.Synced():
			return true
		default:
			return false
		}
	}
	if err := s.http(p, conf.ready, "/ready", ready); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, ".:%s\natoll cluster DNS for %s\n", conf.port, conf.zone)
	select {
	case err := <-s.failed:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(conf.lameduck)
	defer timer.Stop()
	select {
	case <-s.failed: //nolint:errcheck // the pod's network went first
	case <-timer.C:
	}
	return nil
}

// config is what a Corefile says, as far as it is followed.
type config struct {
	port, zone, health, ready string
	forwards                  []forward
	hosts                     map[string]netip.Addr // by name in lower case, with the dot at its end
	// lameduck is how long queries are still answered after the signal to
	// stop, while endpoints are taken out of service tables.
	lameduck time.Duration
}

func configure(p *program.Process) (config, error) {
	c := config{port: "53", zone: "cluster.local", health: ":8080", ready: ":8181"}
	flags := flag.NewFlagSet("coredns", flag.ContinueOnError)
	flags.SetOutput(p.Stderr)
	file := flags.String("conf", "", "the Corefile")
	port := flags.String("dns.port", "", "the default port")
	var args []string
	if len(p.Args) > 1 {
		args = p.Args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if *port != "" {
		c.port = *port
	}
	if *file == "" {
		return c, nil
	}
	b, err := fs.ReadFile(p.Files, strings.TrimPrefix(*file, "/"))
	if err != nil {
		return c, fmt.Errorf("corefile: %w", err)
	}
	return c, c.parse(string(b))
}

// parse reads a Corefile. The server block for everything, or else the first,
// is the cluster's; of the others those count that send their zones on.
func (c *config) parse(text string) error {
	blocks, err := readBlocks(text)
	if err != nil {
		return err
	}
	main := slices.IndexFunc(blocks, func(b block) bool { return slices.Contains(b.zones, ".") })
	for i, b := range blocks {
		if i == max(main, 0) {
			err = c.follow(b)
		} else {
			err = c.sendOn(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow reads the cluster's own server block.
func (c *config) follow(b block) error {
	if b.port != "" {
		c.port = b.port
	}
	plugin := ""
	for _, l := range b.lines {
		f := l.fields
		given := len(f) > 1 && f[1] != "{"
		if l.depth == 0 {
			plugin = f[0]
		}
		switch {
		case l.depth == 1 && plugin == "hosts" && given:
			addr, err := netip.ParseAddr(f[0])
			if err != nil {
				return fmt.Errorf("corefile:%d: hosts: %w", l.number, err)
			}
			for _, name := range f[1:] {
				if c.hosts == nil {
					c.hosts = map[string]netip.Addr{}
				}
				c.hosts[dns.CanonicalName(name)] = addr
			}
		case l.depth == 0 && f[0] == "kubernetes" && given:
			c.zone = f[1]
		case l.depth == 0 && f[0] == "health" && given:
			c.health = f[1]
		case l.depth == 0 && f[0] == "ready" && given:
			c.ready = f[1]
		case l.depth == 1 && f[0] == "lameduck" && given:
			d, err := time.ParseDuration(f[1])
			if err != nil || d < 0 {
				return fmt.Errorf("corefile:%d: lameduck %q is not a duration", l.number, f[1])
			}
			c.lameduck = d
		}
	}
	return nil
}

// sendOn reads another server block, for the plugin forward.
func (c *config) sendOn(b block) error {
	for _, l := range b.lines {
		if l.depth > 0 || l.fields[0] != "forward" || len(l.fields) < 3 || l.fields[1] != "." {
			continue
		}
		var to []string
		for _, server := range l.fields[2:] {
			if server == "{" {
				break
			}
			addr, err := forwardAddress(server)
			if err != nil {
				return fmt.Errorf("corefile:%d: forward: %w", l.number, err)
			}
			to = append(to, addr)
		}
		for _, zone := range b.zones {
			c.forwards = append(c.forwards, forward{zone: dns.CanonicalName(zone), to: to})
		}
	}
	return nil
}

const accountDir = "var/run/secrets/kubernetes.io/serviceaccount/"

// inCluster is a client of the pod's own API server.
func inCluster(p *program.Process) (kubernetes.Interface, error) {
	host, port := p.Getenv("KUBERNETES_SERVICE_HOST"), p.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be set")
	}
	ca, err := fs.ReadFile(p.Files, accountDir+"ca.crt")
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(p.Files, accountDir+"token"); err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(&rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		Dial:            p.Dial,
		QPS:             -1,
		// Tokens are renewed in their file.
		WrapTransport: func(rt http.RoundTripper) http.RoundTripper { return &bearer{p.Files, rt} },
	})
}

type bearer struct {
	files fs.FS
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := fs.ReadFile(b.files, accountDir+"token")
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return b.next.RoundTrip(r)
}

// server is what listens.
type server struct {
	ctx    context.Context
	failed chan error
	closes []func()
}

func (s *server) shutdown() {
	for _, c := range s.closes {
		c()
	}
}

// serve runs f until shutdown, and tells if it ends before.
func (s *server) serve(what string, f func() error, shutdown func()) {
	s.closes = append(s.closes, shutdown)
	go func() {
		err := fmt.Errorf("%s: %w", what, f())
		select {
		case s.failed <- err:
		default:
		}
	}()
}

func (s *server) http(p *program.Process, address, path string, ok func() bool) error {
	l, err := p.Listen(s.ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		if !ok() {
			http.Error(w, "kubernetes", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "OK")
	})
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.serve("serve "+path, func() error { return h.Serve(l) }, func() { _ = h.Close() })
	return nil
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
