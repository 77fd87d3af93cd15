package library

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

const nginxRoot = "usr/share/nginx/html"

var nginxFiles = map[string]string{
	nginxRoot + "/index.html": `<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
`,
	nginxRoot + "/50x.html": "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><h1>An error occurred.</h1></body></html>\n",
}

// Nginx stands for nginx with its default configuration: the files below
// /usr/share/nginx/html on port 80, an access log on standard output. As with
// the real one, NGINX_PORT has no say: behind a Service named nginx it holds a
// link (tcp://10.12.0.7:80).
func Nginx(ctx context.Context, p *program.Process) error {
	const port = "80"
	for _, a := range p.Args[1:] {
		switch a {
		case "-v", "-V":
			fmt.Fprintln(p.Stderr, "nginx version: nginx/1.29.1")
			return nil
		case "-t":
			fmt.Fprintln(p.Stderr, "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok")
			return nil
		}
	}
	l, err := p.Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return exit(1, "nginx: [emerg] bind() to 0.0.0.0:%s failed: %v", port, err)
	}
	fmt.Fprintf(p.Stderr, "%s [notice] 1#1: start worker processes\n", time.Now().UTC().Format("2006/01/02 15:04:05"))
	return serve(ctx, l, nginxHandler(p), func() {
		fmt.Fprintf(p.Stderr, "%s [notice] 1#1: signal 3 (SIGQUIT) received, shutting down\n", time.Now().UTC().Format("2006/01/02 15:04:05"))
	})
}

func nginxHandler(p *program.Process) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "nginx/1.29.1")
		code, body, kind, at := nginxFile(p.Files, r)
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		if !at.IsZero() {
			w.Header().Set("Last-Modified", at.UTC().Format(http.TimeFormat))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			io.WriteString(w, body)
		}
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		fmt.Fprintf(p.Stdout, "%s - - [%s] \"%s %s %s\" %d %d \"%s\" \"%s\" \"-\"\n",
			host, time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700"), r.Method, r.RequestURI, r.Proto, code, len(body), dash(r.Referer()), dash(r.UserAgent()))
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func nginxFile(files fs.FS, r *http.Request) (code int, body, kind string, at time.Time) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return http.StatusMethodNotAllowed, nginxError(405, "Not Allowed"), "text/html", at
	}
	name := path.Join(nginxRoot, path.Clean("/"+r.URL.Path))
	if info, err := fs.Stat(files, name); err == nil && info.IsDir() {
		name = path.Join(name, "index.html")
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return http.StatusNotFound, nginxError(404, "Not Found"), "text/html", at
	}
	if info, err := fs.Stat(files, name); err == nil {
		at = info.ModTime()
	}
	return http.StatusOK, string(data), contentType(name), at
}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".html", ".htm":
		return "text/html"
	case ".css":
		return "text/css"
	case ".js":
		return "application/javascript"
	case ".json":
		return "application/json"
	case ".txt":
		return "text/plain"
	}
	return "application/octet-stream"
}

func nginxError(code int, text string) string {
	return fmt.Sprintf("<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1></center>\r\n<hr><center>nginx/1.29.1</center>\r\n</body>\r\n</html>\r\n", code, text, code, text)
}
