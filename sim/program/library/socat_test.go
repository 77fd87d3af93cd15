package library

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/program"
)

// A server of the multi-cluster services' conformance suite: it tells whoever
// calls its address, over TCP and UDP.
func TestSocatListens(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		b := newBox()
		b.env = append(b.env, "MY_POD_IPS=10.1.2.3")
		image, _, err := Images().Find("alpine/socat:1.7.4.4")
		if err != nil {
			t.Fatal(err)
		}
		sh, ok := image.Lookup("/bin/sh")
		if !ok {
			t.Fatal("the image has no shell")
		}
		script := `if echo "$MY_POD_IPS" | grep -qE '([^0-9]|^)[0-9]{1,3}\.[0-9]{1,3}'; then v4=true; fi
first_ip=$(echo "$MY_POD_IPS" | tr ',' ' ' | awk '{print $1}')
export first_ip
$v4 && socat -v -v ` + strings.ToUpper(network) + `-LISTEN:42,crlf,reuseaddr,fork SYSTEM:'echo "pod ip $first_ip"'`
		at := make(chan net.Addr, 1)
		p := b.process([]string{"/bin/sh", "-c", script}, strings.NewReader(""), io.Discard, io.Discard)
		p.Listen = func(context.Context, string, string) (net.Listener, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				at <- l.Addr()
			}
			return l, err
		}
		p.ListenPacket = func(context.Context, string, string) (net.PacketConn, error) {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err == nil {
				at <- c.LocalAddr()
			}
			return c, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ended := make(chan error, 1)
		go func() { ended <- sh(ctx, p) }()
		for range 2 { // it forks
			select {
			case addr := <-at:
				at <- addr
				c, err := net.Dial(network, addr.String())
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(c, "hi\n")
				got, err := bufio.NewReader(c).ReadString('\n')
				if got != "pod ip 10.1.2.3\r\n" {
					t.Errorf("%s: %q, %v", network, got, err)
				}
				c.Close()
			case err := <-ended:
				t.Fatalf("%s: ended: %v", network, err)
			}
		}
		cancel()
		<-ended
	}
}

func TestSocatConnects(t *testing.T) {
	b := newBox()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	b.ports["echo:7"] = l.Addr().String()
	if out, errw, code := b.run(t, "nicolaka/netshoot", "ping", "socat", "-", "TCP:echo:7"); out != "ping" || code != 0 {
		t.Errorf("%q, exit %d: %s", out, code, errw)
	}
	for _, args := range [][]string{{"socat"}, {"socat", "-", "TCP:nobody:7"}, {"socat", "OPENSSL:x", "-"}, {"socat", "-", "PTY"}} {
		if _, _, code := b.run(t, "nicolaka/netshoot", "", args...); code == 0 {
			t.Errorf("%q: exit 0", args)
		}
	}
}

func TestNslookup(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{
		"hello.ns.svc.clusterset.local. A":   "hello.ns.svc.clusterset.local. 5 IN A 10.12.0.9",
		"hello.ns.svc.clusterset.local. SRV": "hello.ns.svc.clusterset.local. 5 IN SRV 0 50 42 hello.ns.svc.clusterset.local.",
		"short.default. A":                   "short.default. 5 IN A 10.12.0.10",
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		question := q.Question[0]
		text, ok := records[question.Name+" "+dns.TypeToString[question.Qtype]]
		switch {
		case ok:
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		case !strings.HasPrefix(question.Name, "hello."):
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	defer func() { _ = s.Shutdown() }()
	b := newBox()
	b.files.MapFS["etc/resolv.conf"].Data = []byte("search default\nnameserver 10.96.0.10\n")
	b.ports["10.96.0.10:53"] = pc.LocalAddr().String()
	const head = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n"
	for _, c := range []struct {
		args []string
		out  string
		code int
	}{
		{[]string{"-type=A", "hello.ns.svc.clusterset.local."}, "Name:\thello.ns.svc.clusterset.local\nAddress: 10.12.0.9\n\n", 0},
		{[]string{"-type=SRV", "hello.ns.svc.clusterset.local"}, "hello.ns.svc.clusterset.local\tservice = 0 50 42 hello.ns.svc.clusterset.local.\n\n", 0},
		{[]string{"-type=AAAA", "hello.ns.svc.clusterset.local."}, "*** Can't find hello.ns.svc.clusterset.local: No answer\n\n", 0},
		{[]string{"short"}, "Name:\tshort.default\nAddress: 10.12.0.10\n\n", 0},
		{[]string{"nosuch"}, "** server can't find nosuch: NXDOMAIN\n\n", 1},
	} {
		out, errw, code := b.run(t, "busybox", "", append([]string{"nslookup"}, c.args...)...)
		if out != head+c.out || code != c.code {
			t.Errorf("%q: %q, exit %d (%s); want %q, exit %d", c.args, out, code, errw, head+c.out, c.code)
		}
	}
	if _, errw, code := b.run(t, "busybox", "", "nslookup", "-type=SRY", "x"); code != 1 || !strings.Contains(errw, "SRY") {
		t.Errorf("an unknown type: exit %d, %s", code, errw)
	}
	b.ports = map[string]string{}
	var out bytes.Buffer
	err = nslookup(t.Context(), b.process([]string{"nslookup", "x"}, strings.NewReader(""), &out, &out))
	if ee, ok := err.(*program.ExitError); !ok || !strings.Contains(ee.Msg, "no servers could be reached") {
		t.Errorf("no server: %v", err)
	}
}
