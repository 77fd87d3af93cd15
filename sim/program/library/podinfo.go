package library

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// PodinfoVersion is the release of podinfo whose answers Podinfo follows.
const PodinfoVersion = "6.9.2"

// Podinfo stands for stefanprodan/podinfo: an HTTP service that tells about
// itself, on port 9898 unless --port or PODINFO_PORT says otherwise.
func Podinfo(ctx context.Context, p *program.Process) error {
	s := &podinfo{p: p}
	if err := s.configure(); err != nil {
		return err
	}
	l, err := p.Listen(ctx, "tcp", ":"+s.port)
	if err != nil {
		return err
	}
	s.log("info", "Starting podinfo", "version", PodinfoVersion, "revision", "atoll", "port", s.port)
	s.log("info", "Starting HTTP Server.", "addr", ":"+s.port)
	s.ready.Store(!s.unready)
	s.healthy.Store(!s.unhealthy)
	ctx, s.crash = context.WithCancelCause(ctx)
	defer s.crash(nil)
	err = serve(ctx, l, s.routes(), func() {
		// As the original: not ready before the listener closes.
		s.ready.Store(false)
		s.healthy.Store(false)
		s.log("info", "Shutting down HTTP/HTTPS server")
	})
	if errors.Is(context.Cause(ctx), errPanic) {
		return exit(255, "%s", `{"level":"fatal","msg":"Panic command received"}`)
	}
	return err
}

var errPanic = errors.New("panic command received")

// serve serves until ctx is done, then lets requests under way finish.
func serve(ctx context.Context, l net.Listener, h http.Handler, ending func()) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		ending()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-over
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

type podinfo struct {
	p       *program.Process
	port    string
	host    string
	message string
	color   string
	logo    string
	level   string
	crash   context.CancelCauseFunc // ends the program, for GET /panic

	unready, unhealthy bool
	ready, healthy     atomic.Bool
}

// podinfoFlags are those that change an answer; the others are accepted, as
// manifests name them.
func (s *podinfo) configure() error {
	env := func(key, def string) string {
		if v := s.p.Getenv("PODINFO_" + key); v != "" {
			return v
		}
		return def
	}
	values := map[string]string{
		"port": env("PORT", "9898"), "level": env("LEVEL", "info"),
		"ui-message": env("UI_MESSAGE", "greetings from podinfo v"+PodinfoVersion),
		"ui-color":   env("UI_COLOR", "#34577c"),
		"ui-logo":    env("UI_LOGO", "https://raw.githubusercontent.com/stefanprodan/podinfo/gh-pages/cuddle_clap.gif"),
		"unready":    env("UNREADY", "false"), "unhealthy": env("UNHEALTHY", "false"),
	}
	boolean := map[string]bool{"unready": true, "unhealthy": true, "h2c": true, "random-delay": true, "random-error": true, "version": true}
	args := s.p.Args[1:]
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			continue
		}
		name, value, given := strings.Cut(name, "=")
		if !given && boolean[name] {
			value = "true"
		} else if !given && i+1 < len(args) {
			i++
			value = args[i]
		}
		values[name] = value
	}
	if n, err := strconv.Atoi(values["port"]); err != nil || n < 1 || n > 65535 {
		return exit(2, "podinfo: port %q is not a port", values["port"])
	}
	s.port, s.level = values["port"], values["level"]
	s.message, s.color, s.logo = values["ui-message"], values["ui-color"], values["ui-logo"]
	s.unready, s.unhealthy = values["unready"] == "true", values["unhealthy"] == "true"
	if s.host = s.p.Getenv("HOSTNAME"); s.host == "" {
		s.host = "localhost"
	}
	return nil
}

// log writes one line as podinfo's zap logger does.
func (s *podinfo) log(level, msg string, kv ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, `{"level":%q,"ts":%q,"caller":"podinfo/main.go","msg":%q`, level, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), msg)
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(&b, ",%q:%q", kv[i], kv[i+1])
	}
	b.WriteString("}\n")
	io.WriteString(s.p.Stdout, b.String())
}

type podinfoRuntime struct {
	Hostname     string `json:"hostname"`
	Version      string `json:"version"`
	Revision     string `json:"revision"`
	Color        string `json:"color"`
	Logo         string `json:"logo"`
	Message      string `json:"message"`
	GOOS         string `json:"goos"`
	GOARCH       string `json:"goarch"`
	Runtime      string `json:"runtime"`
	NumGoroutine string `json:"num_goroutine"`
	NumCPU       string `json:"num_cpu"`
}

func (s *podinfo) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "Mozilla") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = podinfoPage.Execute(w, map[string]string{"Host": s.host, "Message": s.message, "Color": s.color})
			return
		}
		s.info(w, r)
	})
	mux.HandleFunc("GET /api/info", s.info)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"version": PodinfoVersion, "commit": "atoll"})
	})
	env := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.p.Env) }
	mux.HandleFunc("GET /env", env)
	mux.HandleFunc("POST /env", env)
	headers := func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, r.Header) }
	mux.HandleFunc("GET /headers", headers)
	mux.HandleFunc("POST /headers", headers)
	for _, at := range []string{"/echo", "/echo/", "/api/echo", "/api/echo/"} {
		mux.HandleFunc(at, s.echo)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { status(w, s.healthy.Load()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { status(w, s.ready.Load()) })
	mux.HandleFunc("POST /readyz/enable", func(w http.ResponseWriter, _ *http.Request) {
		s.ready.Store(true)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /readyz/disable", func(w http.ResponseWriter, _ *http.Request) {
		s.ready.Store(false)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET /delay/{wait}", s.delay)
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 999 { // below 200 is not an answer but a prelude
			http.NotFound(w, r)
			return
		}
		answer(w, code, map[string]int{"status": code})
	})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) {
		s.crash(errPanic)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.level == "debug" {
			s.log("debug", "request started", "proto", r.Proto, "uri", r.RequestURI, "method", r.Method, "remote", r.RemoteAddr, "user-agent", r.UserAgent())
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *podinfo) info(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, podinfoRuntime{
		Hostname: s.host, Version: PodinfoVersion, Revision: "atoll",
		Color: s.color, Logo: s.logo, Message: s.message,
		GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Runtime: runtime.Version(),
		NumGoroutine: strconv.Itoa(runtime.NumGoroutine()), NumCPU: strconv.Itoa(runtime.NumCPU()),
	})
}

// echo sends back what it is sent, up to a megabyte.
func (s *podinfo) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		answer(w, http.StatusOK, map[string]any{"code": http.StatusBadRequest, "message": "invalid request body"})
		return
	}
	w.WriteHeader(http.StatusAccepted)
	w.Write(body)
}

func (s *podinfo) delay(w http.ResponseWriter, r *http.Request) {
	wait, err := strconv.Atoi(r.PathValue("wait"))
	if err != nil || wait < 0 {
		http.NotFound(w, r)
		return
	}
	select {
	case <-time.After(time.Duration(min(wait, 1<<20)) * time.Second):
		answer(w, http.StatusOK, map[string]int{"delay": wait})
	case <-r.Context().Done():
	}
}

func status(w http.ResponseWriter, ok bool) {
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "OK"})
}

// answer writes JSON indented by two spaces and without a last newline.
func answer(w http.ResponseWriter, code int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var out bytes.Buffer
	_ = json.Indent(&out, raw, "", "  ")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write(out.Bytes())
}

var podinfoPage = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html><head><title>{{.Host}}</title></head>
<body style="background:{{.Color}};color:#fff;font-family:sans-serif;text-align:center">
<h1>{{.Message}}</h1><p>served by {{.Host}}</p></body></html>
`))
