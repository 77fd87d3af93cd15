package library

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

var refused = syscall.ECONNREFUSED

// raw serves connections by hand: what a server does that net/http would not.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				c.Read(buf)
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func curlBox(t *testing.T) *box {
	t.Helper()
	b := newBox()
	var flaky atomic.Int32
	b.web(t, "web", "80", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/missing":
			w.WriteHeader(404)
			io.WriteString(w, "gone")
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/there", http.StatusFound)
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case r.URL.Path == "/flaky":
			if flaky.Add(1)%3 != 0 {
				w.WriteHeader(503)
				return
			}
			io.WriteString(w, "at last")
		case r.URL.Path == "/headers":
			fmt.Fprintf(w, "%s %s %s %s", r.Host, r.UserAgent(), r.Header.Get("X-A"), r.Header.Get("Authorization"))
		case r.URL.Path == "/query":
			io.WriteString(w, r.URL.RawQuery)
		default:
			w.Header().Set("X-Test", "yes")
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body)
		}
	})
	b.listen("empty", "80", raw(t, func(net.Conn) {}))
	b.listen("reset", "80", raw(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }))
	b.listen("short", "80", raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") }))
	b.listen("stall", "80", raw(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		io.Copy(io.Discard, c)
	}))
	b.listen("notls", "443", raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }))
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "safe") }))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse are the test's point
	tls.StartTLS()
	t.Cleanup(tls.Close)
	b.listen("example.com", "443", tls.Listener.Addr().String())
	b.names["nobody"] = "10.9.7.1"
	b.listen("silent", "80", "silent")
	return b
}

func TestCurl(t *testing.T) {
	b := curlBox(t)
	for _, c := range []struct {
		args []string
		out  string
		err  string
		code int
	}{
		{[]string{"-s", "web"}, "GET /  ", "", 0},
		{[]string{"-sS", "http://web:80/x?y=1"}, "GET /x  ", "", 0},
		{[]string{"-s", "-d", "a=1", "-d", "b=2", "web"}, "POST / application/x-www-form-urlencoded a=1&b=2", "", 0},
		{[]string{"-s", "-XPUT", "-HContent-Type: text/x", "-d@-", "web"}, "PUT / text/x from stdin", "", 0},
		{[]string{"-s", "--json", `{"a":1}`, "web"}, `POST / application/json {"a":1}`, "", 0},
		{[]string{"-sG", "-d", "a=1", "--data-urlencode", "b=x y", "web/query"}, "a=1&b=x+y", "", 0},
		{[]string{"-s", "-A", "me", "-H", "X-A: b", "-H", "Host: other", "web/headers"}, "other me b ", "", 0},
		{[]string{"-s", "-u", "a:b", "web/headers"}, "web curl/" + CurlVersion + "  Basic YTpi", "", 0},
		{[]string{"-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{num_connects}\\n", "web/missing"}, "404 4 1\n", "", 0},
		{[]string{"-sf", "web/missing"}, "", "", 22},
		{[]string{"-sSf", "web/missing"}, "", "curl: (22) The requested URL returned error: 404\n", 22},
		{[]string{"-sS", "--fail-with-body", "web/missing"}, "gone", "(22)", 22},
		{[]string{"-sI", "web"}, "HTTP/1.1 200 OK\r\n", "", 0},
		{[]string{"-si", "web"}, "HTTP/1.1 200 OK\r\n", "", 0},
		{[]string{"-s", "web/moved", "-w", "%{redirect_url}"}, "<a href=\"/there\">Found</a>.\n\nhttp://web/there", "", 0},
		{[]string{"-sL", "web/moved", "-w", "|%{num_redirects}|%{url_effective}"}, "GET /there  |1|http://web/there", "", 0},
		{[]string{"-sSL", "--max-redirs", "3", "web/loop"}, "", "curl: (47) Maximum (3) redirects followed\n", 47},
		{[]string{"-s", "web/[1-3]"}, "GET /1  GET /2  GET /3  ", "", 0},
		{[]string{"-s", "-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", "web/{a,b}"}, "1 0 ", "", 0},
		{[]string{"-s", "-o", "/saved", "web"}, "", "", 0},
		{[]string{"-sS", "nosuch"}, "", "curl: (6) Could not resolve host: nosuch\n", 6},
		{[]string{"-s", "nosuch"}, "", "", 6},
		{[]string{"nosuch"}, "", "curl: (6) Could not resolve host: nosuch\n", 6},
		{[]string{"-sS", "nobody"}, "", "curl: (7) Failed to connect to nobody port 80 after 0 ms: Could not connect to server\n", 7},
		{[]string{"-sS", "--connect-timeout", "0.05", "silent"}, "", "curl: (28) Connection timed out after ", 28},
		{[]string{"-sS", "-m", "0.05", "silent"}, "", "curl: (28) Connection timed out after ", 28},
		{[]string{"-sS", "-m", "0.05", "web/slow"}, "", "with 0 bytes received\n", 28},
		{[]string{"-sS", "-m", "0.1", "stall"}, "abc", "with 3 out of 10 bytes received\n", 28},
		{[]string{"-sS", "short"}, "abc", "curl: (18) end of response with 7 bytes missing\n", 18},
		{[]string{"-sS", "empty"}, "", "curl: (52) Empty reply from server\n", 52},
		{[]string{"-sS", "reset"}, "", "curl: (56) Recv failure: Connection reset by peer\n", 56},
		{[]string{"-sS", "https://example.com"}, "", "curl: (60) SSL certificate problem: unable to get local issuer certificate\n", 60},
		{[]string{"-sSk", "https://example.com"}, "safe", "", 0},
		{[]string{"-sSk", "https://notls"}, "", "curl: (35) ", 35},
		{[]string{"-sS", "--resolve", "made.up:80:10.9.9.1", "made.up"}, "GET /  ", "", 0},
		{[]string{"-s", "--retry", "3", "--retry-delay", "0.001", "web/flaky"}, "at last", "", 0},
		{[]string{"-sS", "ftp://web"}, "", "curl: (1) Protocol \"ftp\" not supported\n", 1},
		{[]string{"-sS", "http://"}, "", "curl: (3) URL rejected: No host part in the URL\n", 3},
		{[]string{"-sS", "http://web:99999/"}, "", "curl: (3) URL rejected: Port number", 3},
		{[]string{"-sS", "web/[1-999999]"}, "", "curl: (3) bad range", 3},
		{[]string{"--nosuch", "web"}, "", "curl: option --nosuch: is unknown\n", 2},
		{[]string{"-m"}, "", "curl: option -m: requires parameter\n", 2},
		{[]string{"-m", "soon", "web"}, "", "expected a proper numerical parameter", 2},
		{[]string{}, "", "curl: (no URL specified)\n", 2},
		{[]string{"--version"}, "curl " + CurlVersion, "", 0},
		{[]string{"-sv", "web"}, "GET /  ", "< X-Test: yes\r\n", 0},
		{[]string{"web"}, "GET /  ", "% Total", 0},
	} {
		out, errw, code := b.run(t, "curlimages/curl", "from stdin", append([]string{"curl"}, c.args...)...)
		prefixed := strings.HasPrefix(c.out, "HTTP/1.1") || strings.HasPrefix(c.out, "curl ")
		if code != c.code || out != c.out && !(prefixed && strings.HasPrefix(out, c.out)) || !strings.Contains(errw, c.err) || c.err == "" && errw != "" {
			t.Errorf("curl %s\n got %q, %q, exit %d\nwant %q, %q, exit %d", strings.Join(c.args, " "), out, errw, code, c.out, c.err, c.code)
		}
	}
	if f := b.files.MapFS["saved"]; f == nil || string(f.Data) != "GET /  " {
		t.Errorf("-o wrote %+v", f)
	}
}

