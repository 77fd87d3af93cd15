package tun

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// gcPercent is by how much a router's heap grows before garbage is collected.
const gcPercent = 25

// Trim lessens the resident memory of a process that has started and will from
// now on be a router and little else: the garbage of its start, and those pages
// of the program itself that only its start has read, some 35 MiB where the
// program is atoll. What is needed after all comes back from the page cache.
// From then on garbage is collected early, unless GOGC says when. A kernel that
// does not permit the rest is no error.
func Trim() {
	// No packet makes garbage, so what there is may as well be collected early.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	for _, m := range cleanMappings(bufio.NewScanner(maps), exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// cleanMappings finds where a file is mapped, not writable, in the format of
// smaps in proc(5). Mappings with pages of their own (a relocation, a
// debugger's breakpoint) are left out: those are nowhere else.
func cleanMappings(smaps *bufio.Scanner, file string) (clean []mapping) {
	var current *mapping
	for smaps.Scan() {
		line := smaps.Text()
		var m mapping
		var permissions string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.start, &m.end, &permissions); n == 3 {
			current = nil
			if !strings.Contains(permissions, "w") && strings.HasSuffix(line, " "+file) {
				current = &m
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "Anonymous:"); ok && current != nil {
			if kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB")); err == nil && kib == 0 {
				clean = append(clean, *current)
			}
			current = nil
		}
	}
	return clean
}
