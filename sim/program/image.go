package program

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// commandDirs are where a program of an image is found when it is named by an
// absolute path.
var commandDirs = map[string]bool{
	"/": true, "/bin": true, "/sbin": true, "/usr/bin": true, "/usr/sbin": true,
	"/usr/local/bin": true, "/usr/local/sbin": true,
}

var imageName = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)

// Repository reduces an image reference to the name Images knows it by: no
// tag, no digest, and no docker.io or docker.io/library before it.
//
//	docker.io/library/nginx:1.29 → nginx
//	ghcr.io/stefanprodan/podinfo:6.7.0@sha256:… → ghcr.io/stefanprodan/podinfo
func Repository(ref string) (string, error) {
	if len(ref) > 512 || !imageName.MatchString(ref) {
		return "", fmt.Errorf("couldn't parse image name %q: invalid reference format", ref)
	}
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	for _, short := range []string{"index.docker.io/", "docker.io/"} {
		if rest, ok := strings.CutPrefix(ref, short); ok {
			ref = strings.TrimPrefix(rest, "library/")
		}
	}
	return ref, nil
}

// Find returns the image of that reference. An image that is not in the table
// is an error worded as a registry's answer.
func (t Images) Find(ref string) (Image, string, error) {
	repo, err := Repository(ref)
	if err != nil {
		return Image{}, "", err
	}
	img, ok := t[repo]
	if !ok {
		return Image{}, repo, fmt.Errorf("failed to pull image %q: %s: not found: a hollow node runs only the images in its table", ref, repo)
	}
	return img, repo, nil
}

// Lookup finds the program that a command names, by its name or by the
// absolute path of a usual directory.
func (i Image) Lookup(command string) (Func, bool) {
	if p, ok := i.Commands[command]; ok {
		return p, true
	}
	if !strings.HasPrefix(command, "/") || !commandDirs[path.Dir(command)] {
		return nil, false
	}
	p, ok := i.Commands[path.Base(command)]
	return p, ok
}
