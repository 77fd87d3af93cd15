//go:build !linux

package netem

import (
	"context"
	"errors"
	"fmt"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Probe says that there is no netem but Linux'.
func Probe() error {
	return fmt.Errorf("%w: needs Linux", ErrMissing)
}

// Driver does not exist here.
type Driver struct{}

var _ wan.Driver = (*Driver)(nil)

// Open fails: netem is Linux'.
func Open(Config) (*Driver, error) {
	return nil, fmt.Errorf("netem: needs Linux: %w", errors.ErrUnsupported)
}

// Clean has nothing to do.
func Clean(string) error { return nil }

// Apply implements wan.Driver.
func (d *Driver) Apply(context.Context, wan.Policy) error { return errors.ErrUnsupported }

// Counters implements wan.Driver.
func (d *Driver) Counters() ([]wan.Counters, error) { return nil, errors.ErrUnsupported }

// Run implements wan.Driver.
func (d *Driver) Run(context.Context) error { return errors.ErrUnsupported }

// Close implements wan.Driver.
func (d *Driver) Close() error { return nil }
