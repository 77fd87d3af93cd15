package library

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// CurlVersion is the release whose messages Curl follows.
const CurlVersion = "8.15.0"

// curlOptions are the options of one call.
type curlOptions struct {
	urls    []string
	outputs []string // -o, in order
	remote  bool     // -O

	method   string
	headers  []string
	data     []string
	bodyType string
	hasData  bool
	get      bool // -G
	head     bool // -I
	agent    string
	user     string
	referer  string
	cookie   string
	ranges   string

	silent, showError  bool
	fail, failWithBody bool
	include            bool
	verbose            bool
	location           bool
	maxRedirects       int
	insecure           bool
	cacert             string
	cert, key          string
	globoff            bool
	noMeter            bool
	dumpHeader         string
	writeOut           string
	maxTime            time.Duration
	connectTimeout     time.Duration
	resolve            map[string]string // host:port → address
	retries            int
	retryDelay         time.Duration
	retryMaxTime       time.Duration
	retryRefused       bool
	retryAll           bool
}

// curlError is a failure with curl's own exit code.
type curlError struct {
	code int
	msg  string
}

func (e *curlError) Error() string { return e.msg }

func curlFail(code int, format string, args ...any) *curlError {
	return &curlError{code, fmt.Sprintf(format, args...)}
}

// curlLong are the long options: those with a value map to true.
var curlLong = map[string]struct {
	short string
	value bool
}{
	"silent": {"s", false}, "show-error": {"S", false}, "fail": {"f", false}, "include": {"i", false},
	"show-headers": {"i", false}, "head": {"I", false}, "verbose": {"v", false}, "output": {"o", true},
	"remote-name": {"O", false}, "write-out": {"w", true}, "max-time": {"m", true}, "request": {"X", true},
	"data": {"d", true}, "header": {"H", true}, "insecure": {"k", false}, "location": {"L", false},
	"user-agent": {"A", true}, "user": {"u", true}, "referer": {"e", true}, "cookie": {"b", true},
	"range": {"r", true}, "get": {"G", false}, "globoff": {"g", false}, "dump-header": {"D", true},
	"no-buffer": {"N", false}, "ipv4": {"4", false}, "ipv6": {"6", false}, "http1.0": {"0", false},
	"disable": {"q", false}, "progress-bar": {"#", false}, "cert": {"E", true}, "version": {"V", false},

	"data-raw": {"data-raw", true}, "data-ascii": {"d", true}, "data-binary": {"data-binary", true},
	"data-urlencode": {"data-urlencode", true}, "json": {"json", true}, "fail-with-body": {"fail-with-body", false},
	"connect-timeout": {"connect-timeout", true}, "max-redirs": {"max-redirs", true}, "resolve": {"resolve", true},
	"retry": {"retry", true}, "retry-delay": {"retry-delay", true}, "retry-max-time": {"retry-max-time", true},
	"retry-connrefused": {"retry-connrefused", false}, "retry-all-errors": {"retry-all-errors", false},
	"url": {"url", true}, "cacert": {"cacert", true}, "key": {"key", true}, "no-progress-meter": {"no-progress-meter", false},
	// Accepted, and without effect here.
	"http1.1": {"", false}, "http2": {"", false}, "compressed": {"", false}, "tcp-nodelay": {"", false},
	"no-keepalive": {"", false}, "no-sessionid": {"", false}, "styled-output": {"", false}, "keepalive-time": {"-", true},
}

// curlShortWithValue are the one-letter options that take a value.
const curlShortWithValue = "owmXdHAuebrDE"

func parseCurl(p *program.Process) (*curlOptions, error) {
	o := &curlOptions{agent: "curl/" + CurlVersion, maxRedirects: 50, resolve: map[string]string{}}
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		a := args[i]
		value := func(option string) (string, error) {
			i++
			if i >= len(args) {
				return "", curlFail(2, "option %s: requires parameter", option)
			}
			return args[i], nil
		}
		switch {
		case a == "--":
			o.urls = append(o.urls, args[i+1:]...)
			i = len(args)
		case strings.HasPrefix(a, "--"):
			name := a[2:]
			l, ok := curlLong[name]
			if !ok {
				if l, ok = curlLong[strings.TrimPrefix(name, "no-")]; ok && !l.value {
					continue // a default, named
				}
				return nil, curlFail(2, "option %s: is unknown", a)
			}
			v := ""
			if l.value {
				var err error
				if v, err = value(a); err != nil {
					return nil, err
				}
			}
			if err := o.set(p, l.short, v); err != nil {
				return nil, err
			}
		case len(a) > 1 && a[0] == '-':
			for j := 1; j < len(a); j++ {
				f, v := a[j:j+1], ""
				if strings.Contains(curlShortWithValue, f) {
					if v = a[j+1:]; v == "" {
						var err error
						if v, err = value("-" + f); err != nil {
							return nil, err
						}
					}
					j = len(a)
				}
				if err := o.set(p, f, v); err != nil {
					return nil, err
				}
			}
		default:
			o.urls = append(o.urls, a)
		}
	}
	return o, nil
}

