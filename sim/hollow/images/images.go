package images

import (
	"maps"

	"github.com/atoll-dev/atoll/sim/hollow"
	"github.com/atoll-dev/atoll/sim/hollow/coredns"
	"github.com/atoll-dev/atoll/sim/hollow/shop"
)

// Library is the table of images every hollow node knows. The caller may add
// to it: each call returns a new one.
func Library() hollow.Images {
	t := hollow.Images{}
	add := func(img hollow.Image, names ...string) {
		for _, n := range names {
			t[n] = img
		}
	}
	add(hollow.Image{
		Entrypoint: []string{"./podinfo"},
		Commands:   withShell(map[string]hollow.Program{"./podinfo": Podinfo, "podinfo": Podinfo, "curl": Curl}),
		Env:        []string{"HOME=/home/app"},
	}, "stefanprodan/podinfo", "ghcr.io/stefanprodan/podinfo")
	add(hollow.Image{
		Entrypoint: []string{"/entrypoint.sh"},
		Cmd:        []string{"curl"},
		Commands:   curlImage(),
		Env:        []string{"HOME=/home/curl_user"},
	}, "curlimages/curl", "quay.io/curl/curl")
	add(hollow.Image{
		Entrypoint: []string{"/docker-entrypoint.sh"},
		Cmd:        []string{"nginx", "-g", "daemon off;"},
		Commands:   nginxImage(),
		Files:      nginxFiles,
	}, "nginx", "nginxinc/nginx-unprivileged")
	add(hollow.Image{Cmd: []string{"sh"}, Commands: withShell(nil)}, "busybox", "alpine", "registry.k8s.io/e2e-test-images/busybox")
	pause := map[string]hollow.Program{"/pause": Pause, "pause": Pause}
	add(hollow.Image{Entrypoint: []string{"/pause"}, Commands: pause}, "registry.k8s.io/pause")
	add(hollow.Image{
		Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		Commands: withShell(map[string]hollow.Program{"/agnhost": Agnhost, "agnhost": Agnhost, "curl": Curl}),
	}, "registry.k8s.io/e2e-test-images/agnhost")
	add(hollow.Image{Entrypoint: []string{"socat"}, Commands: socatImage()}, "alpine/socat")
	add(hollow.Image{Cmd: []string{"sh"}, Commands: netshootImage()}, "nicolaka/netshoot")
	add(hollow.Image{
		Entrypoint: []string{"/shop"}, Cmd: []string{"frontend"},
		Commands: withShell(map[string]hollow.Program{"/shop": shop.Run, "shop": shop.Run, "curl": Curl}),
	}, "atoll.dev/shop")
	add(coredns.Image(), "registry.k8s.io/coredns/coredns", "coredns/coredns")
	return t
}

// withShell adds the shell and busybox's commands to those of an image.
func withShell(own map[string]hollow.Program) map[string]hollow.Program {
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
func curlImage() map[string]hollow.Program {
	all := withShell(map[string]hollow.Program{"curl": Curl})
	image := hollow.Image{Commands: all}
	all["/entrypoint.sh"] = entrypoint(image, "curl")
	return all
}

func socatImage() map[string]hollow.Program {
	all := withShell(nil)
	all["socat"] = socatWith(all)
	return all
}

func netshootImage() map[string]hollow.Program {
	all := withShell(map[string]hollow.Program{"curl": Curl})
	all["socat"], all["bash"], all["zsh"] = socatWith(all), all["sh"], all["sh"]
	return all
}

func nginxImage() map[string]hollow.Program {
	all := withShell(map[string]hollow.Program{"nginx": Nginx, "curl": Curl})
	all["bash"] = all["sh"]
	image := hollow.Image{Commands: all}
	all["/docker-entrypoint.sh"] = entrypoint(image, "nginx")
	return all
}
