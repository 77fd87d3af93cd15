package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// netcat connects, or with -l listens for one connection; -z only tries.
func netcat(ctx context.Context, p *program.Process) error {
	listen, try, port := false, false, ""
	wait := 10 * time.Second
	var rest []string
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-p" && i+1 < len(args):
			i++
			port = args[i]
		case a == "-w" && i+1 < len(args):
			i++
			s, err := strconv.Atoi(args[i])
			if err != nil || s < 0 || s > 1<<20 {
				return exit(1, "nc: invalid number '%s'", args[i])
			}
			wait = time.Duration(s) * time.Second
		case len(a) > 1 && a[0] == '-':
			listen = listen || strings.Contains(a, "l")
			try = try || strings.Contains(a, "z")
		default:
			rest = append(rest, a)
		}
	}
	var c net.Conn
	var err error
	if listen {
		if port == "" && len(rest) > 0 {
			port = rest[len(rest)-1]
		}
		l, lerr := p.Listen(ctx, "tcp", ":"+port)
		if lerr != nil {
			return exit(1, "nc: bind: %v", lerr)
		}
		defer context.AfterFunc(ctx, func() { l.Close() })()
		c, err = l.Accept()
		l.Close()
	} else {
		if len(rest) != 2 {
			return exit(1, "usage: nc [-lz] [-w SEC] [-p PORT] HOST PORT")
		}
		dctx, cancel := context.WithTimeout(ctx, wait)
		c, err = p.Dial(dctx, "tcp", net.JoinHostPort(rest[0], rest[1]))
		cancel()
	}
	if err != nil {
		return exit(1, "nc: %s", netError(err))
	}
	defer c.Close()
	if try {
		return nil
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	go func() {
		io.Copy(c, p.Stdin)
		if h, ok := c.(interface{ CloseWrite() error }); ok {
			_ = h.CloseWrite()
		}
	}()
	_, err = io.Copy(p.Stdout, c)
	return err
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
