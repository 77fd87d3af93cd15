package tun_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/atoll-dev/atoll/sim/tun"
	"github.com/atoll-dev/atoll/sim/wan"
)

// task is what a child process does: this test binary again, in a namespace.
type task struct {
	Namespace string
	// Router: run a router until stdin ends.
	Router *routerTask `json:",omitempty"`
	// Listen: receive on this address until stdin ends, and tell how much.
	Listen string `json:",omitempty"`
	// Dial: send there over so many streams for so long.
	Dial    string `json:",omitempty"`
	Streams int
	For     time.Duration
}

type routerTask struct {
	Attachments []wan.Attachment
	Policy      wan.Policy
}

const childVariable = "ATOLL_TUN_CHILD"

func TestMain(m *testing.M) {
	description := os.Getenv(childVariable)
	if description == "" {
		os.Exit(m.Run())
	}
	var t task
	err := json.Unmarshal([]byte(description), &t)
	if err == nil {
		err = t.run()
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func (t task) run() error {
	runtime.LockOSThread()
	if t.Namespace != "" {
		ns, err := netns.GetFromPath(t.Namespace)
		if err != nil {
			return err
		}
		if err := netns.Set(ns); err != nil {
			return err
		}
	}
	switch {
	case t.Router != nil:
		return t.route()
	case t.Listen != "":
		return t.receive()
	}
	return t.send()
}

func (t task) route() error {
	engine, err := wan.New(t.Router.Policy, 1)
	if err != nil {
		return err
	}
	r, err := tun.Open(tun.Config{Engine: engine, Attachments: t.Router.Attachments})
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println("ready")
	return r.Run(ctx)
}

func (t task) receive() error {
	ln, err := net.Listen("tcp", t.Listen)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	var total atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 256<<10)
				for {
					n, err := c.Read(b)
					total.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(total.Load())
	}
	return nil
}

func (t task) send() error {
	var wg sync.WaitGroup
	conns := make([]net.Conn, t.Streams)
	for i := range conns {
		c, err := net.Dial("tcp", t.Dial)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	end := time.Now().Add(t.For)
	for _, c := range conns {
		_ = c.SetDeadline(end)
		wg.Go(func() {
			b := make([]byte, 256<<10)
			for {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// child is a running task.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// begin starts a task; it is killed with the test at the latest.
func begin(tb testing.TB, t task) *child {
	tb.Helper()
	description, err := json.Marshal(t)
	if err != nil {
		tb.Fatal(err)
	}
	c := &child{cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(description))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = c.in.Close()
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	return c
}

// line reads what the child says next.
func (c *child) line(tb testing.TB) string {
	tb.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil || strings.HasPrefix(s, "error:") {
		tb.Fatalf("child: %s %v", s, err)
	}
	return strings.TrimSpace(s)
}
