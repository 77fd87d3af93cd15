package coredns

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/wan"
)

const corefile = `
.:5353 {
    errors
    health {
       lameduck 20ms
    }
    ready
    kubernetes Lab.Local in-addr.arpa { # a comment
       pods insecure
    }
}
`

// apiServer lists one service, to who has the token, and never ends a watch.
func apiServer(t *testing.T) *httptest.Server {
	t.Helper()
	done := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "":
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		case r.URL.Query().Get("watch") != "":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			select {
			case <-done:
			case <-r.Context().Done():
			}
		case strings.HasSuffix(r.URL.Path, "/services"):
			_, _ = io.WriteString(w, `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[
				{"metadata":{"namespace":"default","name":"hello"},"spec":{"clusterIP":"10.96.0.7","ports":[{"port":80}]}}]}`)
		default:
			_, _ = io.WriteString(w, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}`)
		}
	}))
	t.Cleanup(func() { close(done); s.Close() })
	return s
}

func TestProgramServes(t *testing.T) {
	api := apiServer(t)
	engine, err := wan.New(wan.Policy{Sites: []wan.Site{{Cluster: "c", Region: "r", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	network := netstack.New(engine)
	defer network.Close()
	server, err := network.AddHost("dns", netip.MustParseAddr("10.1.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := network.AddHost("client", netip.MustParseAddr("10.1.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &program.Process{
		Args: []string{"coredns", "-conf", "/etc/coredns/Corefile"},
		Env:  []string{"KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=" + api.URL[strings.LastIndex(api.URL, ":")+1:]},
		Files: fstest.MapFS{
			"etc/coredns/Corefile": {Data: []byte(corefile)},
			accountDir + "token":   {Data: []byte("secret\n")},
			accountDir + "ca.crt":  {Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})},
		},
		Stdout: &out, Stderr: &out,
		Dial: (&net.Dialer{}).DialContext, // the API server is a real one
		Listen: func(_ context.Context, network, address string) (net.Listener, error) {
			return server.Listen(network, address)
		},
		ListenPacket: func(_ context.Context, network, address string) (net.PacketConn, error) {
			return server.ListenPacket(network, address)
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- Program(run, p) }()

	get := &http.Client{Transport: &http.Transport{DialContext: client.DialContext, DisableKeepAlives: true}}
	for status := 0; status != http.StatusOK; {
		select {
		case err := <-ended:
			t.Fatalf("ended: %v\n%s", err, out.String())
		case <-time.After(5 * time.Millisecond):
		}
		r, err := get.Get("http://10.1.0.1:8181/ready")
		if ctx.Err() != nil {
			t.Fatalf("not ready: %v, %v", status, err)
		}
		if err == nil {
			status = r.StatusCode
			_ = r.Body.Close()
		}
	}
	if r, err := get.Get("http://10.1.0.1:8080/health"); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("health: %v, %v", r, err)
	}
	for _, network := range []string{"udp", "tcp"} {
		for name, rcode := range map[string]int{"hello.default.svc.lab.local.": dns.RcodeSuccess, "nobody.default.svc.lab.local.": dns.RcodeNameError} {
			c, err := client.DialContext(ctx, network, "10.1.0.1:5353")
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			if network == "udp" {
				_, _ = c.Write([]byte("rubbish")) // is not answered, and does no harm
			}
			q := new(dns.Msg)
			q.SetQuestion(name, dns.TypeA)
			dc := &dns.Conn{Conn: c}
			if err := dc.WriteMsg(q); err != nil {
				t.Fatal(err)
			}
			m, err := dc.ReadMsg()
			if err != nil || m.Rcode != rcode || m.Id != q.Id {
				t.Fatalf("%s %s: %v, %v", network, name, m, err)
			}
			if rcode == dns.RcodeSuccess && (len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "10.96.0.7") {
				t.Errorf("%s %s: %v", network, name, m.Answer)
			}
			_ = c.Close()
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("stopped: %v", err)
		}
	case <-ctx.Done():
		t.Error("does not stop")
	}
}

func TestProgramFails(t *testing.T) {
	for name, p := range map[string]*program.Process{
		"no Corefile":   {Args: []string{"coredns", "-conf", "/none"}, Files: fstest.MapFS{}},
		"unknown flag":  {Args: []string{"coredns", "-x"}},
		"no API server": {Args: []string{"coredns"}, Files: fstest.MapFS{}},
		"no account":    {Args: []string{"coredns"}, Files: fstest.MapFS{}, Env: []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_PORT=443"}},
	} {
		p.Stdout, p.Stderr = io.Discard, io.Discard
		if err := Program(context.Background(), p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParse(t *testing.T) {
	c := config{port: "53", zone: "cluster.local"}
	if err := c.parse(corefile); err != nil {
		t.Fatal(err)
	}
	if want := (config{port: "5353", zone: "Lab.Local", lameduck: 20 * time.Millisecond}); !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for _, bad := range []string{"}", ". {", ". {\n health {\n lameduck soon\n }\n}", ".:53 {\n}\nx.local {\n forward . here\n}"} {
		if err := new(config).parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// answers keeps what a handler says.
type answers struct {
	dns.ResponseWriter
	m *dns.Msg
}

func (a *answers) WriteMsg(m *dns.Msg) error { a.m = m; return nil }

func TestHosts(t *testing.T) {
	c := config{}
	const text = ".:53 {\n hosts {\n 10.101.0.1 do1.microk8s do1\n 10.101.0.2 do2.microk8s # two\n fallthrough\n }\n kubernetes cluster.local {\n ttl 30\n }\n}"
	if err := c.parse(text); err != nil {
		t.Fatal(err)
	}
	if c.zone != "cluster.local" || len(c.hosts) != 3 {
		t.Fatalf("%+v", c)
	}
	if err := new(config).parse(". {\n hosts {\n ten.0.0.1 x\n }\n}"); err == nil || !strings.Contains(err.Error(), "corefile:3: hosts: ") {
		t.Errorf("no address: %v", err)
	}
	passed := 0
	h := withHosts(c.hosts, dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) { passed++ }))
	for _, q := range []struct {
		name  string
		qtype uint16
		want  string // "" is passed on, "-" an answer without a record
	}{
		{"do1.microk8s.", dns.TypeA, "10.101.0.1"}, {"DO2.MicroK8s.", dns.TypeA, "10.101.0.2"},
		{"do1.microk8s.", dns.TypeAAAA, "-"}, {"do3.microk8s.", dns.TypeA, ""},
	} {
		a, before := &answers{}, passed
		h.ServeDNS(a, new(dns.Msg).SetQuestion(q.name, q.qtype))
		got := ""
		if passed == before {
			got = "-"
			if len(a.m.Answer) == 1 {
				got = a.m.Answer[0].(*dns.A).A.String()
			}
		}
		if got != q.want {
			t.Errorf("%s: %q, want %q", q.name, got, q.want)
		}
	}
}
