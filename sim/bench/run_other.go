//go:build !linux

package bench

import (
	"context"
	"fmt"
	"runtime"
)

// Run measures, on Linux alone.
func Run(context.Context, Options) (*Result, error) {
	return nil, fmt.Errorf("%w: network namespaces are Linux's; this is %s", ErrMachine, runtime.GOOS)
}

// Child does nothing here: no benchmark starts a child.
func Child() {}
