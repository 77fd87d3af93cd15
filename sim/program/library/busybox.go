package library

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// busybox are the small commands, each with the options that scripts use.
var busybox = map[string]program.Func{
	"awk": awk, "basename": basename, "cat": cat, "cut": cut, "date": date, "dirname": dirname, "echo": echo,
	"env": env, "false": fails, "grep": grep, "head": head, "hostname": hostname, "id": id,
	"ls": ls, "mkdir": mkdir, "nc": netcat, "nslookup": nslookup, "printenv": printenv, "printf": printf,
	"pwd": pwd, "rm": rm, "seq": seq, "sleep": sleepFor, "sort": sortLines, "tail": tail, "tee": tee,
	"touch": touch, "tr": tr, "true": succeeds, "uname": uname, "uniq": uniq, "wc": wc,
	"wget": Wget, "which": which, "whoami": whoami, "yes": yes,
}

func succeeds(context.Context, *program.Process) error { return nil }
func fails(context.Context, *program.Process) error    { return &program.ExitError{Code: 1} }

// Pause waits until it is told to end, and ends well.
func Pause(ctx context.Context, _ *program.Process) error {
	<-ctx.Done()
	return nil
}

func echo(_ context.Context, p *program.Process) error {
	args := p.Args[1:]
	end := "\n"
	for len(args) > 0 && (args[0] == "-n" || args[0] == "-e" || args[0] == "-ne" || args[0] == "-en") {
		if strings.Contains(args[0], "n") {
			end = ""
		}
		args = args[1:]
	}
	_, err := io.WriteString(p.Stdout, strings.Join(args, " ")+end)
	return err
}

