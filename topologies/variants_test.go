package topologies

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestBrokenVariants makes of a library topology what somebody's slip would,
// one replacement at a time ("old => new", once in the file), and compares what
// is said of it. With -rewrite the messages are written anew: read them.
func TestBrokenVariants(t *testing.T) {
	datadriven.Walk(t, "testdata/variants", func(t *testing.T, path string) {
		file := filepath.Base(path) + ".yaml"
		data, err := fs.ReadFile(Library(), file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			n++
			text := string(data)
			for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
				old, new, ok := strings.Cut(line+" ", " => ")
				if !ok || strings.Count(text, old) != 1 {
					d.Fatalf(t, "%q is in %s %d times, not once", old, file, strings.Count(text, old))
				}
				text = strings.Replace(text, old, strings.TrimRight(new, " "), 1)
			}
			if _, err := Parse(file, []byte(text), nil); err != nil {
				return err.Error() + "\n"
			}
			d.Fatalf(t, "it is taken")
			return ""
		})
		if n < 5 {
			t.Errorf("%d broken variants are too few", n)
		}
	})
}
