package clock

import "time"

// Virtual is a clock that stands still while something happens, and then goes
// straight to what happens next. What happens is an event of type E. It is not
// safe for concurrent use: what happens, happens one after another.
type Virtual[E any] struct {
	start  time.Time
	now    time.Duration
	queue  Queue[E]
	happen func(E)
}

// NewVirtual returns a clock that shows start; happen is called with each
// event at its time.
func NewVirtual[E any](start time.Time, happen func(E)) *Virtual[E] {
	return &Virtual[E]{start: start, happen: happen}
}

// Now returns the time.
func (c *Virtual[E]) Now() time.Time { return c.start.Add(c.now) }

// At lets an event happen at a time; one that is past means now, after what
// is due already.
func (c *Virtual[E]) At(t time.Time, e E) { c.queue.Push(max(c.now, t.Sub(c.start)), e) }

// After lets an event happen when d has passed.
func (c *Virtual[E]) After(d time.Duration, e E) { c.queue.Push(c.now+max(0, d), e) }

// Step goes to the next event; false if there is none.
func (c *Virtual[E]) Step() bool {
	if c.queue.Len() == 0 {
		return false
	}
	var e E
	c.now, e = c.queue.Pop()
	c.happen(e)
	return true
}

// Run steps until nothing is left to happen.
func (c *Virtual[E]) Run() {
	for c.Step() {
	}
}

// RunUntil lets happen what is due up to a time, that time included, and
// leaves the clock there.
func (c *Virtual[E]) RunUntil(t time.Time) {
	end := t.Sub(c.start)
	for {
		at, ok := c.queue.Next()
		if !ok || at > end {
			break
		}
		c.Step()
	}
	c.now = max(c.now, end)
}

// Pending returns how many events are still to happen.
func (c *Virtual[E]) Pending() int { return c.queue.Len() }
