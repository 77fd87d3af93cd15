package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/atoll-dev/atoll/sim/hollow"
)

func ls(_ context.Context, p *hollow.Process) error {
	names := operands(p.Args[1:])
	if len(names) == 0 {
		names = []string{"."}
	}
	failed := false
	for _, n := range names {
		info, err := fs.Stat(p.Files, clean(n))
		if err != nil {
			fmt.Fprintf(p.Stderr, "ls: %s: No such file or directory\n", n)
			failed = true
			continue
		}
		if !info.IsDir() {
			fmt.Fprintln(p.Stdout, n)
			continue
		}
		entries, err := fs.ReadDir(p.Files, clean(n))
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Fprintln(p.Stdout, e.Name())
		}
	}
	if failed {
		return &hollow.ExitError{Code: 1}
	}
	return nil
}

// change runs do on each operand and reports what went wrong.
func change(p *hollow.Process, do func(w hollow.Writable, name string) error) error {
	w, ok := p.Files.(hollow.Writable)
	if !ok {
		return exit(1, "%s: read-only file system", p.Args[0])
	}
	failed := false
	for _, n := range operands(p.Args[1:]) {
		if err := do(w, clean(n)); err != nil {
			fmt.Fprintf(p.Stderr, "%s: %s\n", p.Args[0], fileError(n, err))
			failed = true
		}
	}
	if failed {
		return &hollow.ExitError{Code: 1}
	}
	return nil
}

