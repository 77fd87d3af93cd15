package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/atoll-dev/atoll/sim/program"
)

func grep(_ context.Context, p *program.Process) error {
	var pattern string
	var rest []string
	given, quiet, invert, count, only, ignore, fixed := false, false, false, false, false, false, false
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		for j, f := range a[1:] {
			switch f {
			case 'q':
				quiet = true
			case 'v':
				invert = true
			case 'c':
				count = true
			case 'o':
				only = true
			case 'i':
				ignore = true
			case 'F':
				fixed = true
			case 'E', 'h', 's', 'a':
			case 'e':
				if tail := a[j+2:]; tail != "" {
					pattern, given = tail, true
				} else if i+1 < len(args) {
					i++
					pattern, given = args[i], true
				}
			default:
				return exit(2, "grep: unrecognized option: %c", f)
			}
			if given && f == 'e' {
				break
			}
		}
	}
	if !given {
		if len(rest) == 0 {
			return exit(2, "usage: grep [-qvcoiFE] PATTERN [FILE]...")
		}
		pattern, rest = rest[0], rest[1:]
	}
	if fixed {
		pattern = regexp.QuoteMeta(pattern)
	}
	if ignore {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return exit(2, "grep: %v", err)
	}
	matches := 0
	err = inputs(p, rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			if re.MatchString(line) == invert {
				return true
			}
			matches++
			switch {
			case quiet:
				return false
			case count:
			case only:
				for _, m := range re.FindAllString(line, -1) {
					fmt.Fprintln(p.Stdout, m)
				}
			default:
				fmt.Fprintln(p.Stdout, line)
			}
			return true
		})
	})
	if count {
		fmt.Fprintln(p.Stdout, matches)
	}
	if err == nil && matches == 0 {
		return &program.ExitError{Code: 1}
	}
	return err
}

// lineCount parses -n N, -nN and -N.
func lineCount(args []string) (n int, rest []string, err error) {
	n = 10
	for i := 0; i < len(args); i++ {
		a := args[i]
		v := ""
		switch {
		case a == "-n" && i+1 < len(args):
			i++
			v = args[i]
		case strings.HasPrefix(a, "-n"):
			v = a[2:]
		case len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9':
			v = a[1:]
		default:
			rest = append(rest, a)
			continue
		}
		if n, err = strconv.Atoi(v); err != nil {
			return 0, nil, fmt.Errorf("invalid number '%s'", v)
		}
	}
	return n, rest, nil
}

func head(_ context.Context, p *program.Process) error {
	n, rest, err := lineCount(p.Args[1:])
	if err != nil {
		return exit(1, "head: %v", err)
	}
	return inputs(p, operands(rest), func(_ string, r io.Reader) error {
		left := n
		if left <= 0 {
			return nil
		}
		return eachLine(r, func(line string) bool {
			fmt.Fprintln(p.Stdout, line)
			left--
			return left > 0
		})
	})
}

func tail(ctx context.Context, p *program.Process) error {
	n, rest, err := lineCount(p.Args[1:])
	if err != nil {
		return exit(1, "tail: %v", err)
	}
	for _, a := range rest {
		if a == "-f" && len(operands(rest)) == 1 && strings.HasPrefix(operands(rest)[0], "/dev/null") {
			<-ctx.Done() // the usual way to keep a container running
			return ctx.Err()
		}
	}
	return inputs(p, operands(rest), func(_ string, r io.Reader) error {
		var last []string
		err := eachLine(r, func(line string) bool {
			if last = append(last, line); len(last) > n {
				last = last[1:]
			}
			return true
		})
		for _, l := range last {
			fmt.Fprintln(p.Stdout, l)
		}
		return err
	})
}

func wc(_ context.Context, p *program.Process) error {
	flags := ""
	for _, a := range p.Args[1:] {
		if len(a) > 1 && a[0] == '-' {
			flags += a[1:]
		}
	}
	if flags == "" {
		flags = "lwc"
	}
	return inputs(p, operands(p.Args[1:]), func(name string, r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(r, 64<<20))
		if err != nil {
			return err
		}
		var out []string
		if strings.Contains(flags, "l") {
			out = append(out, strconv.Itoa(strings.Count(string(data), "\n")))
		}
		if strings.Contains(flags, "w") {
			out = append(out, strconv.Itoa(len(strings.Fields(string(data)))))
		}
		if strings.Contains(flags, "c") {
			out = append(out, strconv.Itoa(len(data)))
		}
		if name != "" {
			out = append(out, name)
		}
		fmt.Fprintln(p.Stdout, strings.Join(out, " "))
		return nil
	})
}

// allLines reads every line of the inputs.
func allLines(p *program.Process, names []string) ([]string, error) {
	var lines []string
	err := inputs(p, names, func(_ string, r io.Reader) error {
		return eachLine(r, func(l string) bool { lines = append(lines, l); return len(lines) < 1<<20 })
	})
	return lines, err
}

