//go:build unix

package main

import "syscall"

// detached puts a child into a session of its own, so that the terminal's
// ctrl-C and its closing do not reach it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
