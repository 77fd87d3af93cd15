package hollow

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"
)

// Bounds of a container's log: what is older is forgotten, and a line without
// an end is cut, as a container runtime does.
const (
	logBytes    = 256 << 10
	logLineSize = 16 << 10
)

type logLine struct {
	at   time.Time
	text []byte // with its newline, if it had one
}

// containerLog keeps the latest lines of one run of a container.
type containerLog struct {
	mu      sync.Mutex
	lines   []logLine
	first   int // number of lines[0] since the start
	bytes   int
	partial [2][]byte     // unfinished lines of stdout and stderr
	more    chan struct{} // closed and replaced when lines arrive
	ended   bool
}

func newContainerLog() *containerLog { return &containerLog{more: make(chan struct{})} }

// writer returns stdout (0) or stderr (1).
func (l *containerLog) writer(stream int) io.Writer { return logWriter{l, stream} }

type logWriter struct {
	log    *containerLog
	stream int
}

func (w logWriter) Write(p []byte) (int, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, io.ErrClosedPipe
	}
	l.partial[w.stream] = append(l.partial[w.stream], p...)
	l.cut(w.stream, false)
	return len(p), nil
}

// cut moves whole lines out of a partial buffer; with all set, the rest too.
func (l *containerLog) cut(stream int, all bool) {
	buf := l.partial[stream]
	now, added := time.Now(), false
	for len(buf) > 0 {
		n := bytes.IndexByte(buf, '\n') + 1
		if n == 0 && len(buf) >= logLineSize {
			n = logLineSize
		}
		if n == 0 && all {
			n = len(buf)
		}
		if n == 0 {
			break
		}
		l.lines = append(l.lines, logLine{now, bytes.Clone(buf[:n])})
		l.bytes += n
		buf, added = buf[n:], true
	}
	if len(buf) == 0 {
		buf = nil
	}
	l.partial[stream] = buf
	drop := 0
	// A quarter more than the bound is let in before it is cut down, so that
	// not every line of a full log moves all others.
	full := l.bytes > logBytes*5/4
	for full && l.bytes > logBytes && drop < len(l.lines)-1 {
		l.bytes -= len(l.lines[drop].text)
		drop++
	}
	if drop > 0 {
		l.lines, l.first = append([]logLine(nil), l.lines[drop:]...), l.first+drop
	}
	if added {
		close(l.more)
		l.more = make(chan struct{})
	}
}

// end closes the log: writers fail from then on, followers finish.
func (l *containerLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.cut(0, true)
	l.cut(1, true)
	l.ended = true
	close(l.more)
}

// tail returns the last lines, at most max bytes of them: the termination
// message of a container that asks for its log.
func (l *containerLog) tail(lines, max int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := len(l.lines) - lines
	if from < 0 {
		from = 0
	}
	var b []byte
	for _, line := range l.lines[from:] {
		b = append(b, line.text...)
	}
	if len(b) > max {
		b = b[len(b)-max:]
	}
	return string(b)
}

// logOptions are those of `kubectl logs`.
type logOptions struct {
	follow     bool
	timestamps bool
	tail       int // -1 is all
	since      time.Time
	limit      int64 // bytes; -1 is unlimited
}

// copy writes the log to w until its end, or with follow until the
// container's; flush is called when there is nothing more for now.
func (l *containerLog) copy(ctx context.Context, w io.Writer, o logOptions, flush func()) error {
	l.mu.Lock()
	next := l.first
	if o.tail >= 0 && len(l.lines) > o.tail {
		next = l.first + len(l.lines) - o.tail
	}
	left := o.limit
	for {
		if next < l.first {
			next = l.first
		}
		batch := l.lines[next-l.first:]
		next += len(batch)
		more, ended := l.more, l.ended
		l.mu.Unlock()
		for _, line := range batch {
			if line.at.Before(o.since) {
				continue
			}
			text := line.text
			if o.timestamps {
				text = append([]byte(line.at.UTC().Format(time.RFC3339Nano)+" "), text...)
			}
			if left >= 0 && int64(len(text)) > left {
				text = text[:left]
			}
			if _, err := w.Write(text); err != nil {
				return err
			}
			if left >= 0 {
				if left -= int64(len(text)); left == 0 {
					return nil
				}
			}
		}
		flush()
		if !o.follow || ended {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.mu.Lock()
	}
}
