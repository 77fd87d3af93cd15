package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/atoll-dev/atoll/sim/program"
)

// shell is sh with the commands of one image: `sh -c SCRIPT [NAME ARG…]`,
// `sh FILE [ARG…]`, or commands from standard input.
func shell(commands map[string]program.Func) program.Func {
	return func(ctx context.Context, p *program.Process) error {
		args := p.Args[1:]
		var options []string
		for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && !strings.HasSuffix(args[0], "c") {
			if args[0] == "--" {
				args = args[1:]
				break
			}
			switch args[0] {
			case "-l", "-i", "-s", "--login":
			case "-o":
				if len(args) < 2 {
					return exit(2, "sh: -o: option requires an argument")
				}
				options = append(options, "-o", args[1])
				args = args[1:]
			default:
				options = append(options, args[0])
			}
			args = args[1:]
		}
		sh := &interpreter{p: p, image: program.Image{Commands: commands}}
		switch {
		case len(args) > 0 && args[0][0] == '-' && strings.HasSuffix(args[0], "c"):
			for _, f := range strings.TrimSuffix(args[0][1:], "c") {
				if f != 'l' && f != 'i' {
					options = append(options, "-"+string(f))
				}
			}
			if len(args) < 2 {
				return exit(2, "sh: -c requires an argument")
			}
			params := args[2:]
			if len(params) > 0 {
				params = params[1:] // the first is $0
			}
			return sh.script(ctx, strings.NewReader(args[1]), "sh", append(options, append([]string{"--"}, params...)...))
		case len(args) > 0:
			f, err := p.Files.Open(clean(args[0]))
			if err != nil {
				return exit(2, "sh: can't open '%s': No such file or directory", args[0])
			}
			defer f.Close()
			return sh.script(ctx, f, args[0], append(options, append([]string{"--"}, args[1:]...)...))
		case p.TTY:
			return sh.interactive(ctx, options)
		}
		return sh.script(ctx, p.Stdin, "sh", options)
	}
}

// clean makes a path of the container one of Process.Files.
func clean(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

type interpreter struct {
	p     *program.Process
	image program.Image
	stdin io.Reader // of commands that have no other
}

func (s *interpreter) runner(options []string) (*interp.Runner, error) {
	env := s.p.Env
	if s.p.Getenv("HOME") == "" {
		env = append(append([]string(nil), env...), "HOME=/")
	}
	stdin := s.p.Stdin
	if s.stdin != nil {
		stdin = nil
	}
	return interp.New(
		interp.Env(expand.ListEnviron(env...)),
		interp.Dir("/"),
		interp.Params(options...),
		interp.StdIO(stdin, s.p.Stdout, s.p.Stderr),
		// Everything that would reach the machine is answered here instead.
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.ReadDirHandler2(func(_ context.Context, dir string) ([]fs.DirEntry, error) {
			return fs.ReadDir(s.p.Files, clean(dir))
		}),
		interp.StatHandler(func(_ context.Context, name string, _ bool) (fs.FileInfo, error) {
			return fs.Stat(s.p.Files, clean(name))
		}),
		interp.AccessHandler(func(_ context.Context, name string, mode interp.AccessMode) error {
			_, err := fs.Stat(s.p.Files, clean(name))
			return err
		}),
	)
}

// parse refuses what the interpreter would do with named pipes of the machine.
func parse(r io.Reader, name string) (*syntax.File, error) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(io.LimitReader(r, 1<<20), name)
	if err != nil {
		return nil, err
	}
	return f, refuse(f)
}

func refuse(n syntax.Node) (err error) {
	syntax.Walk(n, func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ProcSubst); ok {
			err = fmt.Errorf("%s: process substitution is not supported", p.Pos())
		}
		return err == nil
	})
	return err
}

func (s *interpreter) script(ctx context.Context, r io.Reader, name string, options []string) error {
	file, err := parse(r, name)
	if err != nil {
		return exit(2, "sh: syntax error: %v", err)
	}
	run, err := s.runner(options)
	if err != nil {
		return exit(2, "sh: %v", err)
	}
	return shellExit(ctx, run.Run(ctx, file))
}

