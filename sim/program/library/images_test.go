package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// files is a Process.Files that can be written to.
type files struct {
	mu sync.Mutex
	fstest.MapFS
}

func (f *files) WriteFile(name string, data []byte, appending bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.MapFS[name]; appending && old != nil {
		data = append(append([]byte(nil), old.Data...), data...)
	}
	f.MapFS[name] = &fstest.MapFile{Data: bytes.Clone(data), Mode: 0o644}
	return nil
}
func (f *files) Remove(name string) error { delete(f.MapFS, name); return nil }
func (f *files) Mkdir(name string) error {
	f.MapFS[name] = &fstest.MapFile{Mode: os.ModeDir | 0o755}
	return nil
}

// box is a container whose network is this machine's loopback: each name leads
// to a listener of the test.
type box struct {
	names map[string]string // host name → "127.0.0.1"; anything else is unknown
	ports map[string]string // host:port as dialled → where the test listens
	files *files
	env   []string
}

func newBox() *box {
	return &box{names: map[string]string{}, ports: map[string]string{}, files: &files{MapFS: fstest.MapFS{
		"etc/hostname":    {Data: []byte("box\n")},
		"etc/resolv.conf": {Data: []byte("nameserver 10.96.0.10\n")},
		"data/lines":      {Data: []byte("one\ntwo\nthree\n")},
		"bin/curl":        {}, "bin/cat": {},
	}}, env: []string{"PATH=/bin", "HOSTNAME=box", "GREETING=hello world"}}
}

