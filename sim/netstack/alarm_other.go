//go:build !linux

package netstack

import "time"

// alarm is a timer; see alarm_linux.go for a better one.
type alarm struct{ event chan struct{} }

func newAlarm() alarm { return alarm{make(chan struct{}, 1)} }

func (a alarm) enter() (release func()) { return func() {} }

// wait sleeps for d, or until ring; below 0 it means until ring.
func (a alarm) wait(d time.Duration) {
	if d < 0 {
		<-a.event
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.event:
	}
}

func (a alarm) ring() {
	select {
	case a.event <- struct{}{}:
	default:
	}
}

func (a alarm) close() {}