func curlSeconds(option, v string) (time.Duration, error) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f < 0 || f > 1e9 {
		return 0, curlFail(2, "option %s: expected a proper numerical parameter", option)
	}
	return time.Duration(f * float64(time.Second)), nil
}

func (o *curlOptions) set(p *program.Process, name, v string) (err error) {
	switch name {
	case "", "-", "N", "4", "6", "0", "q", "#":
	case "s":
		o.silent = true
	case "S":
		o.showError = true
	case "f":
		o.fail = true
	case "fail-with-body":
		o.failWithBody = true
	case "i":
		o.include = true
	case "I":
		o.head = true
	case "v":
		o.verbose = true
	case "o":
		o.outputs = append(o.outputs, v)
	case "O":
		o.remote = true
	case "w":
		o.writeOut = v
	case "m":
		o.maxTime, err = curlSeconds("-m", v)
	case "connect-timeout":
		o.connectTimeout, err = curlSeconds("--connect-timeout", v)
	case "X":
		o.method = v
	case "H":
		o.headers = append(o.headers, v)
	case "k":
		o.insecure = true
	case "L":
		o.location = true
	case "A":
		o.agent = v
	case "u":
		o.user = v
	case "e":
		o.referer = v
	case "b":
		o.cookie = v
	case "r":
		o.ranges = v
	case "G":
		o.get = true
	case "g":
		o.globoff = true
	case "D":
		o.dumpHeader = v
	case "V":
		return curlFail(-1, "")
	case "E":
		o.cert = v
	case "key":
		o.key = v
	case "cacert":
		o.cacert = v
	case "url":
		o.urls = append(o.urls, v)
	case "no-progress-meter":
		o.noMeter = true
	case "d", "data-raw", "data-binary", "data-urlencode", "json":
		return o.addData(p, name, v)
	case "max-redirs", "retry":
		n, perr := strconv.Atoi(v)
		if perr != nil {
			return curlFail(2, "option --%s: expected a proper numerical parameter", name)
		}
		if name == "retry" {
			o.retries = n
		} else {
			o.maxRedirects = n
		}
	case "retry-delay":
		o.retryDelay, err = curlSeconds("--retry-delay", v)
	case "retry-max-time":
		o.retryMaxTime, err = curlSeconds("--retry-max-time", v)
	case "retry-connrefused":
		o.retryRefused = true
	case "retry-all-errors":
		o.retryAll = true
	case "resolve":
		parts := strings.SplitN(strings.TrimPrefix(v, "+"), ":", 3)
		if len(parts) != 3 {
			return curlFail(49, "Couldn't parse CURLOPT_RESOLVE entry '%s'", v)
		}
		o.resolve[net.JoinHostPort(strings.ToLower(parts[0]), parts[1])] = strings.Trim(parts[2], "[]")
	default:
		return curlFail(2, "option -%s: is unknown", name)
	}
	return err
}

func (o *curlOptions) addData(p *program.Process, kind, v string) error {
	if file, ok := strings.CutPrefix(v, "@"); ok && kind != "data-raw" && kind != "data-urlencode" {
		var data []byte
		var err error
		if file == "-" {
			data, err = io.ReadAll(io.LimitReader(p.Stdin, 64<<20))
		} else {
			data, err = fs.ReadFile(p.Files, clean(file))
		}
		if err != nil {
			return curlFail(26, "Failed to open %s", file)
		}
		v = string(data)
		if kind == "d" {
			v = strings.NewReplacer("\r", "", "\n", "").Replace(v)
		}
	}
	if kind == "data-urlencode" {
		k, val, ok := strings.Cut(v, "=")
		switch {
		case ok && k != "":
			v = k + "=" + url.QueryEscape(val)
		case ok:
			v = url.QueryEscape(val)
		default:
			v = url.QueryEscape(v)
		}
	}
	o.hasData = true
	o.data = append(o.data, v)
	if kind == "json" {
		o.bodyType = "application/json"
	}
	return nil
}

func (o *curlOptions) body() string {
	if o.bodyType == "application/json" {
		return strings.Join(o.data, "")
	}
	return strings.Join(o.data, "&")
}

