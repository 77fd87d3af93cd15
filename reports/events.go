package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// step is what events are about: the same text twice at once is one step.
type step struct{ name, subject string }

func stepOf(e lab.Event) step { return step{e.Step, e.Subject} }

func (s step) String() string {
	if s.subject == "" {
		return s.name
	}
	return s.name + " " + s.subject
}

// progressEvery is how often Plain tells of progress within one step.
const progressEvery = 10 * time.Second

// Plain renders events for logs: a line for each step that ends, and now and
// then one for a step that takes long. Stop tells which steps did not end.
func Plain(w io.Writer) (sink lab.Sink, stop func()) {
	p := &plain{w: w, running: map[step]time.Time{}, told: map[step]time.Time{}}
	return p.event, p.stop
}

type plain struct {
	mu      sync.Mutex
	w       io.Writer
	first   time.Time
	last    time.Time
	order   []step
	running map[step]time.Time // since when
	told    map[step]time.Time
}

func (p *plain) event(e lab.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first.IsZero() {
		p.first = e.Time
	}
	p.last = e.Time
	s := stepOf(e)
	switch e.Status {
	case lab.Started:
		if _, again := p.running[s]; !again {
			p.order = append(p.order, s)
		}
		p.running[s], p.told[s] = e.Time, e.Time
	case lab.Progress:
		if e.Detail == "" || e.Time.Sub(p.told[s]) < progressEvery {
			return
		}
		p.told[s] = e.Time
		p.line(e.Time, "...", s, e.Detail, 0)
	case lab.Done:
		p.end(s)
		p.line(e.Time, "ok", s, e.Detail, e.Elapsed)
	case lab.Failed:
		p.end(s)
		p.line(e.Time, "FAILED", s, e.Detail, e.Elapsed)
	}
}

func (p *plain) end(s step) {
	delete(p.running, s)
	delete(p.told, s)
}

func (p *plain) line(at time.Time, verdict string, s step, detail string, elapsed time.Duration) {
	line := fmt.Sprintf("[%6.1fs] %-6s %s", at.Sub(p.first).Seconds(), verdict, s)
	if elapsed > 0 {
		line += fmt.Sprintf(" (%s)", short(elapsed))
	}
	if detail != "" {
		line += ": " + oneLine(detail)
	}
	_, _ = fmt.Fprintln(p.w, line) // progress that cannot be shown stops nothing
}

func (p *plain) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.order {
		if since, ok := p.running[s]; ok {
			p.line(p.last, "left", s, fmt.Sprintf("not ended when the run was, after %s", short(p.last.Sub(since))), 0)
			p.end(s)
		}
	}
}

// JSON renders events one per line, as they are.
func JSON(w io.Writer) (sink lab.Sink, stop func()) {
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	return func(e lab.Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(jsonEvent{
			Time: e.Time, Step: e.Step, Subject: e.Subject, Status: e.Status,
			Detail: e.Detail, ElapsedSeconds: e.Elapsed.Seconds(),
		})
	}, func() {}
}

// jsonEvent is one line of the JSON stream.
type jsonEvent struct {
	Time           time.Time  `json:"time"`
	Step           string     `json:"step"`
	Subject        string     `json:"subject,omitempty"`
	Status         lab.Status `json:"status"`
	Detail         string     `json:"detail,omitempty"`
	ElapsedSeconds float64    `json:"elapsedSeconds,omitempty"`
}

// Quiet swallows events.
func Quiet() (sink lab.Sink, stop func()) { return func(lab.Event) {}, func() {} }
