package suites

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// readyWord is what a script says on standard error when it runs.
const readyWord = "ready"

// startLine lets scripts that run in containers begin at once: each says that
// it is there and waits for a line, which all get when the last has arrived.
type startLine struct {
	arrived sync.WaitGroup
	shot    chan struct{}
}

func newStartLine(runners int) *startLine {
	l := &startLine{shot: make(chan struct{})}
	l.arrived.Add(runners)
	go func() {
		l.arrived.Wait()
		close(l.shot)
	}()
	return l
}

// starter is one script: its standard input and its standard error.
type starter struct {
	line *startLine
	once sync.Once

	mu   sync.Mutex
	text bytes.Buffer
	gone bool // its line has been read
}

func (l *startLine) starter() *starter { return &starter{line: l} }

// arrive is called when the script has said that it is there, or never will.
func (r *starter) arrive() { r.once.Do(r.line.arrived.Done) }

// Write takes what the script says.
func (r *starter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	if bytes.HasPrefix(r.text.Bytes(), []byte(readyWord+"\n")) {
		r.arrive()
	}
	return len(p), nil
}

// Read gives the script its line, and then an end.
func (r *starter) Read(p []byte) (int, error) {
	<-r.line.shot
	if r.gone || len(p) == 0 {
		return 0, io.EOF
	}
	r.gone = true
	p[0] = '\n'
	return 1, nil
}

// said is what the script has complained of.
func (r *starter) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.TrimPrefix(r.text.String(), readyWord+"\n")
}
