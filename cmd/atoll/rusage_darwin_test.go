package main

import "syscall"

func peakMiB(u *syscall.Rusage) float64 { return float64(u.Maxrss) / (1 << 20) } // macOS counts in bytes
