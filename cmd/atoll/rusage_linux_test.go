package main

import "syscall"

func peakMiB(u *syscall.Rusage) float64 { return float64(u.Maxrss) / (1 << 10) } // Linux counts in KiB
