package shop

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	graph "github.com/atoll-dev/atoll/sim/shop"
)

// The headers in which an answer says who gave it.
const (
	clusterHeader = "x-served-by-cluster"
	podHeader     = "x-served-by-pod"
)

// method makes a gRPC method of a function.
func method[Req, Resp any](name string, do func(context.Context, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		return intercept(ctx, req, &grpc.UnaryServerInfo{FullMethod: name}, func(ctx context.Context, req any) (any, error) {
			return do(ctx, req.(*Req))
		})
	}}
}

// serveGRPC serves one of the demo's services, hipstershop.NAME, until ctx ends.
func (r *role) serveGRPC(ctx context.Context, name string, methods ...grpc.MethodDesc) error {
	listener, err := r.p.Listen(ctx, "tcp", ":"+r.port())
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodec(codec{}), grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := grpc.SetHeader(ctx, metadata.Pairs(clusterHeader, r.cluster, podHeader, r.pod)); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "hipstershop." + name, HandlerType: (*any)(nil), Methods: methods}, r)
	return r.serve(ctx, func() error { return server.Serve(listener) }, server.Stop)
}

// serve runs a server beside the answers to probes until ctx ends.
func (r *role) serve(ctx context.Context, run func() error, stop func()) error {
	health, err := r.p.Listen(ctx, "tcp", ":"+strconv.Itoa(graph.HealthPort))
	if err != nil {
		stop()
		return err
	}
	web := &http.Server{Handler: healthy(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { web.Close(); stop() })()
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(health) }()
	go func() { failed <- run() }()
	err = <-failed
	web.Close()
	stop()
	if other := <-failed; err == nil { // it ends because the first did
		err = other
	}
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func healthy() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+graph.HealthPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

// backend is a service that this one calls.
type backend struct {
	service string // hipstershop.NAME
	conn    *grpc.ClientConn
}

// dial makes a backend of an address variable; it connects when it is called.
func (r *role) dial(service, variable string) (*backend, error) {
	address := r.p.Getenv(variable)
	if address == "" {
		return nil, errors.New(variable + " is not set")
	}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return r.p.Dial(ctx, "tcp", address) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})),
		// A sidecar that starts later is found soon.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: 5 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	r.conns = append(r.conns, conn)
	return &backend{service: "hipstershop." + service, conn: conn}, nil
}

// call asks a backend, and tells who answered.
func call[Resp any](ctx context.Context, b *backend, method string, req any) (*Resp, served, error) {
	var header metadata.MD
	resp := new(Resp)
	err := b.conn.Invoke(ctx, "/"+b.service+"/"+method, req, resp, grpc.Header(&header))
	first := func(key string) string {
		if v := header.Get(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	return resp, served{first(clusterHeader), first(podHeader)}, err
}

// served is who gave an answer.
type served struct{ cluster, pod string }
