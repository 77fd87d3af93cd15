package hollow

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
)

// terminal is the line discipline of a pseudo terminal: what is typed is
// echoed and handed on line by line, Ctrl-C interrupts, Ctrl-D ends the input,
// and every newline of the output starts at the left.
type terminal struct {
	out    io.Writer
	hangUp func()

	mu        sync.Mutex
	more      *sync.Cond
	line      []byte // being typed
	ready     []byte // typed
	eof       bool   // gone
	end       bool   // Ctrl-D: the next read finds an end, the one after it goes on
	interrupt func()

	screen sync.Mutex // guards out
}

// Bounds of what is typed ahead, and how long a program may go on after its
// terminal is gone.
const (
	maxLine      = 4096
	maxTyped     = 64 << 10
	hangUpPeriod = 2 * time.Second
)

// newTerminal reads what is typed from in until its end, which means that the
// terminal is gone: then hangUp is called, as on Ctrl-C unless OnInterrupt
// says otherwise. The context is the program's, from ctx.
func newTerminal(ctx context.Context, in io.Reader, out io.Writer, hangUp func()) (context.Context, *terminal) {
	ctx, interrupt := program.Interruptible(ctx, hangUp)
	t := &terminal{out: out, hangUp: hangUp, interrupt: interrupt}
	t.more = sync.NewCond(&t.mu)
	if in == nil {
		t.eof = true
		return ctx, t
	}
	go t.pump(in)
	return ctx, t
}

func (t *terminal) pump(in io.Reader) {
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		for _, b := range buf[:n] {
			t.typed(b)
		}
		if err != nil {
			break
		}
	}
	t.mu.Lock()
	t.ready, t.line, t.eof = append(t.ready, t.line...), nil, true
	t.more.Broadcast()
	t.mu.Unlock()
	time.AfterFunc(hangUpPeriod, t.hangUp)
}

// Read implements io.Reader for the program's standard input.
func (t *terminal) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.ready) == 0 {
		if t.eof || t.end {
			t.end = false
			return 0, io.EOF
		}
		t.more.Wait()
	}
	n := copy(p, t.ready)
	t.ready = t.ready[n:]
	return n, nil
}

// typed takes one key.
func (t *terminal) typed(b byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.more.Broadcast()
	switch {
	case b == '\r' || b == '\n':
		t.echo("\r\n")
		if len(t.ready) < maxTyped {
			t.ready = append(append(t.ready, t.line...), '\n')
		}
		t.line = nil
	case b == 0x7f || b == '\b':
		if len(t.line) > 0 {
			t.line = t.line[:len(t.line)-1]
			t.echo("\b \b")
		}
	case b == 0x03: // Ctrl-C
		t.echo("^C\r\n")
		t.line = nil
		go t.interrupt()
	case b == 0x04: // Ctrl-D
		if len(t.line) == 0 {
			t.end = true
		}
		t.ready, t.line = append(t.ready, t.line...), nil
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
	t.screen.Lock()
	defer t.screen.Unlock()
	io.WriteString(t.out, s)
}

func (t *terminal) output() io.Writer { return terminalOutput{t} }

type terminalOutput struct{ t *terminal }

func (o terminalOutput) Write(p []byte) (int, error) {
	o.t.screen.Lock()
	defer o.t.screen.Unlock()
	if _, err := o.t.out.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}
