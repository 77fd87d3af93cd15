package library

import (
	"maps"

	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/program/shop"
)

// Images are the library's, by the names of those they stand for. The caller
// may add to the table: each call returns a new one.
func Images() program.Images {
	t := program.Images{}
	add := func(img program.Image, names ...string) {
		for _, n := range names {
			t[n] = img
		}
	}
	add(program.Image{
		Entrypoint: []string{"./podinfo"},
		Commands:   withShell(map[string]program.Func{"./podinfo": Podinfo, "podinfo": Podinfo, "curl": Curl}),
		Env:        []string{"HOME=/home/app"},
	}, "stefanprodan/podinfo", "ghcr.io/stefanprodan/podinfo")
	add(program.Image{
		Entrypoint: []string{"/entrypoint.sh"},
		Cmd:        []string{"curl"},
		Commands:   curlImage(),
		Env:        []string{"HOME=/home/curl_user"},
	}, "curlimages/curl", "quay.io/curl/curl")
	add(program.Image{
		Entrypoint: []string{"/docker-entrypoint.sh"},
		Cmd:        []string{"nginx", "-g", "daemon off;"},
		Commands:   nginxImage(),
		Files:      nginxFiles,
	}, "nginx", "nginxinc/nginx-unprivileged")
	add(program.Image{Cmd: []string{"sh"}, Commands: withShell(nil)}, "busybox", "alpine", "registry.k8s.io/e2e-test-images/busybox")
	pause := map[string]program.Func{"/pause": Pause, "pause": Pause}
	add(program.Image{Entrypoint: []string{"/pause"}, Commands: pause}, "registry.k8s.io/pause")
	add(program.Image{
		Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		Commands: withShell(map[string]program.Func{"/agnhost": Agnhost, "agnhost": Agnhost, "curl": Curl}),
	}, "registry.k8s.io/e2e-test-images/agnhost")
	add(program.Image{Entrypoint: []string{"socat"}, Commands: socatImage()}, "alpine/socat")
	add(program.Image{Cmd: []string{"sh"}, Commands: netshootImage()}, "nicolaka/netshoot")
	add(program.Image{
		Entrypoint: []string{"/shop"}, Cmd: []string{"frontend"},
		Commands: withShell(map[string]program.Func{"/shop": shop.Run, "shop": shop.Run, "curl": Curl}),
	}, "atoll.dev/shop")
	return t
}

// withShell adds the shell and busybox's commands to those of an image.
func withShell(own map[string]program.Func) map[string]program.Func {
	all := maps.Clone(busybox)
	maps.Copy(all, own)
	sh := shell(all)
	all["sh"], all["ash"] = sh, sh
	if _, ok := own["bash"]; ok {
		all["bash"] = sh
	}
	return all
}

// curlImage adds the image's entry point: what is not a command is an argument
// of curl.
func curlImage() map[string]program.Func {
	all := withShell(map[string]program.Func{"curl": Curl})
	image := program.Image{Commands: all}
	all["/entrypoint.sh"] = entrypoint(image, "curl")
	return all
}

func socatImage() map[string]program.Func {
	all := withShell(nil)
	all["socat"] = socatWith(all)
	return all
}

func netshootImage() map[string]program.Func {
	all := withShell(map[string]program.Func{"curl": Curl})
	all["socat"], all["bash"], all["zsh"] = socatWith(all), all["sh"], all["sh"]
	return all
}

func nginxImage() map[string]program.Func {
	all := withShell(map[string]program.Func{"nginx": Nginx, "curl": Curl})
	all["bash"] = all["sh"]
	image := program.Image{Commands: all}
	all["/docker-entrypoint.sh"] = entrypoint(image, "nginx")
	return all
}
