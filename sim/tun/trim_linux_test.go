package tun

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-01500000 r-xp 00000000 fe:00 1234                               /usr/bin/atoll
Size:              17408 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
01500000-02a00000 r--p 01100000 fe:00 1234                               /usr/bin/atoll
Anonymous:             4 kB
02a00000-02b00000 rw-p 02600000 fe:00 1234                               /usr/bin/atoll
Anonymous:             0 kB
02b00000-02c00000 r--p 02600000 fe:00 1234                               /usr/bin/atoll
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:          2048 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99                         /lib/other
Anonymous:             0 kB
`
	got := cleanMappings(bufio.NewScanner(strings.NewReader(smaps)), "/usr/bin/atoll")
	want := []mapping{{0x400000, 0x1500000}, {0x2b00000, 0x2c00000}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%x, want %x", got, want)
	}
}

// A process that has trimmed itself is smaller, and lives on.
func TestTrim(t *testing.T) {
	const variable = "ATOLL_TEST_TRIM"
	if os.Getenv(variable) != "" {
		before := residentKiB(t)
		Trim()
		after := residentKiB(t)
		// Everything that was read before can be read again.
		out, err := exec.Command("/proc/self/exe", "-test.run=^$").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("resident: %d KiB before, %d KiB after", before, after)
		if after >= before {
			t.Error("nothing was given back")
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestTrim$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func residentKiB(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
