package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/atoll-dev/atoll/sim/program"
)

func ls(_ context.Context, p *program.Process) error {
	names := operands(p.Args[1:])
	if len(names) == 0 {
		names = []string{"."}
	}
	failed := false
	for _, n := range names {
		info, err := fs.Stat(p.Files, clean(n))
		if err != nil {
			fmt.Fprintf(p.Stderr, "ls: %s: No such file or directory\n", n)
			failed = true
			continue
		}
		if !info.IsDir() {
			fmt.Fprintln(p.Stdout, n)
			continue
		}
		entries, err := fs.ReadDir(p.Files, clean(n))
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Fprintln(p.Stdout, e.Name())
		}
	}
	if failed {
		return &program.ExitError{Code: 1}
	}
	return nil
}

// change runs do on each operand and reports what went wrong.
func change(p *program.Process, do func(w program.Writable, name string) error) error {
	w, ok := p.Files.(program.Writable)
	if !ok {
		return exit(1, "%s: read-only file system", p.Args[0])
	}
	failed := false
	for _, n := range operands(p.Args[1:]) {
		if err := do(w, clean(n)); err != nil {
			fmt.Fprintf(p.Stderr, "%s: %s\n", p.Args[0], fileError(n, err))
			failed = true
		}
	}
	if failed {
		return &program.ExitError{Code: 1}
	}
	return nil
}

func mkdir(_ context.Context, p *program.Process) error {
	parents := false
	for _, a := range p.Args[1:] {
		parents = parents || a == "-p"
	}
	return change(p, func(w program.Writable, name string) error {
		err := w.Mkdir(name)
		if parents && errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
}

func touch(_ context.Context, p *program.Process) error {
	return change(p, func(w program.Writable, name string) error { return w.WriteFile(name, nil, true) })
}

func rm(_ context.Context, p *program.Process) error {
	force, deep := false, false
	for _, a := range p.Args[1:] {
		if len(a) > 1 && a[0] == '-' {
			force, deep = force || strings.Contains(a, "f"), deep || strings.ContainsAny(a, "rR")
		}
	}
	return change(p, func(w program.Writable, name string) error {
		err := remove(w, name, deep)
		if force && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func remove(w program.Writable, name string, deep bool) error {
	if deep {
		entries, err := fs.ReadDir(w, name)
		if err == nil {
			for _, e := range entries {
				if err := remove(w, name+"/"+e.Name(), true); err != nil {
					return err
				}
			}
		}
	}
	return w.Remove(name)
}

func tee(_ context.Context, p *program.Process) error {
	names := operands(p.Args[1:])
	adding := len(p.Args) > 1 && p.Args[1] == "-a"
	for _, n := range names {
		if err := program.WriteFile(p.Files, clean(n), nil, adding); err != nil {
			return exit(1, "tee: %s", fileError(n, err))
		}
	}
	buf := make([]byte, 4096)
	for {
		n, err := p.Stdin.Read(buf)
		if n > 0 {
			_, _ = p.Stdout.Write(buf[:n])
			for _, name := range names {
				if err := program.WriteFile(p.Files, clean(name), buf[:n], true); err != nil {
					return exit(1, "tee: %s", fileError(name, err))
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
