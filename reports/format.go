package reports

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/atoll-dev/atoll/suites"
)

// short writes a duration with as many digits as anyone reads: three.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d == 0:
		return "0s"
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return decimals(float64(d)/float64(time.Microsecond)) + "µs"
	case d < time.Second:
		return decimals(float64(d)/float64(time.Millisecond)) + "ms"
	case d < 100*time.Second && d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < 59950*time.Millisecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// decimals writes three significant digits, without zeros at the end.
func decimals(v float64) string {
	digits := 0
	switch {
	case v < 10:
		digits = 2
	case v < 100:
		digits = 1
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// millis writes a latency in milliseconds, so that columns of it compare.
func millis(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	switch {
	case d == 0:
		return "0"
	case v < 10 && v > -10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// bytesText writes a size in powers of 1024.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 4 {
		v /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}

// counted writes a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// oneLine makes text fit for a line of a terminal or log: control characters,
// which could move its cursor, become spaces.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
}

// cut shortens text to so many runes.
func cut(s string, width int) string {
	r := []rune(s)
	switch {
	case len(r) <= width:
		return s
	case width < 2:
		return ""
	}
	return string(r[:width-1]) + "…"
}

// shellQuote writes arguments so that a shell reads them back.
func shellQuote(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if a != "" && !strings.ContainsFunc(a, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=,@%+", r)
		}) {
			quoted[i] = a
			continue
		}
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// restOf is what a scenario's reason says beyond its failed checks, which are
// shown one by one.
func restOf(sc *suites.Scenario) string {
	rest := sc.Reason
	for _, c := range sc.Checks {
		if !c.OK {
			rest = strings.Replace(rest, fmt.Sprintf("%s: expected %s, saw %s", c.What, c.Expected, c.Seen), "", 1)
		}
	}
	return strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(rest), ";\n "))
}
