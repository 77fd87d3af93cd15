package library

import (
	"context"
	"fmt"
	"strings"

	"github.com/atoll-dev/atoll/sim/program"
)

// entrypoint runs its arguments as a command of the image; if they are none,
// they are arguments of the image's main one.
func entrypoint(image program.Image, main string) program.Func {
	return func(ctx context.Context, p *program.Process) error {
		args := p.Args[1:]
		if len(args) == 0 || strings.HasPrefix(args[0], "-") {
			args = append([]string{main}, args...)
		}
		prog, ok := image.Lookup(args[0])
		if !ok {
			if main != "curl" {
				return &program.ExitError{Code: 127, Msg: fmt.Sprintf("%s: exec: %s: not found", p.Args[0], args[0])}
			}
			args = append([]string{main}, args...)
			prog, _ = image.Lookup(main)
		}
		return prog(ctx, child(p, args))
	}
}

// child is a process beside p, in the same container.
func child(p *program.Process, args []string) *program.Process {
	c := *p
	c.Args = args
	return &c
}

func exit(code int, format string, args ...any) error {
	return &program.ExitError{Code: code, Msg: fmt.Sprintf(format, args...)}
}
