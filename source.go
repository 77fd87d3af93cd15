// Package atoll carries the sources of what is compiled for containers: the
// program of workloads' images, which whoever makes the images builds for them.
package atoll

import "embed"

// Workload is the part of this module that fixtures/images/workload is built
// of: all its packages, tests among them, and what they require.
//
//go:embed go.mod go.sum fixtures/images/workload fixtures/pods sim/program sim/shop
var Workload embed.FS
