// Package images holds the programs that hollow nodes run, by the names of the
// real images they stand for: enough of each to ask and answer over the
// simulated network as the original would.
//
//	cfg.Images = images.Library()
//
// A program here is a plain hollow.Program. The shell knows only the commands
// of its own image; nothing reaches the machine's files or processes.
package images
