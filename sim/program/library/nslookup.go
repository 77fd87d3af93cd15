package library

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/program/nameserver"
)

// nslookup asks for a name's addresses, or with -type for other records. The
// name is tried as it is if it has a dot, then with the search list.
func nslookup(ctx context.Context, p *program.Process) error {
	qtype := dns.TypeA
	var names []string
	for _, a := range p.Args[1:] {
		switch option, value, _ := strings.Cut(a, "="); {
		case option == "-type" || option == "-query" || option == "-q" || option == "-querytype":
			t, ok := dns.StringToType[strings.ToUpper(value)]
			if !ok {
				return exit(1, "unknown query type: %s", value)
			}
			qtype = t
		case !strings.HasPrefix(a, "-"):
			names = append(names, a)
		}
	}
	if len(names) == 0 {
		return exit(1, "usage: nslookup [-type=TYPE] HOST [SERVER]")
	}
	server, search := resolvConf(p)
	if len(names) > 1 {
		server = names[1]
	}
	name := names[0]
	if server == "" {
		return exit(1, ";; connection timed out; no servers could be reached")
	}
	fmt.Fprintf(p.Stdout, "Server:\t\t%s\nAddress:\t%s\n\n", server, net.JoinHostPort(server, "53"))
	candidates := []string{dns.Fqdn(name)}
	if !strings.HasSuffix(name, ".") {
		for _, s := range search {
			candidates = append(candidates, dns.Fqdn(name+"."+strings.TrimSuffix(s, ".")))
		}
		if !strings.Contains(name, ".") {
			candidates = append(candidates[1:], candidates[0])
		}
	}
	rcode := dns.RcodeNameError
	for _, full := range candidates {
		m, err := askServer(ctx, p, server, full, qtype)
		if err != nil {
			return exit(1, ";; connection timed out; no servers could be reached")
		}
		if rcode = m.Rcode; rcode == dns.RcodeSuccess {
			writeRecords(p, full, qtype, m)
			return nil
		}
	}
	fmt.Fprintf(p.Stdout, "** server can't find %s: %s\n\n", strings.TrimSuffix(name, "."), dns.RcodeToString[rcode])
	return &program.ExitError{Code: 1}
}

func resolvConf(p *program.Process) (server string, search []string) {
	data, err := fs.ReadFile(p.Files, "etc/resolv.conf")
	if err != nil {
		return "", nil
	}
	for _, line := range strings.Split(string(data), "\n") {
		switch f := strings.Fields(line); {
		case len(f) == 2 && f[0] == "nameserver" && server == "":
			server = f[1]
		case len(f) > 1 && f[0] == "search":
			search = f[1:]
		}
	}
	return server, search
}

// Timing of one question, as nslookup's.
const (
	nslookupTimeout = 5 * time.Second
	nslookupTries   = 2
)

func askServer(ctx context.Context, p *program.Process, server, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	ask := func(network string) (*dns.Msg, error) {
		ctx, cancel := context.WithTimeout(ctx, nslookupTimeout)
		defer cancel()
		return nameserver.Ask(ctx, p.Dial, network, net.JoinHostPort(server, "53"), q)
	}
	var failure error
	for range nslookupTries {
		m, err := ask("udp")
		if err == nil && m.Truncated {
			m, err = ask("tcp")
		}
		if err == nil {
			return m, nil
		}
		failure = err
	}
	return nil, failure
}

// writeRecords words an answer as nslookup does.
func writeRecords(p *program.Process, name string, qtype uint16, m *dns.Msg) {
	bare := func(s string) string { return strings.TrimSuffix(s, ".") }
	if len(m.Answer) == 0 {
		fmt.Fprintf(p.Stdout, "*** Can't find %s: No answer\n\n", bare(name))
		return
	}
	for _, rr := range m.Answer {
		owner := bare(rr.Header().Name)
		switch r := rr.(type) {
		case *dns.A:
			fmt.Fprintf(p.Stdout, "Name:\t%s\nAddress: %s\n", owner, r.A)
		case *dns.AAAA:
			fmt.Fprintf(p.Stdout, "Name:\t%s\nAddress: %s\n", owner, r.AAAA)
		case *dns.CNAME:
			fmt.Fprintf(p.Stdout, "%s\tcanonical name = %s\n", owner, r.Target)
		case *dns.SRV:
			fmt.Fprintf(p.Stdout, "%s\tservice = %d %d %d %s\n", owner, r.Priority, r.Weight, r.Port, r.Target)
		case *dns.PTR:
			fmt.Fprintf(p.Stdout, "%s\tname = %s\n", owner, r.Ptr)
		case *dns.TXT:
			fmt.Fprintf(p.Stdout, "%s\ttext = %q\n", owner, strings.Join(r.Txt, ""))
		default:
			fmt.Fprintf(p.Stdout, "%s\t%s = %s\n", owner, dns.TypeToString[qtype], strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	fmt.Fprintln(p.Stdout)
}
