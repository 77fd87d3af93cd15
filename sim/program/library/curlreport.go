package library

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// showAnswer is -v's view of a request and its answer.
func (c *curl) showAnswer(req *http.Request, resp *http.Response) {
	if !c.o.verbose {
		return
	}
	w := c.p.Stderr
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	fmt.Fprintf(w, "> %s %s HTTP/1.1\r\n> Host: %s\r\n", req.Method, req.URL.RequestURI(), host)
	for _, h := range headerLines(req.Header) {
		fmt.Fprintf(w, "> %s\r\n", h)
	}
	fmt.Fprint(w, "> \r\n* Request completely sent off\n")
	fmt.Fprintf(w, "< %s %s\r\n", resp.Proto, resp.Status)
	for _, h := range headerLines(responseHeader(resp)) {
		fmt.Fprintf(w, "< %s\r\n", h)
	}
	fmt.Fprint(w, "< \r\n")
}

func headerLines(h http.Header) []string {
	var out []string
	for name, vs := range h {
		for _, v := range vs {
			out = append(out, name+": "+v)
		}
	}
	sort.Strings(out)
	return out
}

// responseHeader puts back what net/http keeps elsewhere.
func responseHeader(resp *http.Response) http.Header {
	h := resp.Header.Clone()
	if len(resp.TransferEncoding) > 0 {
		h.Set("Transfer-Encoding", strings.Join(resp.TransferEncoding, ", "))
	}
	return h
}

// meter is the progress meter, which curl shows unless silent or at a
// terminal; here its last line alone.
func (c *curl) meter(t *transfer, size int64) {
	if c.o.silent || c.o.noMeter || c.p.TTY {
		return
	}
	if size < 0 {
		size = t.down
	}
	took := time.Since(t.start)
	rate := int64(float64(t.down) / max(took.Seconds(), 1e-6))
	fmt.Fprintf(c.p.Stderr, "  %% Total    %% Received %% Xferd  Average Speed   Time    Time     Time  Current\n"+
		"                                 Dload  Upload   Total   Spent    Left  Speed\n"+
		"100 %5d  100 %5d    0     0  %5d      0 --:--:-- --:--:-- --:--:-- %5d\n", size, t.down, rate, rate)
}

// writeOut prints the variables of -w.
func (c *curl) writeOut(t *transfer, err error) {
	if c.o.writeOut == "" {
		return
	}
	code := 0
	var ce *curlError
	if errors.As(err, &ce) {
		code = ce.code
	}
	secs := func(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
	hostPort := func(s string, host bool) string {
		h, p, _ := net.SplitHostPort(s)
		if host {
			return h
		}
		return p
	}
	version, kind, scheme := "0", "", ""
	if t.resp != nil {
		version, kind = fmt.Sprintf("%d.%d", t.resp.ProtoMajor, t.resp.ProtoMinor), t.resp.Header.Get("Content-Type")
		version = strings.TrimSuffix(version, ".0")
		scheme = t.resp.Request.URL.Scheme
	}
	effective := t.url
	if u, err := curlURL(t.url); err == nil {
		effective = u.String()
	}
	vars := map[string]string{
		"http_code": fmt.Sprintf("%03d", t.code), "response_code": fmt.Sprintf("%03d", t.code), "http_connect": "000",
		"time_total": secs(t.total), "time_namelookup": secs(t.lookup), "time_connect": secs(t.connect),
		"time_appconnect": secs(t.app), "time_pretransfer": secs(t.pre), "time_starttransfer": secs(t.first), "time_redirect": "0.000000",
		"size_download": strconv.FormatInt(t.down, 10), "size_upload": strconv.FormatInt(t.up, 10), "size_header": strconv.Itoa(t.headerBytes),
		"speed_download": strconv.FormatInt(int64(float64(t.down)/max(t.total.Seconds(), 1e-6)), 10),
		"num_connects":   strconv.Itoa(t.connects), "num_redirects": strconv.Itoa(t.redirects), "redirect_url": t.redirectURL,
		"remote_ip": hostPort(t.remote, true), "remote_port": hostPort(t.remote, false),
		"local_ip": hostPort(t.local, true), "local_port": hostPort(t.local, false),
		"url": t.url, "url_effective": effective, "method": t.method, "content_type": kind, "http_version": version,
		"scheme": scheme, "exitcode": strconv.Itoa(code), "errormsg": t.failure, "onerror": "",
	}
	io.WriteString(c.p.Stdout, expandWriteOut(c.o.writeOut, vars))
}

func expandWriteOut(f string, vars map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		switch {
		case strings.HasPrefix(f[i:], "%{"):
			end := strings.IndexByte(f[i:], '}')
			if end < 0 {
				b.WriteString(f[i:])
				return b.String()
			}
			if v, ok := vars[f[i+2:i+end]]; ok {
				b.WriteString(v)
			}
			i += end
		case strings.HasPrefix(f[i:], "%%"):
			b.WriteByte('%')
			i++
		case f[i] == '\\' && i+1 < len(f):
			i++
			switch f[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte('\\')
				b.WriteByte(f[i])
			}
		default:
			b.WriteByte(f[i])
		}
	}
	return b.String()
}
