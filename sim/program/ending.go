package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// terminated is the exit code of a program that SIGTERM has ended.
const terminated = 143

// ExitCode is the exit code of a program that returned err, whose message, if
// it has one, goes to stderr. ctx is the program's: having been told to end is
// an ending by SIGTERM, not a failure.
func ExitCode(ctx context.Context, err error, stderr io.Writer) int {
	var ee *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ee):
		if ee.Msg != "" {
			fmt.Fprintln(stderr, ee.Msg)
		}
		return ee.Code
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return terminated
	}
	fmt.Fprintln(stderr, err)
	return 1
}

type interruptKey struct{}

// onInterrupt is what a terminal does on Ctrl-C, until the program says
// otherwise.
type onInterrupt struct {
	mu sync.Mutex
	do func()
}

func (i *onInterrupt) set(do func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.do = do
}

func (i *onInterrupt) call() {
	i.mu.Lock()
	do := i.do
	i.mu.Unlock()
	do()
}

// Interruptible returns a context for a program at a terminal, and what the
// terminal calls on Ctrl-C: do, unless the program has asked for something else
// with [OnInterrupt].
func Interruptible(ctx context.Context, do func()) (_ context.Context, interrupt func()) {
	i := &onInterrupt{do: do}
	return context.WithValue(ctx, interruptKey{}, i), i.call
}

// OnInterrupt has do called on Ctrl-C at the program's terminal, in place of
// ending the program: what a shell wants for its foreground command. Without a
// terminal it does nothing.
func OnInterrupt(ctx context.Context, do func()) {
	if i, ok := ctx.Value(interruptKey{}).(*onInterrupt); ok {
		i.set(do)
	}
}