func (b *box) process(args []string, in io.Reader, out, errw io.Writer) *program.Process {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := b.ports[address]
		if !ok {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", refused)}
		}
		if to == "silent" {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	return &program.Process{
		Args: args, Env: b.env, Files: b.files, Stdin: in, Stdout: out, Stderr: errw, Dial: dial, DialDirect: dial,
		Listen: func(ctx context.Context, network, _ string) (net.Listener, error) {
			return net.Listen(network, "127.0.0.1:0")
		},
		LookupHost: func(_ context.Context, name string) ([]netip.Addr, error) {
			if a, err := netip.ParseAddr(name); err == nil {
				return []netip.Addr{a}, nil
			}
			a, ok := b.names[name]
			if !ok {
				return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		},
	}
}

// run runs a command of an image as a container runtime does.
func (b *box) run(t *testing.T, image string, in string, args ...string) (out, errw string, code int) {
	t.Helper()
	img, _, err := Images().Find(image)
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := img.Lookup(args[0])
	if !ok {
		return "", "", 127
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var o, e bytes.Buffer
	err = prog(ctx, b.process(args, strings.NewReader(in), &o, &e))
	var ee *program.ExitError
	if errors.As(err, &ee) {
		code = ee.Code
		if ee.Msg != "" {
			e.WriteString(ee.Msg + "\n")
		}
	} else if err != nil {
		code = 1
		e.WriteString(err.Error())
	}
	return o.String(), e.String(), code
}

// web makes name:port lead to a server.
func (b *box) web(t *testing.T, name, port string, h http.HandlerFunc) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	b.listen(name, port, srv.Listener.Addr().String())
}

func (b *box) listen(name, port, at string) {
	addr := fmt.Sprintf("10.9.9.%d", len(b.names)+1)
	b.names[name] = addr
	b.ports[addr+":"+port], b.ports[name+":"+port] = at, at
}

func TestShell(t *testing.T) {
	for _, c := range []struct {
		script, out, err string
		code             int
	}{
		{`echo hi`, "hi\n", "", 0},
		{`echo "$GREETING" && echo $HOSTNAME`, "hello world\nbox\n", "", 0},
		{`for i in $(seq 1 3); do echo $i; done | tail -n 1`, "3\n", "", 0},
		{`cat /data/lines | grep -c o`, "2\n", "", 0},
		{`i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i`, "3\n", "", 0},
		{`echo a > /tmp/x; echo b >> /tmp/x; cat < /tmp/x; wc -l /tmp/x`, "a\nb\n2 /tmp/x\n", "", 0},
		{`[ -f /data/lines ] && echo yes; [ -d /data ] && echo dir; test -e /nosuch || echo no`, "yes\ndir\nno\n", "", 0},
		{`exit 7`, "", "", 7},
		{`false`, "", "", 1},
		{`nosuch`, "", "sh: nosuch: not found\n", 127},
		{`nosuch; echo $?`, "127\n", "sh: nosuch: not found\n", 0},
		{`command -v curl; command -v nosuch`, "/bin/curl\n", "", 1},
		{`X=1 env | grep ^X=; Y=2; env | grep ^Y= || echo local`, "X=1\nlocal\n", "", 0},
		{`f() { echo "f $1"; }; f x`, "f x\n", "", 0},
		{`printf '%s-%s\n' a b | tr a-z A-Z | cut -d- -f2`, "B\n", "", 0},
		{`(echo b; echo a; echo b) | sort | uniq -c`, "      1 a\n      2 b\n", "", 0},
		{`sleep 0.01; hostname`, "box\n", "", 0},
		{`echo err >&2; cat 2>/dev/null /nosuch || echo failed`, "failed\n", "err\n", 0},
		{`if then`, "", "sh: syntax error", 2},
		{`cat <(echo x)`, "", "process substitution", 2},
		{`trap 'echo bye' EXIT; echo hi`, "hi\nbye\n", "", 0},
	} {
		b := newBox()
		out, errw, code := b.run(t, "curlimages/curl", "", "sh", "-c", c.script)
		if out != c.out || !strings.Contains(errw, c.err) || code != c.code {
			t.Errorf("%s\n got %q, %q, exit %d\nwant %q, %q, exit %d", c.script, out, errw, code, c.out, c.err, c.code)
		}
	}
}

func TestShellForms(t *testing.T) {
	b := newBox()
	b.files.MapFS["run.sh"] = &fstest.MapFile{Data: []byte("echo file $1 $#\n")}
	for _, c := range []struct {
		args []string
		in   string
		out  string
		code int
	}{
		{[]string{"sh"}, "echo from stdin\nexit 3\n", "from stdin\n", 3},
		{[]string{"sh", "/run.sh", "a", "b"}, "", "file a 2\n", 0},
		{[]string{"sh", "/nosuch.sh"}, "", "", 2},
		{[]string{"sh", "-c"}, "", "", 2},
		{[]string{"sh", "-c", "echo $1", "name", "arg"}, "", "arg\n", 0},
		{[]string{"sh", "-ec", "false; echo no"}, "", "", 1},
		{[]string{"sh", "-e", "-c", "false; echo no"}, "", "", 1},
		{[]string{"sh", "-lc", "echo login"}, "", "login\n", 0},
		{[]string{"/bin/sh", "-c", "cat"}, "piped", "piped", 0},
	} {
		if out, errw, code := b.run(t, "busybox", c.in, c.args...); out != c.out || code != c.code {
			t.Errorf("%q: %q, exit %d (%s); want %q, exit %d", c.args, out, code, errw, c.out, c.code)
		}
	}
}

// TestShellStaysInside tries what would reach the machine.
func TestShellStaysInside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of the machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{
		"cat " + secret, "cat < " + secret, "echo x > " + secret, ". " + secret, "source " + secret,
		secret, "exec " + secret, "[ -e " + secret + " ] && echo found", "echo " + dir + "/*", "cd " + dir + " && echo moved",
		"exec /bin/ls /", "/usr/bin/id -u nobody", "command /usr/bin/env", "eval cat " + secret, "mkdir " + dir + "/made",
		"rm -rf " + dir, "touch " + dir + "/touched", "read x < " + secret + "; echo $x", "curl -s -o " + secret + " file://" + secret,
	} {
		b := newBox()
		out, _, _ := b.run(t, "curlimages/curl", "", "sh", "-c", script)
		for _, leak := range []string{"of the machine", "found", "moved", dir + "/secret"} {
			if strings.Contains(out, leak) {
				t.Errorf("%s: printed %q", script, out)
			}
		}
	}
	entries, _ := os.ReadDir(dir)
	data, _ := os.ReadFile(secret)
	if string(data) != "of the machine" || len(entries) != 1 {
		t.Errorf("the machine's folder was changed: %v, %q", entries, data)
	}
}

func TestSmallCommands(t *testing.T) {
	for _, c := range []struct {
		args []string
		in   string
		out  string
		code int
	}{
		{[]string{"echo", "-n", "a", "b"}, "", "a b", 0},
		{[]string{"cat", "/data/lines"}, "", "one\ntwo\nthree\n", 0},
		{[]string{"cat", "/nosuch"}, "", "", 1},
		{[]string{"head", "-n2"}, "1\n2\n3\n", "1\n2\n", 0},
		{[]string{"head", "-n", "x"}, "", "", 1},
		{[]string{"tail", "-1"}, "1\n2\n", "2\n", 0},
		{[]string{"grep", "-o", "[0-9]+"}, "a1b22\n", "1\n22\n", 0},
		{[]string{"grep", "-qi", "ONE", "/data/lines"}, "", "", 0},
		{[]string{"grep", "-v", "o", "/data/lines"}, "", "three\n", 0},
		{[]string{"grep", "-F", "a.b"}, "axb\na.b\n", "a.b\n", 0},
		{[]string{"grep", "zzz"}, "a\n", "", 1},
		{[]string{"grep", "("}, "a\n", "", 2},
		{[]string{"grep", "-e", "t", "/data/lines"}, "", "two\nthree\n", 0},
		{[]string{"wc", "-l"}, "a\nb\n", "2\n", 0},
		{[]string{"sort", "-rn"}, "1\n10\n9\n", "10\n9\n1\n", 0},
		{[]string{"sort", "-u"}, "b\na\nb\n", "a\nb\n", 0},
		{[]string{"cut", "-d:", "-f1,3"}, "a:b:c\n", "a:c\n", 0},
		{[]string{"cut", "-d", ":", "-f", "2-"}, "a:b:c\n", "b:c\n", 0},
		{[]string{"cut", "-f", "x"}, "a\n", "", 1},
		{[]string{"tr", "-d", "\\n"}, "a\nb\n", "ab", 0},
		{[]string{"seq", "3", "-1", "1"}, "", "3\n2\n1\n", 0},
		{[]string{"seq", "1", "0", "3"}, "", "", 1},
		{[]string{"basename", "/a/b.txt", ".txt"}, "", "b\n", 0},
		{[]string{"dirname", "/a/b"}, "", "/a\n", 0},
		{[]string{"printenv", "HOSTNAME"}, "", "box\n", 0},
		{[]string{"printenv", "NOSUCH"}, "", "", 1},
		{[]string{"sleep", "x"}, "", "", 1},
		{[]string{"sleep", "0"}, "", "", 0},
		{[]string{"tee", "/out"}, "x", "x", 0},
		{[]string{"nosuch"}, "", "", 127},
		{[]string{"true"}, "", "", 0},
		{[]string{"false"}, "", "", 1},
		{[]string{"awk", "{print $1}"}, "a b c\n\n d e\n", "a\n\nd\n", 0},
		{[]string{"awk", "-F:", "{print $NF, $1}"}, "a:b:c\n", "c a\n", 0},
		{[]string{"awk", "-F", ",", "{ print $0 }"}, "a,b\n", "a,b\n", 0},
		{[]string{"awk", "BEGIN {exit}"}, "", "", 2},
	} {
		if out, errw, code := newBox().run(t, "busybox", c.in, c.args...); out != c.out || code != c.code {
			t.Errorf("%q: %q, exit %d (%s); want %q, exit %d", c.args, out, code, errw, c.out, c.code)
		}
	}
}

func TestNetcat(t *testing.T) {
	b := newBox()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	b.listen("echo", "7", l.Addr().String())
	if out, _, code := b.run(t, "busybox", "ping", "nc", "echo", "7"); out != "ping" || code != 0 {
		t.Errorf("nc: %q, exit %d", out, code)
	}
	if _, _, code := b.run(t, "busybox", "", "nc", "-z", "echo", "7"); code != 0 {
		t.Errorf("nc -z of an open port: exit %d", code)
	}
	if _, errw, code := b.run(t, "busybox", "", "nc", "-z", "echo", "8"); code != 1 || !strings.Contains(errw, "Connection refused") {
		t.Errorf("nc -z of a closed port: exit %d, %q", code, errw)
	}
}

func TestEntrypoint(t *testing.T) {
	b := newBox()
	b.web(t, "web", "80", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
	for _, c := range []struct {
		args []string
		out  string
	}{
		{[]string{"/entrypoint.sh", "curl", "-s", "web"}, "page"},
		{[]string{"/entrypoint.sh", "-s", "web"}, "page"},
		{[]string{"/entrypoint.sh", "-s", "http://web"}, "page"},
		{[]string{"/entrypoint.sh", "echo", "x"}, "x\n"},
	} {
		if out, errw, code := b.run(t, "curlimages/curl", "", c.args...); out != c.out || code != 0 {
			t.Errorf("%q: %q, exit %d (%s)", c.args, out, code, errw)
		}
	}
}

func TestImagesStart(t *testing.T) {
	for name, img := range Images() {
		command := append(append([]string(nil), img.Entrypoint...), img.Cmd...)
		if len(command) == 0 {
			t.Errorf("%s has no command of its own", name)
			continue
		}
		if _, ok := img.Lookup(command[0]); !ok {
			t.Errorf("%s: its command %q is not in it", name, command[0])
		}
	}
}
