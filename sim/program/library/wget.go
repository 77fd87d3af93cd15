package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// Wget stands for busybox's wget: -q, -O FILE, -T SECONDS, -S, --spider,
// --header and --post-data.
func Wget(ctx context.Context, p *program.Process) error {
	quiet, spider, output, post := false, false, "", ""
	timeout := time.Duration(0)
	o := &curlOptions{agent: "Wget", resolve: map[string]string{}}
	var urls []string
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		a := args[i]
		next := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		switch {
		case a == "--spider":
			spider = true
		case a == "--header":
			o.headers = append(o.headers, next())
		case strings.HasPrefix(a, "--header="):
			o.headers = append(o.headers, a[len("--header="):])
		case a == "--post-data":
			post = next()
		case strings.HasPrefix(a, "--post-data="):
			post = a[len("--post-data="):]
		case strings.HasPrefix(a, "--timeout="), a == "-T":
			v := strings.TrimPrefix(a, "--timeout=")
			if a == "-T" {
				v = next()
			}
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 1<<20 {
				return exit(1, "wget: invalid number '%s'", v)
			}
			timeout = time.Duration(n) * time.Second
		case strings.HasPrefix(a, "--"):
		case len(a) > 1 && a[0] == '-':
			for j := 1; j < len(a); j++ {
				switch a[j] {
				case 'q':
					quiet = true
				case 'O':
					if output = a[j+1:]; output == "" {
						output = next()
					}
					j = len(a)
				}
			}
		default:
			urls = append(urls, a)
		}
	}
	if len(urls) != 1 {
		return exit(1, "usage: wget [-q] [-O FILE] [-T SEC] [--spider] URL")
	}
	if post != "" {
		o.hasData, o.data = true, []string{post}
	}
	req, err := o.request(urls[0])
	if err != nil {
		return exit(1, "wget: bad address '%s'", urls[0])
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	client := &http.Client{Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true, DisableCompression: true}}
	if !quiet {
		fmt.Fprintf(p.Stderr, "Connecting to %s\n", req.URL.Host)
	}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return wgetError(ctx, req, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return exit(1, "wget: server returned error: %s %s", resp.Proto, resp.Status)
	}
	if spider {
		return nil
	}
	w := p.Stdout
	if output == "" {
		if output = path.Base(req.URL.Path); output == "/" || output == "." {
			output = "index.html"
		}
	}
	if output != "-" && output != "/dev/null" {
		if err := program.WriteFile(p.Files, clean(output), nil, false); err != nil {
			return exit(1, "wget: %s", fileError(output, err))
		}
		w = &writtenFile{files: p.Files, name: clean(output)}
	} else if output == "/dev/null" {
		w = io.Discard
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return wgetError(ctx, req, err)
	}
	return nil
}

func wgetError(ctx context.Context, req *http.Request, err error) error {
	var de *net.DNSError
	switch {
	case errors.As(err, &de):
		return exit(1, "wget: bad address '%s'", req.URL.Host)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return exit(1, "wget: download timed out")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return exit(1, "wget: can't connect to remote host (%s): %s", req.URL.Hostname(), netError(err))
}
