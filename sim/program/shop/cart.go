package shop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	graph "github.com/atoll-dev/atoll/sim/shop"
)

// cart keeps carts in Redis, one value per user.
func (r *role) cart(ctx context.Context) error {
	store := &redisClient{address: r.p.Getenv("REDIS_ADDR"), dial: r.p.Dial}
	if store.address == "" {
		return errors.New("REDIS_ADDR is not set")
	}
	defer store.close()
	read := func(ctx context.Context, user string) (*cart, error) {
		value, err := store.do(ctx, "GET", user)
		if err != nil {
			return nil, status.Errorf(codes.FailedPrecondition, "can't access cart storage: %v", err)
		}
		c := &cart{User: user}
		if value == "" {
			return c, nil
		}
		return c, json.Unmarshal([]byte(value), &c.Items)
	}
	var writing sync.Mutex // adding is reading and writing
	return r.serveGRPC(ctx, "CartService",
		method("AddItem", func(ctx context.Context, q *addItem) (*empty, error) {
			writing.Lock()
			defer writing.Unlock()
			c, err := read(ctx, q.User)
			if err != nil {
				return nil, err
			}
			if i := slices.IndexFunc(c.Items, func(i graph.Item) bool { return i.Product == q.Item.Product }); i >= 0 {
				c.Items[i].Quantity += q.Item.Quantity
			} else {
				c.Items = append(c.Items, q.Item)
			}
			value, err := json.Marshal(c.Items)
			if err != nil {
				return nil, err
			}
			if _, err := store.do(ctx, "SET", q.User, string(value)); err != nil {
				return nil, status.Errorf(codes.FailedPrecondition, "can't access cart storage: %v", err)
			}
			return &empty{}, nil
		}),
		method("GetCart", func(ctx context.Context, q *userID) (*cart, error) {
			c, err := read(ctx, q.User)
			if err != nil {
				return nil, err
			}
			if info, err := store.do(ctx, "INFO", "server"); err == nil {
				c.Kept = &graph.Served{Part: "carts kept", Service: "redis-cart", Cluster: field(info, "cluster_name"), Pod: field(info, "hostname")}
			}
			return c, nil
		}),
		method("EmptyCart", func(ctx context.Context, q *userID) (*empty, error) {
			writing.Lock()
			defer writing.Unlock()
			if _, err := store.do(ctx, "DEL", q.User); err != nil {
				return nil, status.Errorf(codes.FailedPrecondition, "can't access cart storage: %v", err)
			}
			return &empty{}, nil
		}),
	)
}

// field reads a line of INFO's answer.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return v
		}
	}
	return ""
}

// redisClient speaks Redis's protocol over one connection.
type redisClient struct {
	address string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	conn net.Conn
	in   *bufio.Reader
}

// storageTimeout bounds one command.
const storageTimeout = 2 * time.Second

// do sends a command. A connection that the other end has closed meanwhile is
// replaced once.
func (c *redisClient) do(ctx context.Context, args ...string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fresh := c.conn == nil; ; fresh = true {
		reply, err := c.once(ctx, args)
		var refused *redisError
		if err == nil || errors.As(err, &refused) {
			return reply, err
		}
		c.drop()
		if fresh || ctx.Err() != nil {
			return "", err
		}
	}
}

func (c *redisClient) once(ctx context.Context, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if c.conn == nil {
		conn, err := c.dial(ctx, "tcp", c.address)
		if err != nil {
			return "", err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.conn, out.String()); err != nil {
		return "", err
	}
	return readReply(c.in)
}

func (c *redisClient) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *redisClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// redisError is an answer that begins with "-".
type redisError struct{ text string }

func (e *redisError) Error() string { return e.text }

// maxValue bounds a value on the wire.
const maxValue = 1 << 20

// readReply reads a simple string, an error, a number or a bulk string.
func readReply(in *bufio.Reader) (string, error) {
	line, err := readLine(in)
	if err != nil {
		return "", err
	}
	if line == "" {
		return "", errors.New("redis: an empty line")
	}
	switch rest := line[1:]; line[0] {
	case '+', ':':
		return rest, nil
	case '-':
		return "", &redisError{rest}
	case '$':
		return readBulk(in, rest)
	default:
		return "", fmt.Errorf("redis: %q is no reply", line)
	}
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	return strings.TrimSuffix(string(line), "\r\n"), err
}

// readBulk reads a string of so many bytes; -1 is none.
func readBulk(in *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n > maxValue || n < -1 {
		return "", fmt.Errorf("redis: %q is no length", length)
	}
	if n < 0 {
		return "", nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(in, b); err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
