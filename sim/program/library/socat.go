package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// socatWith is socat between a listener and a command or another connection:
//
//	socat [-v] TCP-LISTEN:PORT[,fork][,crlf] SYSTEM:COMMAND
//	socat [-v] UDP-LISTEN:PORT[,fork] TCP:HOST:PORT
//
// Addresses of the first kind are TCP-LISTEN, UDP-LISTEN and -; of the second
// SYSTEM, EXEC, TCP, UDP and -. Options but fork and crlf are accepted and have
// no meaning here. IPv6 is not simulated.
func socatWith(commands map[string]program.Func) program.Func {
	return func(ctx context.Context, p *program.Process) error {
		var addrs []socatAddress
		for _, a := range p.Args[1:] {
			if strings.HasPrefix(a, "-") && a != "-" {
				continue
			}
			addrs = append(addrs, socatParse(a))
		}
		if len(addrs) != 2 {
			return exit(1, "socat: exactly 2 addresses required (there are %d)", len(addrs))
		}
		s := &socat{p: p, commands: commands, to: addrs[1], crlf: addrs[0].has("crlf"), fork: addrs[0].has("fork")}
		switch from := addrs[0]; from.kind {
		case "TCP-LISTEN", "TCP4-LISTEN", "TCP-L", "TCP4-L":
			return s.tcp(ctx, from.rest)
		case "UDP-LISTEN", "UDP4-LISTEN", "UDP-L", "UDP4-L":
			return s.udp(ctx, from.rest)
		case "-", "STDIO":
			return s.connect(ctx, p.Stdin, p.Stdout)
		default:
			return exit(1, "socat: address %s is not known here", from.kind)
		}
	}
}

type socatAddress struct {
	kind, rest string
	options    []string
}

// socatParse takes KIND:REST,OPTION,…; the commas of a command are its own.
func socatParse(text string) socatAddress {
	kind, rest, _ := strings.Cut(text, ":")
	a := socatAddress{kind: strings.ToUpper(kind), rest: rest}
	if a.kind != "SYSTEM" && a.kind != "EXEC" {
		parts := strings.Split(rest, ",")
		a.rest, a.options = parts[0], parts[1:]
	}
	return a
}

func (a socatAddress) has(option string) bool {
	for _, o := range a.options {
		if o == option {
			return true
		}
	}
	return false
}

type socat struct {
	p          *program.Process
	commands   map[string]program.Func
	to         socatAddress
	crlf, fork bool
}

func (s *socat) tcp(ctx context.Context, port string) error {
	l, err := s.p.Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return exit(1, "socat: bind: %v", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		serve := func() error {
			defer context.AfterFunc(ctx, func() { c.Close() })()
			defer c.Close()
			return s.connect(ctx, c, c)
		}
		if !s.fork {
			return serve()
		}
		calls.Go(func() { s.complain(serve()) })
	}
}

// udp answers each packet by itself: to tell one caller's from another's takes
// no connection where the command does not read on.
func (s *socat) udp(ctx context.Context, port string) error {
	pc, err := s.p.ListenPacket(ctx, "udp", ":"+port)
	if err != nil {
		return exit(1, "socat: bind: %v", err)
	}
	defer context.AfterFunc(ctx, func() { pc.Close() })()
	defer pc.Close()
	var calls sync.WaitGroup
	defer calls.Wait()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, net.ErrClosed):
				return err
			}
			continue // an ICMP error about an earlier answer
		}
		in := bytes.NewReader(bytes.Clone(buf[:n]))
		serve := func() error {
			// One answer is one packet, however it is written.
			var answer bytes.Buffer
			if err := s.connect(ctx, in, &answer); err != nil {
				return err
			}
			_, err := pc.WriteTo(answer.Bytes(), from)
			return err
		}
		if !s.fork {
			return serve()
		}
		calls.Go(func() { s.complain(serve()) })
	}
}

func (s *socat) complain(err error) {
	if err != nil {
		fmt.Fprintf(s.p.Stderr, "socat: %v\n", err)
	}
}

// connect joins a caller to the second address.
func (s *socat) connect(ctx context.Context, in io.Reader, out io.Writer) error {
	if s.crlf {
		out = crlf{out}
	}
	switch s.to.kind {
	case "SYSTEM", "EXEC":
		return s.command(ctx, in, out)
	case "TCP", "TCP4", "UDP", "UDP4":
		return s.dial(ctx, strings.ToLower(strings.TrimSuffix(s.to.kind, "4")), in, out)
	case "-", "STDIO":
		go func() { _, _ = io.Copy(out, s.p.Stdin) }()
		_, err := io.Copy(s.p.Stdout, in)
		return err
	}
	return exit(1, "socat: address %s is not known here", s.to.kind)
}

// command runs the second address. What the caller sends is read whether or
// not the command does: a connection that is closed with something unread is
// reset, and the answer may be lost.
func (s *socat) command(ctx context.Context, in io.Reader, out io.Writer) error {
	stdin, feed := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(feed, in)
		_ = feed.Close()
		_, _ = io.Copy(io.Discard, in)
	}()
	c := child(s.p, []string{"sh", "-c", s.to.rest})
	c.Stdin, c.Stdout, c.TTY = stdin, out, false
	err := s.commands["sh"](ctx, c)
	_ = stdin.Close()
	if h, ok := in.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
		linger := time.NewTimer(socatLinger)
		defer linger.Stop()
		select {
		case <-read:
		case <-linger.C:
		case <-ctx.Done():
		}
	}
	return err
}

func (s *socat) dial(ctx context.Context, network string, in io.Reader, out io.Writer) error {
	c, err := s.p.Dial(ctx, network, s.to.rest)
	if err != nil {
		return exit(1, "socat: connect %s: %s", s.to.rest, netError(err))
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	go func() {
		_, _ = io.Copy(c, in)
		if h, ok := c.(interface{ CloseWrite() error }); ok {
			_ = h.CloseWrite()
		}
		if network == "udp" { // nobody says when the last answer has come
			_ = c.SetReadDeadline(time.Now().Add(socatLinger))
		}
	}()
	_, err = io.Copy(out, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return nil
	}
	return err
}

// socatLinger is socat's -t: how long an answer is waited for after the end of
// what was asked.
const socatLinger = 500 * time.Millisecond

// crlf ends lines as the network does.
type crlf struct{ w io.Writer }

func (c crlf) Write(b []byte) (int, error) {
	if _, err := c.w.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}