func mkdir(_ context.Context, p *hollow.Process) error {
	parents := false
	for _, a := range p.Args[1:] {
		parents = parents || a == "-p"
	}
	return change(p, func(w hollow.Writable, name string) error {
		err := w.Mkdir(name)
		if parents && errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
}

func touch(_ context.Context, p *hollow.Process) error {
	return change(p, func(w hollow.Writable, name string) error { return w.WriteFile(name, nil, true) })
}

func rm(_ context.Context, p *hollow.Process) error {
	force, deep := false, false
	for _, a := range p.Args[1:] {
		if len(a) > 1 && a[0] == '-' {
			force, deep = force || strings.Contains(a, "f"), deep || strings.ContainsAny(a, "rR")
		}
	}
	return change(p, func(w hollow.Writable, name string) error {
		err := remove(w, name, deep)
		if force && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func remove(w hollow.Writable, name string, deep bool) error {
	if deep {
		entries, err := fs.ReadDir(w, name)
		if err == nil {
			for _, e := range entries {
				if err := remove(w, name+"/"+e.Name(), true); err != nil {
					return err
				}
			}
		}
	}
	return w.Remove(name)
}

func tee(_ context.Context, p *hollow.Process) error {
	names := operands(p.Args[1:])
	adding := len(p.Args) > 1 && p.Args[1] == "-a"
	for _, n := range names {
		if err := hollow.WriteFile(p.Files, clean(n), nil, adding); err != nil {
			return exit(1, "tee: %s", fileError(n, err))
		}
	}
	buf := make([]byte, 4096)
	for {
		n, err := p.Stdin.Read(buf)
		if n > 0 {
			p.Stdout.Write(buf[:n])
			for _, name := range names {
				if err := hollow.WriteFile(p.Files, clean(name), buf[:n], true); err != nil {
					return exit(1, "tee: %s", fileError(name, err))
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cut takes -d DELIMITER -f FIELDS, as in -f1,3 or -f2-.
func cut(_ context.Context, p *hollow.Process) error {
	delim, fields := "\t", ""
	var rest []string
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case (a == "-d" || a == "-f") && i+1 < len(args):
			i++
			if a == "-d" {
				delim = args[i]
			} else {
				fields = args[i]
			}
		case strings.HasPrefix(a, "-d"):
			delim = a[2:]
		case strings.HasPrefix(a, "-f"):
			fields = a[2:]
		default:
			rest = append(rest, a)
		}
	}
	want, err := fieldRanges(fields)
	if err != nil {
		return exit(1, "cut: %v", err)
	}
	return inputs(p, rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			if !strings.Contains(line, delim) {
				fmt.Fprintln(p.Stdout, line)
				return true
			}
			var out []string
			for i, f := range strings.Split(line, delim) {
				for _, w := range want {
					if i+1 >= w[0] && i+1 <= w[1] {
						out = append(out, f)
						break
					}
				}
			}
			fmt.Fprintln(p.Stdout, strings.Join(out, delim))
			return true
		})
	})
}

func fieldRanges(s string) ([][2]int, error) {
	var out [][2]int
	for _, part := range strings.Split(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		lo, hi := 1, 1<<30
		var err error
		if from != "" {
			if lo, err = strconv.Atoi(from); err != nil || lo < 1 {
				return nil, fmt.Errorf("bad field list %q", s)
			}
		}
		switch {
		case !ranged:
			hi = lo
		case to != "":
			if hi, err = strconv.Atoi(to); err != nil {
				return nil, fmt.Errorf("bad field list %q", s)
			}
		}
		if part == "" {
			return nil, errors.New("expected a list of fields")
		}
		out = append(out, [2]int{lo, hi})
	}
	return out, nil
}

// tr replaces single characters, or with -d deletes them.
func tr(_ context.Context, p *hollow.Process) error {
	args := p.Args[1:]
	del := len(args) > 0 && args[0] == "-d"
	if del {
		args = args[1:]
	}
	unescape := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\\`, `\`).Replace
	for i := range args {
		args[i] = trRange(unescape(args[i]))
	}
	if del && len(args) != 1 || !del && (len(args) != 2 || args[1] == "") {
		return exit(1, "usage: tr [-d] STRING1 [STRING2]")
	}
	data, err := io.ReadAll(io.LimitReader(p.Stdin, 64<<20))
	if err != nil {
		return err
	}
	out := strings.Map(func(r rune) rune {
		i := strings.IndexRune(args[0], r)
		switch {
		case i < 0:
			return r
		case del:
			return -1
		case i >= len(args[1]):
			i = len(args[1]) - 1
		}
		return rune(args[1][i])
	}, string(data))
	_, err = io.WriteString(p.Stdout, out)
	return err
}

// trRange spells out a-z.
func trRange(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i] <= s[i+2] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				b.WriteByte(byte(c))
			}
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// nslookup asks the pod's resolver for the addresses of a name.
func nslookup(ctx context.Context, p *hollow.Process) error {
	names := operands(p.Args[1:])
	if len(names) == 0 {
		return exit(1, "usage: nslookup HOST")
	}
	server := ""
	if data, err := fs.ReadFile(p.Files, "etc/resolv.conf"); err == nil {
		for _, line := range strings.Split(string(data), "\n") {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "nameserver" && server == "" {
				server = f[1]
			}
		}
	}
	fmt.Fprintf(p.Stdout, "Server:\t\t%s\nAddress:\t%s\n\n", server, net.JoinHostPort(server, "53"))
	addrs, err := p.LookupHost(ctx, names[0])
	var de *net.DNSError
	switch {
	case errors.As(err, &de) && de.IsTimeout:
		return exit(1, ";; connection timed out; no servers could be reached")
	case err != nil:
		fmt.Fprintf(p.Stdout, "** server can't find %s: NXDOMAIN\n\n", names[0])
		return &hollow.ExitError{Code: 1}
	}
	for _, a := range addrs {
		fmt.Fprintf(p.Stdout, "Name:\t%s\nAddress: %s\n", names[0], a)
	}
	fmt.Fprintln(p.Stdout)
	return nil
}

// netError words a connection's failure as libc does.
func netError(err error) string {
	var de *net.DNSError
	var ne net.Error
	switch {
	case errors.As(err, &de):
		return fmt.Sprintf("bad address '%s'", de.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "Connection reset by peer"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "No route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "Network unreachable"
	case errors.As(err, &ne) && ne.Timeout():
		return "Connection timed out"
	}
	return err.Error()
}
