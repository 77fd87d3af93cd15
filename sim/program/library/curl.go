package library

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// Curl stands for curl, for HTTP and HTTPS: its options, exit codes and
// messages. URLs of one call share connections, as with curl.
func Curl(ctx context.Context, p *program.Process) error {
	o, err := parseCurl(p)
	if err == nil && len(o.urls) == 0 {
		err = curlFail(2, "(no URL specified)")
	}
	var ce *curlError
	if errors.As(err, &ce) {
		if ce.code < 0 {
			fmt.Fprintf(p.Stdout, "curl %s (atoll)\nProtocols: http https\n", CurlVersion)
			return nil
		}
		return exit(ce.code, "curl: %s\ncurl: try 'curl --help' or 'curl --manual' for more information", ce.msg)
	}
	c := &curl{p: p, o: o}
	c.transport = &http.Transport{
		DialContext: c.dial, DisableCompression: true,
		ResponseHeaderTimeout: 0, MaxIdleConnsPerHost: 1,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1 only
	}
	defer c.transport.CloseIdleConnections()
	if c.transport.TLSClientConfig, err = c.tlsConfig(); err != nil {
		return c.end(err)
	}
	var last error
	n := 0
	for _, given := range o.urls {
		targets := []string{given}
		if !o.globoff {
			if targets, err = globURL(given); err != nil {
				last = c.end(err)
				continue
			}
		}
		for _, t := range targets {
			output := ""
			if n < len(o.outputs) {
				output = o.outputs[n]
			}
			n++
			last = c.end(c.fetch(ctx, t, output))
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return last
}

type curl struct {
	p         *program.Process
	o         *curlOptions
	transport *http.Transport
	now       *transfer // under way; curl does one after the other
}

// transfer is one URL's download, for the variables of -w.
type transfer struct {
	url                  string
	start                time.Time
	lookup, connect, app time.Duration
	pre, first, total    time.Duration
	connects             int
	remote, local        string
	redirects            int
	redirectURL          string
	method               string
	resp                 *http.Response
	down, up             int64
	headerBytes          int
	code                 int
	failure              string
}

// end turns a failure into curl's message and exit code.
func (c *curl) end(err error) error {
	if err == nil {
		return nil
	}
	var ce *curlError
	if !errors.As(err, &ce) {
		return err
	}
	if !c.o.silent || c.o.showError {
		return exit(ce.code, "curl: (%d) %s", ce.code, ce.msg)
	}
	return &program.ExitError{Code: ce.code}
}

func (c *curl) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{InsecureSkipVerify: c.o.insecure, RootCAs: x509.NewCertPool()}
	if c.o.cacert != "" {
		pem, err := fs.ReadFile(c.p.Files, clean(c.o.cacert))
		if err != nil || !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, curlFail(77, "error setting certificate verify locations:  CAfile: %s", c.o.cacert)
		}
	}
	if c.o.cert != "" {
		crt, err := fs.ReadFile(c.p.Files, clean(c.o.cert))
		key := crt
		if err == nil && c.o.key != "" {
			key, err = fs.ReadFile(c.p.Files, clean(c.o.key))
		}
		if err != nil {
			return nil, curlFail(58, "could not load PEM client certificate from %s", c.o.cert)
		}
		pair, err := tls.X509KeyPair(crt, key)
		if err != nil {
			return nil, curlFail(58, "could not load PEM client certificate from %s: %v", c.o.cert, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// dial resolves and connects, and notes when each was done.
func (c *curl) dial(ctx context.Context, network, address string) (net.Conn, error) {
	t := c.now
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if c.o.connectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.o.connectTimeout, errConnectTimeout)
		defer cancel()
	}
	var targets []string
	if fixed, ok := c.o.resolve[net.JoinHostPort(strings.ToLower(host), port)]; ok {
		targets = strings.Split(fixed, ",")
	} else {
		addrs, err := c.p.LookupHost(ctx, host)
		if err != nil {
			if c.timedOut(ctx) {
				return nil, curlFail(28, "Resolving timed out after %d milliseconds", time.Since(t.start).Milliseconds())
			}
			return nil, curlFail(6, "Could not resolve host: %s", host)
		}
		for _, a := range addrs {
			targets = append(targets, a.String())
		}
	}
	t.lookup = time.Since(t.start)
	var failure error
	for _, a := range targets {
		c.note("  Trying %s...", net.JoinHostPort(a, port))
		conn, err := c.p.Dial(ctx, network, net.JoinHostPort(a, port))
		if err == nil {
			t.connect = time.Since(t.start)
			t.connects++
			c.note("Connected to %s (%s) port %s", host, a, port)
			return conn, nil
		}
		failure = err
	}
	took := time.Since(t.start).Milliseconds()
	switch {
	case c.timedOut(ctx):
		return nil, curlFail(28, "Connection timed out after %d milliseconds", took)
	case errors.Is(failure, syscall.ETIMEDOUT):
		return nil, curlFail(28, "Failed to connect to %s port %s after %d ms: Connection timed out", host, port, took)
	}
	return nil, curlFail(7, "Failed to connect to %s port %s after %d ms: Could not connect to server", host, port, took)
}

var errConnectTimeout = errors.New("connect timeout")

func (c *curl) timedOut(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), errConnectTimeout) || errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// note is a line of -v.
func (c *curl) note(format string, args ...any) {
	if c.o.verbose {
		fmt.Fprintf(c.p.Stderr, "* "+format+"\n", args...)
	}
}

// fetch gets one URL, with retries.
func (c *curl) fetch(ctx context.Context, target, output string) error {
	begin := time.Now()
	delay := time.Second
	if c.o.retryDelay > 0 {
		delay = c.o.retryDelay
	}
	for try := 0; ; try++ {
		t := &transfer{url: target, start: time.Now()}
		c.now = t
		err := c.once(ctx, t, output)
		t.total = time.Since(t.start)
		if try < c.o.retries && c.transient(err, t) && (c.o.retryMaxTime == 0 || time.Since(begin)+delay < c.o.retryMaxTime) && ctx.Err() == nil {
			if !c.o.silent {
				fmt.Fprintf(c.p.Stderr, "Warning: Problem: %s. Will retry in %d second%s. %d retr%s left.\n", problem(err, t), int(delay.Seconds()), plural(delay), c.o.retries-try, map[bool]string{true: "y", false: "ies"}[c.o.retries-try == 1])
			}
			if err := pause(ctx, delay); err != nil {
				return err
			}
			if c.o.retryDelay == 0 {
				delay = min(delay*2, 10*time.Minute)
			}
			continue
		}
		var ce *curlError
		if errors.As(err, &ce) {
			t.failure = ce.msg
		}
		c.writeOut(t, err)
		return err
	}
}

func plural(d time.Duration) string {
	if d == time.Second {
		return ""
	}
	return "s"
}

func problem(err error, t *transfer) string {
	var ce *curlError
	if errors.As(err, &ce) && ce.code != 22 {
		return map[int]string{28: "timeout", 7: "connection refused"}[ce.code]
	}
	return fmt.Sprintf("HTTP error %d", t.code)
}

func (c *curl) transient(err error, t *transfer) bool {
	var ce *curlError
	if errors.As(err, &ce) && ce.code != 22 {
		return ce.code == 28 || ce.code == 7 && (c.o.retryRefused || c.o.retryAll) || c.o.retryAll
	}
	switch t.code {
	case 408, 429, 500, 502, 503, 504, 522, 524:
		return true
	}
	return err != nil && c.o.retryAll
}

// once makes one attempt.
func (c *curl) once(ctx context.Context, t *transfer, output string) error {
	req, err := c.o.request(t.url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.o.maxTime > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.o.maxTime)
		defer cancel()
	}
	t.up = max(req.ContentLength, 0)
	for {
		t.method = req.Method
		resp, err := c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, c.trace(t))))
		if err != nil {
			return c.failed(ctx, t, req, err)
		}
		t.resp, t.code = resp, resp.StatusCode
		c.showAnswer(req, resp)
		next, err := c.redirect(t, req, resp)
		if err != nil {
			resp.Body.Close()
			return err
		}
		if next == nil {
			return c.receive(ctx, t, resp, output)
		}
		c.headers(t, resp)
		io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		req = next
	}
}

