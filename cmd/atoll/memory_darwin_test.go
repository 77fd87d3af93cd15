package main

import "github.com/shirou/gopsutil/v4/process"

// anonymousMiB is a process's resident memory: macOS does not tell it apart.
func anonymousMiB(pid int) float64 {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return 0
	}
	m, err := p.MemoryInfo()
	if err != nil {
		return 0
	}
	return float64(m.RSS) / (1 << 20)
}
