package topologies

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a file.
type Fault struct {
	File string
	Line int // from 1; 0 is the file as a whole
	What string
}

func (f Fault) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.What)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What)
}

// Errors is everything wrong with a topology, by file and line. It is the
// only error that Load and Parse return, and means that the input is bad.
type Errors []Fault

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts the topology's own file first, lines ascending, without repeats.
func (e Errors) sorted(file string) Errors {
	slices.SortStableFunc(e, func(a, b Fault) int {
		if a.File != b.File {
			switch {
			case a.File == file:
				return -1
			case b.File == file:
				return 1
			}
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return slices.Compact(e)
}

// fault makes a single-fault error about a whole file or one line of it.
func fault(file string, line int, format string, args ...any) Errors {
	return Errors{{File: file, Line: line, What: fmt.Sprintf(format, args...)}}
}

// nearest returns the candidate that s was probably meant to be, if any is
// near enough: a third of its letters may differ, but not all of them.
func nearest(s string, candidates []string) (string, bool) {
	if len(s) > 40 {
		return "", false // no slip of the finger
	}
	best, bestDistance := "", min((len(s)+2)/3, len(s)-1)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best, best != ""
}

// didYouMean is the tail of a message about an unknown name.
func didYouMean(s string, candidates []string) string {
	if c, ok := nearest(s, candidates); ok {
		return fmt.Sprintf("; did you mean %q?", c)
	}
	return ""
}

// distance is Levenshtein's, a swap of neighbours counting as one. Names are
// short.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