func (c *curl) trace(t *transfer) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			t.pre = time.Since(t.start)
			t.remote, t.local = i.Conn.RemoteAddr().String(), i.Conn.LocalAddr().String()
			if i.Reused {
				c.note("Re-using existing connection with host %s", t.remote)
			}
		},
		TLSHandshakeDone:     func(tls.ConnectionState, error) { t.app = time.Since(t.start) },
		GotFirstResponseByte: func() { t.first = time.Since(t.start) },
	}
}

// redirect follows a Location with -L, and notes where it leads without.
func (c *curl) redirect(t *transfer, req *http.Request, resp *http.Response) (*http.Request, error) {
	where := resp.Header.Get("Location")
	if where == "" || resp.StatusCode < 300 || resp.StatusCode > 399 {
		return nil, nil
	}
	u, err := req.URL.Parse(where)
	if err != nil {
		return nil, curlFail(3, "URL rejected: Malformed input to a URL function")
	}
	if !c.o.location {
		t.redirectURL = u.String()
		return nil, nil
	}
	if c.o.maxRedirects >= 0 && t.redirects >= c.o.maxRedirects {
		return nil, curlFail(47, "Maximum (%d) redirects followed", c.o.maxRedirects)
	}
	if _, err := curlURL(u.String()); err != nil {
		return nil, err
	}
	t.redirects++
	next := req.Clone(req.Context())
	next.URL, next.Host = u, ""
	if req.URL.Host != u.Host {
		next.Header.Del("Authorization")
		next.Header.Del("Cookie")
	}
	keep := resp.StatusCode == 307 || resp.StatusCode == 308 || c.o.method != ""
	if !keep && req.Method == http.MethodPost {
		next.Method, next.Body, next.GetBody, next.ContentLength = http.MethodGet, nil, nil, 0
		next.Header.Del("Content-Type")
	} else if req.GetBody != nil {
		next.Body, _ = req.GetBody()
	}
	t.url = u.String()
	return next, nil
}

