package reports

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

var epoch = time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC)

// story is what a run says of itself.
func story() []lab.Event {
	at := func(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }
	return []lab.Event{
		{Time: at(0), Step: "control plane", Subject: "eu", Status: lab.Started},
		{Time: at(0), Step: "control plane", Subject: "us", Status: lab.Started},
		{Time: at(1), Step: "control plane", Subject: "eu", Status: lab.Progress, Detail: "waiting for /readyz"},
		{Time: at(2.5), Step: "control plane", Subject: "us", Status: lab.Done, Elapsed: 2500 * time.Millisecond},
		{Time: at(12), Step: "control plane", Subject: "eu", Status: lab.Progress, Detail: "still\nwaiting for /readyz"},
		{Time: at(13), Step: "control plane", Subject: "eu", Status: lab.Progress, Detail: "too soon to be told again"},
		{Time: at(14), Step: "control plane", Subject: "eu", Status: lab.Failed, Detail: "kube-apiserver exited 1; logs: eu/kube-apiserver.log", Elapsed: 14 * time.Second},
		{Time: at(14), Step: "down", Status: lab.Started},
	}
}

func TestPlain(t *testing.T) {
	var b strings.Builder
	sink, stop := Plain(&b)
	for _, e := range story() {
		sink(e)
	}
	stop()
	stop() // twice says nothing twice
	golden(t, "plain.txt", b.String())
}

func TestJSONStream(t *testing.T) {
	var b strings.Builder
	sink, stop := JSON(&b)
	for _, e := range story() {
		sink(e)
	}
	stop()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != len(story()) {
		t.Fatalf("%d lines of %d events", len(lines), len(story()))
	}
	var e struct {
		Step, Subject, Status, Detail string
		ElapsedSeconds                float64
	}
	if err := json.Unmarshal([]byte(lines[6]), &e); err != nil {
		t.Fatal(err)
	}
	if e.Step != "control plane" || e.Subject != "eu" || e.Status != "failed" || e.ElapsedSeconds != 14 {
		t.Errorf("%+v", e)
	}
}

// screen is as much of a terminal as the renderer uses.
type screen struct {
	lines  []string
	row    int
	cursor bool
}

var control = regexp.MustCompile("\x1b\\[(\\??[0-9;]*)([A-Za-z])")

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		if m := control.FindStringSubmatchIndex(text); m != nil && m[0] == 0 {
			arg, final := text[m[2]:m[3]], text[m[4]:m[5]]
			switch {
			case final == "A":
				up := 0
				_, _ = fmt.Sscan(arg, &up)
				s.row -= up
			case final == "J":
				s.lines = s.lines[:s.row]
			case arg+final == "?25l":
				s.cursor = false
			case arg+final == "?25h":
				s.cursor = true
			}
			text = text[m[1]:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\r':
		case '\n':
			s.row++
		default:
			for len(s.lines) <= s.row {
				s.lines = append(s.lines, "")
			}
			s.lines[s.row] += string(r)
		}
	}
	return len(p), nil
}

func TestTerminal(t *testing.T) {
	s := &screen{cursor: true}
	now := epoch
	term := newTerminal(s, 80, func() time.Time { return now })
	var seen strings.Builder
	for _, e := range story() {
		now = e.Time
		term.event(e)
		term.draw()
		fmt.Fprintf(&seen, "--- at %s\n%s\n", now.Sub(epoch), strings.Join(s.lines, "\n"))
		for _, line := range s.lines {
			if n := len([]rune(line)); n > 80 && !strings.Contains(line, "✗") {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
	if s.cursor {
		t.Error("the cursor is not hidden while lines are redrawn")
	}
	term.finish()
	fmt.Fprintf(&seen, "--- at the end\n%s\n", strings.Join(s.lines, "\n"))
	if !s.cursor {
		t.Error("the cursor is not shown again")
	}
	golden(t, "terminal.txt", seen.String())
}

func TestTerminalStaysInBounds(t *testing.T) {
	s := &screen{}
	term := newTerminal(s, 80, func() time.Time { return epoch })
	for i := range 100 {
		term.event(lab.Event{Time: epoch, Step: "control plane", Subject: fmt.Sprintf("c%d", i), Status: lab.Started})
	}
	term.draw()
	if len(s.lines) != maxLive {
		t.Errorf("%d lines at once", len(s.lines))
	}
	if last := s.lines[len(s.lines)-1]; !strings.Contains(last, "and 89 more") {
		t.Error(last)
	}
}

func TestSinksAreConcurrent(t *testing.T) {
	for name, open := range map[string]func(w *screen) (lab.Sink, func()){
		"plain":    func(w *screen) (lab.Sink, func()) { return Plain(w) },
		"json":     func(w *screen) (lab.Sink, func()) { return JSON(w) },
		"terminal": func(w *screen) (lab.Sink, func()) { return Terminal(w, 80) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &screen{}
			sink, stop := open(s)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for _, e := range story() {
						sink(e)
					}
				})
			}
			wg.Wait()
			stop()
			if len(s.lines) == 0 {
				t.Error("nothing was written")
			}
		})
	}
}
