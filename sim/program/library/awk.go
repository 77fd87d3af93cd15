package library

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/atoll-dev/atoll/sim/program"
)

// awkProgram is what is understood of the language: fields of every line.
var awkProgram = regexp.MustCompile(`^\s*\{\s*print(\s+\$(\d+|NF)\s*(,\s*\$(\d+|NF)\s*)*)?;?\s*\}\s*$`)

var awkField = regexp.MustCompile(`\$(\d+|NF)`)

// awk prints fields: awk [-F SEPARATOR] '{print $1, $NF}' [FILE]…
func awk(_ context.Context, p *program.Process) error {
	separator := ""
	args := p.Args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-F") {
		separator = args[0][2:]
		if separator == "" && len(args) > 1 {
			separator, args = args[1], args[1:]
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return exit(1, "usage: awk [-F SEPARATOR] '{print $N, …}' [FILE]...")
	}
	if !awkProgram.MatchString(args[0]) {
		return exit(2, "awk: only {print $N, …} is known here, not %s", args[0])
	}
	fields := awkField.FindAllStringSubmatch(args[0], -1)
	return inputs(p, args[1:], func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			fmt.Fprintln(p.Stdout, awkPrint(line, separator, fields))
			return true
		})
	})
}

func awkPrint(line, separator string, fields [][]string) string {
	if len(fields) == 0 {
		return line
	}
	parts := strings.Fields(line)
	if separator != "" && separator != " " {
		parts = strings.Split(line, separator)
	}
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		n := len(parts)
		if f[1] != "NF" {
			n, _ = strconv.Atoi(f[1]) // the pattern admits digits alone
		}
		switch {
		case n == 0:
			out = append(out, line)
		case n <= len(parts):
			out = append(out, parts[n-1])
		default:
			out = append(out, "")
		}
	}
	return strings.Join(out, " ")
}