// request makes the request for one URL.
func (o *curlOptions) request(target string) (*http.Request, error) {
	u, err := curlURL(target)
	if err != nil {
		return nil, err
	}
	method, body := http.MethodGet, ""
	if o.hasData && o.get {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += o.body()
	} else if o.hasData {
		method, body = http.MethodPost, o.body()
	}
	if o.head {
		method = http.MethodHead
	}
	if o.method != "" {
		method = o.method
	}
	req, err := http.NewRequest(method, u.String(), nil) //nolint:noctx // the caller binds it
	if err != nil {
		return nil, curlFail(3, "URL rejected: Malformed input to a URL function")
	}
	if o.hasData && !o.get {
		req.Body = io.NopCloser(strings.NewReader(body))
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		kind := o.bodyType
		if kind == "" {
			kind = "application/x-www-form-urlencoded"
		}
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "*/*")
	if o.bodyType != "" {
		req.Header.Set("Accept", o.bodyType)
	}
	req.Header.Set("User-Agent", o.agent)
	for name, v := range map[string]string{"Referer": o.referer, "Cookie": o.cookie} {
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	if o.ranges != "" {
		req.Header.Set("Range", "bytes="+o.ranges)
	}
	if o.user != "" {
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(o.user)))
	}
	own := map[string]bool{}
	for _, h := range o.headers {
		name, v, ok := strings.Cut(h, ":")
		if !ok {
			if name, ok = strings.CutSuffix(h, ";"); ok {
				req.Header[http.CanonicalHeaderKey(name)] = []string{""}
			}
			continue
		}
		name, v = strings.TrimSpace(name), strings.TrimSpace(v)
		key := http.CanonicalHeaderKey(name)
		switch {
		case strings.ContainsAny(name+v, "\r\n"):
			return nil, curlFail(43, "A header holds a line break")
		case key == "Host":
			req.Host = v
		case v == "" && key == "User-Agent":
			req.Header[key] = nil // sends none
		case v == "":
			req.Header.Del(key)
		case own[key]:
			req.Header.Add(key, v)
		default:
			req.Header.Set(key, v)
			own[key] = true
		}
	}
	return req, nil
}

// curlURL parses a URL as curl does: the scheme may be left out.
func curlURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, curlFail(3, "URL rejected: No host part in the URL")
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		switch {
		case strings.Contains(err.Error(), "invalid port"):
			return nil, curlFail(3, "URL rejected: Port number was not a decimal number between 0 and 65535")
		case strings.Contains(err.Error(), "host name"):
			return nil, curlFail(3, "URL rejected: Bad hostname")
		}
		return nil, curlFail(3, "URL rejected: Malformed input to a URL function")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, curlFail(1, "Protocol \"%s\" not supported", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, curlFail(3, "URL rejected: No host part in the URL")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n > 65535 {
			return nil, curlFail(3, "URL rejected: Port number was not a decimal number between 0 and 65535")
		}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// maxGlob bounds what one URL may stand for.
const maxGlob = 10000

// globURL spells out [1-10], [1-10:2] and {a,b}.
func globURL(s string) ([]string, error) {
	i := strings.IndexAny(s, "[{")
	if i < 0 {
		return []string{s}, nil
	}
	end := byte(']')
	if s[i] == '{' {
		end = '}'
	}
	j := strings.IndexByte(s[i:], end)
	if j < 0 {
		return nil, curlFail(3, "unmatched brace in URL position %d:\n%s", i+1, s)
	}
	inner, rest := s[i+1:i+j], s[i+j+1:]
	var parts []string
	if s[i] == '{' {
		parts = strings.Split(inner, ",")
	} else {
		var err error
		if parts, err = globRange(inner); err != nil {
			if strings.Contains(inner, ":") { // an IPv6 address
				tails, err := globURL(rest)
				for k := range tails {
					tails[k] = s[:i+j+1] + tails[k]
				}
				return tails, err
			}
			return nil, curlFail(3, "bad range in URL position %d:\n%s", i+1, s)
		}
	}
	tails, err := globURL(rest)
	if err != nil {
		return nil, err
	}
	if len(parts)*len(tails) > maxGlob {
		return nil, curlFail(3, "too many URLs: more than %d", maxGlob)
	}
	var out []string
	for _, p := range parts {
		for _, t := range tails {
			out = append(out, s[:i]+p+t)
		}
	}
	return out, nil
}

func globRange(s string) ([]string, error) {
	s, stepText, stepped := strings.Cut(s, ":")
	a, b, ok := strings.Cut(s, "-")
	lo, err1 := strconv.Atoi(a)
	hi, err2 := strconv.Atoi(b)
	step := 1
	var err3 error
	if stepped {
		step, err3 = strconv.Atoi(stepText)
	}
	if !ok || err1 != nil || err2 != nil || err3 != nil || lo < 0 || hi < lo || step < 1 || (hi-lo)/step >= maxGlob {
		return nil, fmt.Errorf("bad range %q", s)
	}
	var out []string
	for n := lo; n <= hi; n += step {
		out = append(out, fmt.Sprintf("%0*d", len(a), n))
	}
	return out, nil
}