// failed words what went wrong before an answer came.
func (c *curl) failed(ctx context.Context, t *transfer, req *http.Request, err error) error {
	var ce *curlError
	if errors.As(err, &ce) {
		return ce
	}
	host, port := req.URL.Hostname(), req.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[req.URL.Scheme]
	}
	took := time.Since(t.start).Milliseconds()
	var (
		unknown  x509.UnknownAuthorityError
		badName  x509.HostnameError
		invalid  x509.CertificateInvalidError
		badTLS   tls.RecordHeaderError
		alert    tls.AlertError
		notTLS   *tls.CertificateVerificationError
		deadline = errors.Is(ctx.Err(), context.DeadlineExceeded)
	)
	switch {
	case deadline && t.connects == 0 && t.pre == 0:
		return curlFail(28, "Connection timed out after %d milliseconds", took)
	case deadline:
		return curlFail(28, "Operation timed out after %d milliseconds with 0 bytes received", took)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &unknown):
		return curlFail(60, "SSL certificate problem: unable to get local issuer certificate")
	case errors.As(err, &badName):
		return curlFail(60, "SSL: no alternative certificate subject name matches target host name '%s'", host)
	case errors.As(err, &invalid), errors.As(err, &notTLS):
		return curlFail(60, "SSL certificate problem: %v", err)
	case errors.As(err, &badTLS):
		return curlFail(35, "TLS connect error: error:0A0000C6:SSL routines::packet length too long")
	case errors.As(err, &alert):
		return curlFail(35, "TLS connect error: %v", alert)
	case errors.Is(err, syscall.ECONNREFUSED):
		return curlFail(7, "Failed to connect to %s port %s after %d ms: Could not connect to server", host, port, took)
	case errors.Is(err, syscall.ECONNRESET):
		if req.URL.Scheme == "https" && t.app == 0 {
			return curlFail(35, "Recv failure: Connection reset by peer")
		}
		return curlFail(56, "Recv failure: Connection reset by peer")
	case errors.Is(err, syscall.EPIPE):
		return curlFail(55, "Send failure: Broken pipe")
	case errors.Is(err, io.EOF) || strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "server closed idle connection"):
		if req.URL.Scheme == "https" && t.app == 0 {
			return curlFail(35, "TLS connect error: error:00000000:lib(0)::reason(0)")
		}
		return curlFail(52, "Empty reply from server")
	case strings.Contains(err.Error(), "malformed HTTP"):
		return curlFail(1, "Received HTTP/0.9 when not allowed")
	}
	return curlFail(56, "Recv failure: %s", netError(unwrapURL(err)))
}

func unwrapURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// headers writes the answer's head where -i, -I or -D want it.
func (c *curl) headers(t *transfer, resp *http.Response) string {
	text := fmt.Sprintf("%s %s\r\n%s\r\n\r\n", resp.Proto, resp.Status, strings.Join(headerLines(responseHeader(resp)), "\r\n"))
	t.headerBytes += len(text)
	if c.o.dumpHeader == "-" {
		io.WriteString(c.p.Stdout, text)
	} else if c.o.dumpHeader != "" {
		_ = program.WriteFile(c.p.Files, clean(c.o.dumpHeader), []byte(text), true)
	}
	if c.o.include || c.o.head {
		return text
	}
	return ""
}

// receive writes the answer to where it is to go.
func (c *curl) receive(ctx context.Context, t *transfer, resp *http.Response, output string) error {
	defer resp.Body.Close()
	head := c.headers(t, resp)
	if c.o.fail && resp.StatusCode >= 400 {
		return curlFail(22, "The requested URL returned error: %d", resp.StatusCode)
	}
	w := c.p.Stdout
	if output == "" && c.o.remote {
		if output = path.Base(resp.Request.URL.Path); output == "/" || output == "." {
			return curlFail(23, "Failed to extract a filename to use for storage")
		}
	}
	switch output {
	case "", "-":
	case "/dev/null":
		w = io.Discard
	default:
		if err := program.WriteFile(c.p.Files, clean(output), nil, false); err != nil {
			return curlFail(23, "Failed to open the file %s: %v", output, err)
		}
		w = &writtenFile{files: c.p.Files, name: clean(output)}
	}
	if _, err := io.WriteString(w, head); err != nil {
		return curlFail(23, "Failure writing output to destination")
	}
	n, err := io.Copy(w, resp.Body)
	t.down = n
	c.meter(t, resp.ContentLength)
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		of := ""
		if resp.ContentLength >= 0 {
			of = fmt.Sprintf(" out of %d", resp.ContentLength)
		}
		return curlFail(28, "Operation timed out after %d milliseconds with %d%s bytes received", time.Since(t.start).Milliseconds(), n, of)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF) && resp.ContentLength >= 0:
		return curlFail(18, "end of response with %d bytes missing", resp.ContentLength-n)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return curlFail(18, "transfer closed with outstanding read data remaining")
	case errors.Is(err, syscall.ECONNRESET):
		return curlFail(56, "Recv failure: Connection reset by peer")
	default:
		return curlFail(23, "Failure writing output to destination: %v", err)
	}
	if c.o.failWithBody && resp.StatusCode >= 400 {
		return curlFail(22, "The requested URL returned error: %d", resp.StatusCode)
	}
	return nil
}
