// Package library holds the programs that pods run, by the names of the real
// images they stand for: enough of each to ask and answer over a network as the
// original would.
//
//	image, repository, err := library.Images().Find("curlimages/curl:8.10.1")
//
// The shell knows only the commands of its own image; in a hollow pod nothing
// reaches the machine's files or processes. Nothing here knows Kubernetes: a
// container's process has to start in milliseconds.
package library