func TestCurlTimes(t *testing.T) {
	b := curlBox(t)
	out, _, _ := b.run(t, "curlimages/curl", "", "curl", "-s", "-o", "/dev/null", "-w", "%{time_namelookup} %{time_connect} %{time_starttransfer} %{time_total}", "web")
	var lookup, connect, first, total float64
	if _, err := fmt.Sscan(out, &lookup, &connect, &first, &total); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if lookup > connect || connect > first || first > total || total <= 0 {
		t.Errorf("times are not in order: %s", out)
	}
}

func TestWget(t *testing.T) {
	b := curlBox(t)
	for _, c := range []struct {
		args []string
		out  string
		err  string
		code int
	}{
		{[]string{"-qO-", "http://web/x"}, "GET /x  ", "", 0},
		{[]string{"-q", "-O", "-", "web"}, "GET /  ", "", 0},
		{[]string{"-q", "--spider", "web"}, "", "", 0},
		{[]string{"-qO-", "web/missing"}, "", "server returned error: HTTP/1.1 404 Not Found", 1},
		{[]string{"-qO-", "--post-data=a=1", "web"}, "POST / application/x-www-form-urlencoded a=1", "", 0},
		{[]string{"-qO-", "nobody"}, "", "Connection refused", 1},
		{[]string{"-q", "-T", "1", "-O-", "silent"}, "", "download timed out", 1},
		{[]string{"-q"}, "", "usage", 1},
	} {
		out, errw, code := b.run(t, "busybox", "", append([]string{"wget"}, c.args...)...)
		if out != c.out || code != c.code || !strings.Contains(errw, c.err) {
			t.Errorf("wget %s: %q, %q, exit %d; want %q, %q, exit %d", strings.Join(c.args, " "), out, errw, code, c.out, c.err, c.code)
		}
	}
}

func TestExpandWriteOut(t *testing.T) {
	vars := map[string]string{"a": "1"}
	for in, want := range map[string]string{
		`%{a}`: "1", `%{no}x`: "x", `%%{a}`: "%{a}", `\n\t\r`: "\n\t\r", `\x`: `\x`, `%{a`: `%{a`, `%`: `%`, `a\`: `a\`,
	} {
		if got := expandWriteOut(in, vars); got != want {
			t.Errorf("expandWriteOut(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGlobURL(t *testing.T) {
	for in, want := range map[string]string{
		"h/": "h/", "h/[1-3]": "h/1 h/2 h/3", "h/[08-10]": "h/08 h/09 h/10", "h/[0-4:2]": "h/0 h/2 h/4",
		"h/{a,b}[1-2]": "h/a1 h/a2 h/b1 h/b2", "http://[::1]:80/[1-2]": "http://[::1]:80/1 http://[::1]:80/2",
		"h/[3-1]": "error", "h/[a-z]": "error", "h/{a": "error", "h/[1-200]/[1-200]": "error",
	} {
		got, err := globURL(in)
		text := strings.Join(got, " ")
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("globURL(%q) = %s, want %s", in, text, want)
		}
	}
}
