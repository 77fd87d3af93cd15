package main

import (
	"fmt"
	"os"
	"strings"
)

// anonymousMiB is the memory of a process that is not backed by a file, or 0
// once it is gone.
func anonymousMiB(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
