package program

import (
	"context"
	"strings"
	"testing"
)

func TestRepository(t *testing.T) {
	for _, c := range []struct{ ref, want string }{
		{"nginx", "nginx"},
		{"nginx:1.29", "nginx"},
		{"docker.io/library/nginx:latest", "nginx"},
		{"index.docker.io/library/nginx", "nginx"},
		{"docker.io/stefanprodan/podinfo", "stefanprodan/podinfo"},
		{"ghcr.io/stefanprodan/podinfo:6.7.0@sha256:" + strings.Repeat("a", 64), "ghcr.io/stefanprodan/podinfo"},
		{"localhost:5000/app", "localhost:5000/app"},
		{"localhost:5000/app:v1", "localhost:5000/app"},
		{"", ""}, {"No Caps", ""}, {"a//b", ""}, {"nginx:", ""}, {"../x", ""}, {strings.Repeat("a", 600), ""},
	} {
		got, err := Repository(c.ref)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("Repository(%.40q) = %q, %v; want %q", c.ref, got, err, c.want)
		}
	}
}

func TestLookup(t *testing.T) {
	prog := func(context.Context, *Process) error { return nil }
	img := Image{Commands: map[string]Func{"curl": prog, "/pause": prog}}
	for command, want := range map[string]bool{
		"curl": true, "/usr/bin/curl": true, "/bin/curl": true, "/pause": true,
		"/opt/curl": false, "bin/curl": false, "nosuch": false, "/bin/nosuch": false, "": false,
	} {
		if _, ok := img.Lookup(command); ok != want {
			t.Errorf("Lookup(%q) = %v, want %v", command, ok, want)
		}
	}
}
