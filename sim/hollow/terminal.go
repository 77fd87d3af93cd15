package hollow

import (
	"bytes"
	"io"
	"sync"
)

// terminal is the line discipline of a pseudo terminal: what is typed is
// echoed and handed on line by line, Ctrl-C interrupts, Ctrl-D ends the input,
// and every newline of the output starts at the left.
type terminal struct {
	in        io.Reader
	out       io.Writer
	interrupt func()

	mu    sync.Mutex // of out
	line  []byte     // being typed
	ready []byte     // typed
	eof   bool
}

func newTerminal(in io.Reader, out io.Writer, interrupt func()) *terminal {
	if in == nil {
		in = eof{}
	}
	return &terminal{in: in, out: out, interrupt: interrupt}
}

// maxLine is as much as a terminal takes before a newline.
const maxLine = 4096

// Read implements io.Reader for the program's standard input.
func (t *terminal) Read(p []byte) (int, error) {
	buf := make([]byte, 256)
	for len(t.ready) == 0 {
		if t.eof {
			return 0, io.EOF
		}
		n, err := t.in.Read(buf)
		for _, b := range buf[:n] {
			t.typed(b)
		}
		if err != nil {
			t.ready, t.line, t.eof = append(t.ready, t.line...), nil, true
		}
	}
	n := copy(p, t.ready)
	t.ready = t.ready[n:]
	return n, nil
}

func (t *terminal) typed(b byte) {
	switch {
	case b == '\r' || b == '\n':
		t.echo("\r\n")
		t.ready = append(append(t.ready, t.line...), '\n')
		t.line = nil
	case b == 0x7f || b == '\b':
		if len(t.line) > 0 {
			t.line = t.line[:len(t.line)-1]
			t.echo("\b \b")
		}
	case b == 0x03: // Ctrl-C
		t.echo("^C\r\n")
		t.line = nil
		t.interrupt()
	case b == 0x04: // Ctrl-D
		if len(t.line) == 0 {
			t.eof = true
		} else {
			t.ready, t.line = append(t.ready, t.line...), nil
		}
	case b == 0x15: // Ctrl-U
		t.echo(string(bytes.Repeat([]byte("\b \b"), len(t.line))))
		t.line = nil
	case b >= 0x20 || b == '\t':
		if len(t.line) < maxLine {
			t.line = append(t.line, b)
			t.echo(string(b))
		}
	}
}

func (t *terminal) echo(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.out, s)
}

func (t *terminal) output() io.Writer { return terminalOutput{t} }

type terminalOutput struct{ t *terminal }

func (o terminalOutput) Write(p []byte) (int, error) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if _, err := o.t.out.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}
