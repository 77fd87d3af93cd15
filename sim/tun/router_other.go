//go:build !linux

package tun

import (
	"context"
	"errors"
	"fmt"

	"github.com/atoll-dev/atoll/sim/wan"
)

var errLinux = fmt.Errorf("tun: a router needs Linux: %w", errors.ErrUnsupported)

// Router exists on Linux only.
type Router struct{}

var _ wan.Driver = (*Router)(nil)

// Open fails here.
func Open(Config) (*Router, error) { return nil, errLinux }

// Clean fails here.
func Clean(string) error { return errLinux }

// Trim does nothing here.
func Trim() {}

// Sysctls are none here.
func Sysctls() map[string]string { return nil }

func (r *Router) Report() Report                          { return Report{} }
func (r *Router) Ready() <-chan struct{}                  { return nil }
func (r *Router) Engine() *wan.Engine                     { return nil }
func (r *Router) Totals() Counters                        { return Counters{} }
func (r *Router) Apply(context.Context, wan.Policy) error { return errLinux }
func (r *Router) Counters() ([]wan.Counters, error)       { return nil, errLinux }
func (r *Router) Run(context.Context) error               { return errLinux }
func (r *Router) Close() error                            { return nil }
