//go:build !linux

package tun

import "errors"

// Probe says that there is no TUN device but Linux'.
func Probe() error { return errors.New("needs Linux") }
