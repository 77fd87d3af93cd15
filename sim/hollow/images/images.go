// Package images is the table of what hollow nodes run: the workloads of
// [library] and the cluster's DNS.
//
//	cfg.Images = images.Library()
package images

import (
	"github.com/atoll-dev/atoll/sim/hollow/coredns"
	"github.com/atoll-dev/atoll/sim/program"
	"github.com/atoll-dev/atoll/sim/program/library"
)

// Library is the table of images every hollow node knows. The caller may add
// to it: each call returns a new one.
func Library() program.Images {
	t := library.Images()
	for _, name := range []string{"registry.k8s.io/coredns/coredns", "coredns/coredns"} {
		t[name] = coredns.Image()
	}
	return t
}
