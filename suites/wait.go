package suites

import (
	"context"
	"fmt"
	"time"
)

// waitError is a condition that did not come true in time.
type waitError struct {
	What   string
	Within time.Duration
	Seen   string // last
	Cause  error  // set when it was not the time that ended the wait
}

func (e *waitError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("waiting for %s: %v; last seen: %s", e.What, e.Cause, e.Seen)
	}
	return fmt.Sprintf("%s: not within %v; last seen: %s", e.What, e.Within, e.Seen)
}

func (e *waitError) Unwrap() error { return e.Cause }

// pollEvery is how often a condition without a watch is looked at.
const pollEvery = 50 * time.Millisecond

// until looks at a condition again and again until it holds, and returns how
// long that took. look tells what it sees; that is reported if time runs out.
// A look that is under way when time runs out is ended by its context.
func until(ctx context.Context, what string, within time.Duration, look func(context.Context) (seen string, ok bool)) (time.Duration, error) {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := "nothing"
	for {
		seen, ok := look(limited)
		if ok {
			return time.Since(start), nil
		}
		// What the end of the wait itself did to the last look says nothing.
		if limited.Err() == nil || last == "nothing" {
			last = seen
		}
		select {
		case <-limited.Done():
			e := &waitError{What: what, Within: within, Seen: last}
			if ctx.Err() != nil {
				e.Cause = context.Cause(ctx)
			}
			return time.Since(start), e
		case <-tick.C:
		}
	}
}
