package shop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// redis is a store in memory that speaks as much of Redis's protocol as the
// cart service needs. What it holds is gone when it stops, as in the demo.
func (r *role) redis(ctx context.Context) error {
	l, err := r.p.Listen(ctx, "tcp", ":"+r.port())
	if err != nil {
		return err
	}
	s := &redisServer{role: r, values: map[string]string{}, open: map[net.Conn]bool{}}
	return r.serve(ctx, func() error { return s.serve(l) }, func() { l.Close(); s.closeAll() })
}

type redisServer struct {
	*role
	mu     sync.Mutex
	values map[string]string
	open   map[net.Conn]bool
	closed bool
	conns  sync.WaitGroup
}

func (s *redisServer) serve(l net.Listener) error {
	defer s.conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			continue
		}
		s.open[c] = true
		s.mu.Unlock()
		s.conns.Go(func() {
			s.converse(c)
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			c.Close()
		})
	}
}

func (s *redisServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
}

// converse answers commands until the client goes.
func (s *redisServer) converse(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, s.answer(args)); err != nil {
			return
		}
	}
}

// maxArguments bounds a command.
const maxArguments = 64

func readCommand(in *bufio.Reader) ([]string, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	count, ok := strings.CutPrefix(line, "*")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > maxArguments {
		return nil, fmt.Errorf("redis: %q is no command", line)
	}
	args := make([]string, n)
	for i := range args {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		length, ok := strings.CutPrefix(line, "$")
		if !ok {
			return nil, errors.New("redis: a bulk string is wanted")
		}
		if args[i], err = readBulk(in, length); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func (s *redisServer) answer(args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name := strings.ToUpper(args[0]); {
	case name == "PING":
		return "+PONG\r\n"
	case name == "INFO":
		return bulk("# Server\r\nredis_mode:standalone\r\nhostname:" + s.pod + "\r\ncluster_name:" + s.cluster + "\r\n")
	case name == "GET" && len(args) == 2:
		if v, ok := s.values[args[1]]; ok {
			return bulk(v)
		}
		return "$-1\r\n"
	case name == "SET" && len(args) == 3:
		s.values[args[1]] = args[2]
		return "+OK\r\n"
	case name == "DEL" && len(args) == 2:
		_, there := s.values[args[1]]
		delete(s.values, args[1])
		return map[bool]string{true: ":1\r\n", false: ":0\r\n"}[there]
	default:
		return fmt.Sprintf("-ERR unknown command '%s', or wrong number of arguments\r\n", args[0])
	}
}