func shellExit(ctx context.Context, err error) error {
	var status interp.ExitStatus
	if errors.As(err, &status) {
		if status == 0 {
			return nil
		}
		return &program.ExitError{Code: int(status)}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// interactive reads commands from a terminal, with a prompt.
func (s *interpreter) interactive(ctx context.Context, options []string) error {
	// The interpreter would read ahead for its commands what is meant for the
	// shell; so they get the terminal itself, one after the other.
	s.stdin = s.p.Stdin
	run, err := s.runner(options)
	if err != nil {
		return exit(2, "sh: %v", err)
	}
	prompt := func(text string) { io.WriteString(s.p.Stdout, text) }
	program.OnInterrupt(ctx, func() { prompt("/ # ") })
	prompt("/ # ")
	var last error
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	//nolint:staticcheck // its successor cannot tell an incomplete line from a complete one
	err = parser.Interactive(s.p.Stdin, func(stmts []*syntax.Stmt) bool {
		if parser.Incomplete() {
			prompt("> ")
			return true
		}
		for _, st := range stmts {
			if err := refuse(st); err != nil {
				fmt.Fprintln(s.p.Stderr, "sh:", err)
				break
			}
			foreground, cancel := context.WithCancel(ctx)
			program.OnInterrupt(ctx, cancel)
			last = run.Run(foreground, st)
			interrupted := foreground.Err() != nil
			cancel()
			program.OnInterrupt(ctx, func() { prompt("/ # ") })
			if run.Exited() && !interrupted || ctx.Err() != nil {
				return false
			}
			if interrupted { // the interpreter is spent, and its variables with it
				if run, err = s.runner(options); err != nil {
					return false
				}
				last = nil
				break
			}
		}
		prompt("/ # ")
		return true
	})
	if err != nil && last == nil {
		last = exit(2, "sh: syntax error: %v", err)
	}
	return shellExit(ctx, last)
}

// call answers what looks for commands on the machine's disk.
func (s *interpreter) call(ctx context.Context, args []string) ([]string, error) {
	switch {
	case args[0] == "type" && len(args) > 1, args[0] == "command" && len(args) > 2 && (args[1] == "-v" || args[1] == "-V"):
		names := args[1:]
		if args[0] == "command" {
			names = args[2:]
		}
		for _, n := range names {
			if _, ok := s.image.Lookup(n); ok && !interp.IsBuiltin(n) {
				return append([]string{"which"}, names...), nil
			}
			if !interp.IsBuiltin(n) {
				return append([]string{"which"}, names...), nil
			}
		}
	}
	return args, nil
}

// exec runs a command of the image in a process of its own.
func (s *interpreter) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	prog, ok := s.image.Lookup(args[0])
	if !ok {
		fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", args[0])
		return interp.ExitStatus(127)
	}
	c := child(s.p, args)
	c.Stdin, c.Stdout, c.Stderr = hc.Stdin, hc.Stdout, hc.Stderr
	if c.Stdin == nil {
		if c.Stdin = s.stdin; c.Stdin == nil {
			c.Stdin = strings.NewReader("")
		}
	}
	c.Env = nil
	for name, v := range hc.Env.Each {
		if v.Exported && v.Kind == expand.String {
			c.Env = append(c.Env, name+"="+v.Str)
		}
	}
	var ee *program.ExitError
	err := prog(ctx, c)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ee):
		if ee.Msg != "" {
			fmt.Fprintln(hc.Stderr, ee.Msg)
		}
		return interp.ExitStatus(uint8(ee.Code))
	case ctx.Err() != nil:
		return ctx.Err()
	}
	fmt.Fprintf(hc.Stderr, "%s: %v\n", args[0], err)
	return interp.ExitStatus(1)
}

// open answers redirections.
func (s *interpreter) open(ctx context.Context, name string, flag int, _ fs.FileMode) (io.ReadWriteCloser, error) {
	if !path.IsAbs(name) {
		name = path.Join(interp.HandlerCtx(ctx).Dir, name)
	}
	switch name {
	case "/dev/null":
		return nowhere{}, nil
	case "/dev/stdout":
		return passOn{interp.HandlerCtx(ctx).Stdout}, nil
	case "/dev/stderr":
		return passOn{interp.HandlerCtx(ctx).Stderr}, nil
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		f, err := s.p.Files.Open(clean(name))
		if err != nil {
			return nil, err
		}
		return readFile{f}, nil
	}
	w := &writtenFile{files: s.p.Files, name: clean(name)}
	// As open(2) does: the file is there, and empty unless appended to, before
	// anything is written.
	return w, program.WriteFile(s.p.Files, w.name, nil, flag&os.O_APPEND != 0)
}

type nowhere struct{}

func (nowhere) Read([]byte) (int, error)    { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

type passOn struct{ io.Writer }

func (passOn) Read([]byte) (int, error) { return 0, io.EOF }
func (passOn) Close() error             { return nil }

type readFile struct{ fs.File }

func (readFile) Write([]byte) (int, error) { return 0, fs.ErrPermission }

type writtenFile struct {
	files fs.FS
	name  string
}

func (w *writtenFile) Read([]byte) (int, error) { return 0, fs.ErrPermission }
func (w *writtenFile) Close() error             { return nil }
func (w *writtenFile) Write(p []byte) (int, error) {
	if err := program.WriteFile(w.files, w.name, p, true); err != nil {
		return 0, err
	}
	return len(p), nil
}

// pause waits for the end of a context or of a time.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
