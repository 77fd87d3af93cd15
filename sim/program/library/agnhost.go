package library

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// Agnhost stands for the Kubernetes e2e image of that name, with its
// sub-commands pause, netexec, serve-hostname and connect.
func Agnhost(ctx context.Context, p *program.Process) error {
	if len(p.Args) < 2 {
		return exit(1, "agnhost: a sub-command is needed")
	}
	args := p.Args[2:]
	value := func(name, def string) string {
		for i, a := range args {
			if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
				return v
			}
			if a == "--"+name && i+1 < len(args) {
				return args[i+1]
			}
		}
		return def
	}
	switch p.Args[1] {
	case "pause":
		return Pause(ctx, p)
	case "netexec":
		return agnhostServe(ctx, p, value("http-port", "8080"), netexec(p))
	case "serve-hostname":
		return agnhostServe(ctx, p, value("port", "9376"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, p.Getenv("HOSTNAME"))
		}))
	case "connect":
		return agnhostConnect(ctx, p, args, value("timeout", "5s"))
	}
	return exit(1, "agnhost: sub-command %q is not known here", p.Args[1])
}

func agnhostServe(ctx context.Context, p *program.Process, port string, h http.Handler) error {
	l, err := p.Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return err
	}
	return serve(ctx, l, h, func() {})
}

func netexec(p *program.Process) http.Handler {
	mux := http.NewServeMux()
	name := p.Getenv("HOSTNAME")
	start := time.Now()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "NOW: %v", time.Now()) })
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	mux.HandleFunc("/hostName", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	mux.HandleFunc("/clientip", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if c, err := strconv.Atoi(r.FormValue("code")); err == nil && c >= 200 && c < 1000 {
			w.WriteHeader(c)
		}
		io.WriteString(w, r.FormValue("msg"))
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("/uptime", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, time.Since(start)) })
	return mux
}

func agnhostConnect(ctx context.Context, p *program.Process, args []string, timeout string) error {
	d, err := time.ParseDuration(timeout)
	if err != nil || len(operands(args)) == 0 {
		return exit(1, "usage: agnhost connect HOST:PORT [--timeout=5s]")
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c, err := p.Dial(ctx, "tcp", operands(args)[0])
	if err == nil {
		return c.Close()
	}
	switch {
	case ctx.Err() != nil:
		return exit(1, "TIMEOUT")
	case strings.HasPrefix(netError(err), "bad address"):
		return exit(1, "DNS: %v", err)
	case netError(err) == "Connection refused":
		return exit(1, "REFUSED")
	}
	return exit(1, "OTHER: %v", err)
}
