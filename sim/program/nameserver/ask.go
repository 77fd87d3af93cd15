package nameserver

import (
	"context"
	"errors"
	"net"

	"github.com/miekg/dns"
)

// Dial is program.Process.Dial.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Ask puts a question to a server over udp or tcp. A truncated answer is one.
func Ask(ctx context.Context, dial Dial, network, server string, q *dns.Msg) (*dns.Msg, error) {
	c, err := dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	asked := q.Copy()
	asked.Id = dns.Id()
	read, write := framed(c)
	if network == "udp" {
		// The library tells UDP by the connection's type, which a pod's has not.
		read, write = packets(c)
	}
	if err := write(asked); err != nil {
		return nil, err
	}
	for {
		m, err := read()
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		if m.Id == asked.Id {
			m.Id = q.Id
			return m, nil
		}
	}
}

func framed(c net.Conn) (read func() (*dns.Msg, error), write func(*dns.Msg) error) {
	conn := &dns.Conn{Conn: c}
	return conn.ReadMsg, conn.WriteMsg
}

func packets(c net.Conn) (read func() (*dns.Msg, error), write func(*dns.Msg) error) {
	buf := make([]byte, 64<<10)
	read = func() (*dns.Msg, error) {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		return m, m.Unpack(buf[:n])
	}
	write = func(m *dns.Msg) error {
		b, err := m.Pack()
		if err != nil {
			return err
		}
		_, err = c.Write(b)
		return err
	}
	return read, write
}