func printf(_ context.Context, p *program.Process) error {
	if len(p.Args) < 2 {
		return exit(1, "usage: printf FORMAT [ARG]...")
	}
	f := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`).Replace(p.Args[1])
	args := p.Args[2:]
	out := regexp.MustCompile(`%[sd%]`).ReplaceAllStringFunc(f, func(v string) string {
		if v == "%%" {
			return "%"
		}
		if len(args) == 0 {
			return ""
		}
		a := args[0]
		args = args[1:]
		return a
	})
	_, err := io.WriteString(p.Stdout, out)
	return err
}

// sleepFor takes seconds, a unit (s, m, h, d) or "infinity"; several add up.
func sleepFor(ctx context.Context, p *program.Process) error {
	if len(p.Args) < 2 {
		return exit(1, "sleep: missing operand")
	}
	var total time.Duration
	for _, a := range p.Args[1:] {
		if a == "infinity" || a == "inf" {
			<-ctx.Done()
			return ctx.Err()
		}
		unit := time.Second
		num := a
		if n := len(a); n > 0 {
			if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[a[n-1]]; ok {
				unit, num = u, a[:n-1]
			}
		}
		f, err := strconv.ParseFloat(num, 64)
		if err != nil || f < 0 || f > 1e9 {
			return exit(1, "sleep: invalid number '%s'", a)
		}
		total += time.Duration(f * float64(unit))
	}
	return pause(ctx, total)
}

func env(ctx context.Context, p *program.Process) error {
	if len(p.Args) > 1 {
		return exit(125, "env: running a command is not supported; use sh -c 'NAME=VALUE command'")
	}
	return printEnv(p)
}

func printEnv(p *program.Process) error {
	for _, e := range p.Env {
		if _, err := fmt.Fprintln(p.Stdout, e); err != nil {
			return err
		}
	}
	return nil
}

func printenv(_ context.Context, p *program.Process) error {
	if len(p.Args) == 1 {
		return printEnv(p)
	}
	missing := false
	for _, name := range p.Args[1:] {
		found := false
		for _, e := range p.Env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				fmt.Fprintln(p.Stdout, v)
				found = true
			}
		}
		missing = missing || !found
	}
	if missing {
		return &program.ExitError{Code: 1}
	}
	return nil
}

// inputs calls do with each named file, or with standard input.
func inputs(p *program.Process, names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	failed := false
	for _, n := range names {
		if n == "-" {
			if err := do("", p.Stdin); err != nil {
				return err
			}
			continue
		}
		f, err := p.Files.Open(clean(n))
		if err == nil {
			err = do(n, f)
			f.Close()
		}
		if err != nil {
			fmt.Fprintf(p.Stderr, "%s: %s\n", p.Args[0], fileError(n, err))
			failed = true
		}
	}
	if failed {
		return &program.ExitError{Code: 1}
	}
	return nil
}

func fileError(name string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("can't open '%s': No such file or directory", name)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Sprintf("%s: %v", name, err)
}

func cat(_ context.Context, p *program.Process) error {
	return inputs(p, operands(p.Args[1:]), func(_ string, r io.Reader) error {
		_, err := io.Copy(p.Stdout, r)
		return err
	})
}

// operands are the arguments that are no options.
func operands(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i+1:]...)
		}
		if len(a) > 1 && a[0] == '-' {
			continue
		}
		out = append(out, a)
	}
	return out
}

// eachLine calls do with every line; do returns false to stop.
func eachLine(r io.Reader, do func(line string) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 1<<20)
	for s.Scan() {
		if !do(s.Text()) {
			return nil
		}
	}
	return s.Err()
}

func hostname(_ context.Context, p *program.Process) error {
	data, err := fs.ReadFile(p.Files, "etc/hostname")
	name := strings.TrimSpace(string(data))
	if err != nil || name == "" {
		name = p.Getenv("HOSTNAME")
	}
	if len(p.Args) > 1 && p.Args[1] == "-i" {
		addrs, err := p.LookupHost(context.Background(), name)
		if err != nil || len(addrs) == 0 {
			return exit(1, "hostname: %s: Unknown host", name)
		}
		name = addrs[0].String()
	}
	_, err = fmt.Fprintln(p.Stdout, name)
	return err
}

func date(_ context.Context, p *program.Process) error {
	now := time.Now().UTC()
	for _, a := range p.Args[1:] {
		if f, ok := strings.CutPrefix(a, "+"); ok {
			out := strings.NewReplacer("%s", strconv.FormatInt(now.Unix(), 10), "%N", fmt.Sprintf("%09d", now.Nanosecond()),
				"%Y", now.Format("2006"), "%m", now.Format("01"), "%d", now.Format("02"),
				"%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"),
				"%T", now.Format("15:04:05"), "%F", now.Format("2006-01-02")).Replace(f)
			_, err := fmt.Fprintln(p.Stdout, out)
			return err
		}
	}
	_, err := fmt.Fprintln(p.Stdout, now.Format("Mon Jan _2 15:04:05 UTC 2006"))
	return err
}

// named is an id with its name, of which the images know root's alone.
func named(id int) string {
	if id == 0 {
		return "0(root)"
	}
	return strconv.Itoa(id)
}

func id(_ context.Context, p *program.Process) error {
	text := fmt.Sprintf("uid=%s gid=%s groups=%s", named(p.UID), named(p.GID), named(p.GID))
	if len(p.Args) > 1 {
		switch p.Args[1] {
		case "-u":
			text = strconv.Itoa(p.UID)
		case "-g":
			text = strconv.Itoa(p.GID)
		}
	}
	_, err := fmt.Fprintln(p.Stdout, text)
	return err
}

func whoami(_ context.Context, p *program.Process) error {
	if p.UID != 0 {
		return exit(1, "whoami: unknown uid %d", p.UID)
	}
	_, err := fmt.Fprintln(p.Stdout, "root")
	return err
}

func uname(_ context.Context, p *program.Process) error {
	if len(p.Args) > 1 && p.Args[1] == "-a" {
		_, err := fmt.Fprintf(p.Stdout, "Linux %s atoll %s\n", p.Getenv("HOSTNAME"), runtime.GOARCH)
		return err
	}
	_, err := fmt.Fprintln(p.Stdout, "Linux")
	return err
}

func pwd(_ context.Context, p *program.Process) error {
	_, err := fmt.Fprintln(p.Stdout, "/")
	return err
}

func basename(_ context.Context, p *program.Process) error {
	if len(p.Args) < 2 {
		return exit(1, "usage: basename FILE [SUFFIX]")
	}
	b := path.Base(p.Args[1])
	if len(p.Args) > 2 {
		b = strings.TrimSuffix(b, p.Args[2])
	}
	_, err := fmt.Fprintln(p.Stdout, b)
	return err
}

func dirname(_ context.Context, p *program.Process) error {
	if len(p.Args) < 2 {
		return exit(1, "usage: dirname FILE")
	}
	_, err := fmt.Fprintln(p.Stdout, path.Dir(p.Args[1]))
	return err
}

func yes(ctx context.Context, p *program.Process) error {
	for ctx.Err() == nil {
		if _, err := io.WriteString(p.Stdout, "y\n"); err != nil {
			return nil
		}
	}
	return ctx.Err()
}

// which names a command's place, as far as a hollow container has one. The
// shell sends `command -v` and `type` here.
func which(_ context.Context, p *program.Process) error {
	missing := false
	for _, n := range operands(p.Args[1:]) {
		if _, err := fs.Stat(p.Files, clean("/bin/"+path.Base(n))); err != nil {
			missing = true
			continue
		}
		fmt.Fprintln(p.Stdout, "/bin/"+path.Base(n))
	}
	if missing {
		return &program.ExitError{Code: 1}
	}
	return nil
}
