package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// Terminal renders events on a terminal of that many columns: a line per
// step, those that run with a spinner, the time so far and the last detail.
// Stop leaves the cursor below the last line.
func Terminal(w io.Writer, columns int) (sink lab.Sink, stop func()) {
	t := newTerminal(w, columns, time.Now)
	ticker := time.NewTicker(100 * time.Millisecond)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
			case <-t.wake:
			}
			t.draw()
		}
	}()
	return t.event, sync.OnceFunc(func() {
		close(quit)
		<-done
		t.finish()
	})
}

// maxLive is how many running steps are shown at once; it keeps the live part
// within the height of any terminal.
const maxLive = 12

// Terminal control sequences.
const (
	clearDown  = "\x1b[J"
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	green      = "\x1b[32m"
	red        = "\x1b[31m"
	yellow     = "\x1b[33m"
	cyan       = "\x1b[36m"
	dim        = "\x1b[2m"
	bold       = "\x1b[1m"
	reset      = "\x1b[0m"
)

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

type terminal struct {
	w       io.Writer
	columns int
	now     func() time.Time
	wake    chan struct{} // a step ended

	mu      sync.Mutex
	ended   []string // lines that stay
	running []*live
	lines   int // of the live part, on the screen
	frame   int
	hidden  bool
}

type live struct {
	step
	since  time.Time
	detail string
}

func newTerminal(w io.Writer, columns int, now func() time.Time) *terminal {
	return &terminal{w: w, columns: max(columns, 40), now: now, wake: make(chan struct{}, 1)}
}

func (t *terminal) event(e lab.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := stepOf(e)
	i := slices.IndexFunc(t.running, func(l *live) bool { return l.step == s })
	switch e.Status {
	case lab.Started, lab.Progress:
		if i < 0 {
			t.running = append(t.running, &live{step: s, since: e.Time})
			i = len(t.running) - 1
		}
		t.running[i].detail = oneLine(e.Detail)
	case lab.Done, lab.Failed:
		if i >= 0 {
			t.running = slices.Delete(t.running, i, i+1)
		}
		mark, color := "✓", green
		if e.Status == lab.Failed {
			mark, color = "✗", red
		}
		t.ended = append(t.ended, t.row(color+mark+reset, s, e.Elapsed, oneLine(e.Detail), e.Status == lab.Failed))
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// nameWidth is the column in which the steps' names stand.
const nameWidth = 34

// row is one line: mark, name, time, detail, cut to the terminal's width. The
// detail of a failure is not cut: it is what one looks for.
func (t *terminal) row(mark string, s step, elapsed time.Duration, detail string, whole bool) string {
	name := s.name
	if s.subject != "" {
		name += " " + s.subject
	}
	pad := max(nameWidth-len([]rune(name)), 1)
	seconds := fmt.Sprintf("%7s", short(elapsed))
	used := 3 + len([]rune(name)) + pad + len([]rune(seconds)) + 2
	if !whole {
		detail = cut(detail, t.columns-used-1)
	}
	if s.subject != "" {
		name = s.name + " " + cyan + s.subject + reset
	}
	if detail != "" {
		style := dim
		if whole {
			style = red
		}
		detail = "  " + style + detail + reset
	}
	return fmt.Sprintf(" %s %s%s%s%s%s%s", mark, name, strings.Repeat(" ", pad), dim, seconds, reset, detail)
}

// draw puts what has ended above the live part, and the live part anew.
func (t *terminal) draw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ended) == 0 && len(t.running) == 0 && t.lines == 0 {
		return
	}
	t.frame++
	var b strings.Builder
	if !t.hidden {
		b.WriteString(hideCursor)
		t.hidden = true
	}
	t.erase(&b)
	t.flush(&b)
	for i, l := range t.running {
		if i == maxLive-1 && len(t.running) > maxLive {
			fmt.Fprintf(&b, "   %sand %d more%s\n", dim, len(t.running)-i, reset)
			t.lines++
			break
		}
		b.WriteString(t.row(cyan+spinner[t.frame%len(spinner)]+reset, l.step, t.now().Sub(l.since), l.detail, false))
		b.WriteByte('\n')
		t.lines++
	}
	_, _ = io.WriteString(t.w, b.String())
}

// erase takes the live part off the screen.
func (t *terminal) erase(b *strings.Builder) {
	if t.lines > 0 {
		fmt.Fprintf(b, "\x1b[%dA", t.lines)
	}
	b.WriteString("\r" + clearDown)
	t.lines = 0
}

func (t *terminal) flush(b *strings.Builder) {
	for _, line := range t.ended {
		b.WriteString(line + "\n")
	}
	t.ended = nil
}

func (t *terminal) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	t.erase(&b)
	t.flush(&b)
	for _, l := range t.running {
		b.WriteString(t.row(yellow+"–"+reset, l.step, t.now().Sub(l.since), "not ended", false) + "\n")
	}
	t.running = nil
	if t.hidden {
		b.WriteString(showCursor)
	}
	_, _ = io.WriteString(t.w, b.String())
}