func sortLines(_ context.Context, p *program.Process) error {
	lines, err := allLines(p, operands(p.Args[1:]))
	flags := ""
	for _, a := range p.Args[1:] {
		if len(a) > 1 && a[0] == '-' {
			flags += a[1:]
		}
	}
	sort.SliceStable(lines, func(i, j int) bool {
		a, b := lines[i], lines[j]
		if strings.Contains(flags, "r") {
			a, b = b, a
		}
		if strings.Contains(flags, "n") {
			x, _ := strconv.ParseFloat(strings.TrimSpace(firstField(a)), 64)
			y, _ := strconv.ParseFloat(strings.TrimSpace(firstField(b)), 64)
			return x < y
		}
		return a < b
	})
	for i, l := range lines {
		if strings.Contains(flags, "u") && i > 0 && lines[i-1] == l {
			continue
		}
		fmt.Fprintln(p.Stdout, l)
	}
	return err
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

func uniq(_ context.Context, p *program.Process) error {
	lines, err := allLines(p, operands(p.Args[1:]))
	counted := len(p.Args) > 1 && p.Args[1] == "-c"
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && lines[j] == lines[i] {
			j++
		}
		if counted {
			fmt.Fprintf(p.Stdout, "%7d %s\n", j-i, lines[i])
		} else {
			fmt.Fprintln(p.Stdout, lines[i])
		}
		i = j
	}
	return err
}

func seq(_ context.Context, p *program.Process) error {
	nums := []int{}
	for _, a := range p.Args[1:] {
		n, err := strconv.Atoi(a)
		if err != nil {
			return exit(1, "seq: invalid number '%s'", a)
		}
		nums = append(nums, n)
	}
	first, step, last := 1, 1, 0
	switch len(nums) {
	case 1:
		last = nums[0]
	case 2:
		first, last = nums[0], nums[1]
	case 3:
		first, step, last = nums[0], nums[1], nums[2]
	default:
		return exit(1, "usage: seq [FIRST [INC]] LAST")
	}
	if step == 0 {
		return exit(1, "seq: increment is 0")
	}
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		if _, err := fmt.Fprintln(p.Stdout, n); err != nil {
			return err
		}
	}
	return nil
}

// cut takes -d DELIMITER -f FIELDS, as in -f1,3 or -f2-.
func cut(_ context.Context, p *program.Process) error {
	delim, fields := "\t", ""
	var rest []string
	args := p.Args[1:]
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case (a == "-d" || a == "-f") && i+1 < len(args):
			i++
			if a == "-d" {
				delim = args[i]
			} else {
				fields = args[i]
			}
		case strings.HasPrefix(a, "-d"):
			delim = a[2:]
		case strings.HasPrefix(a, "-f"):
			fields = a[2:]
		default:
			rest = append(rest, a)
		}
	}
	want, err := fieldRanges(fields)
	if err != nil {
		return exit(1, "cut: %v", err)
	}
	return inputs(p, rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			if !strings.Contains(line, delim) {
				fmt.Fprintln(p.Stdout, line)
				return true
			}
			var out []string
			for i, f := range strings.Split(line, delim) {
				for _, w := range want {
					if i+1 >= w[0] && i+1 <= w[1] {
						out = append(out, f)
						break
					}
				}
			}
			fmt.Fprintln(p.Stdout, strings.Join(out, delim))
			return true
		})
	})
}

func fieldRanges(s string) ([][2]int, error) {
	var out [][2]int
	for _, part := range strings.Split(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		lo, hi := 1, 1<<30
		var err error
		if from != "" {
			if lo, err = strconv.Atoi(from); err != nil || lo < 1 {
				return nil, fmt.Errorf("bad field list %q", s)
			}
		}
		switch {
		case !ranged:
			hi = lo
		case to != "":
			if hi, err = strconv.Atoi(to); err != nil {
				return nil, fmt.Errorf("bad field list %q", s)
			}
		}
		if part == "" {
			return nil, errors.New("expected a list of fields")
		}
		out = append(out, [2]int{lo, hi})
	}
	return out, nil
}

// tr replaces single characters, or with -d deletes them.
func tr(_ context.Context, p *program.Process) error {
	args := p.Args[1:]
	del := len(args) > 0 && args[0] == "-d"
	if del {
		args = args[1:]
	}
	unescape := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\\`, `\`).Replace
	for i := range args {
		args[i] = trRange(unescape(args[i]))
	}
	if del && len(args) != 1 || !del && (len(args) != 2 || args[1] == "") {
		return exit(1, "usage: tr [-d] STRING1 [STRING2]")
	}
	data, err := io.ReadAll(io.LimitReader(p.Stdin, 64<<20))
	if err != nil {
		return err
	}
	out := strings.Map(func(r rune) rune {
		i := strings.IndexRune(args[0], r)
		switch {
		case i < 0:
			return r
		case del:
			return -1
		case i >= len(args[1]):
			i = len(args[1]) - 1
		}
		return rune(args[1][i])
	}, string(data))
	_, err = io.WriteString(p.Stdout, out)
	return err
}

// trRange spells out a-z.
func trRange(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i] <= s[i+2] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				b.WriteByte(byte(c))
			}
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
