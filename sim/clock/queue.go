package clock

import "time"

// Queue gives values back by their times; of equal times, in the order in
// which they were put in. The zero value is empty. It is not safe for
// concurrent use.
//
// It is a 4-ary heap: half the depth of a binary one, and the children of an
// entry lie side by side.
type Queue[T any] struct {
	heap []entry[T]
	seq  uint64
}

type entry[T any] struct {
	at    time.Duration
	seq   uint64
	value T
}

func (a *entry[T]) before(b *entry[T]) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// Len returns how many values are in the queue.
func (q *Queue[T]) Len() int { return len(q.heap) }

// Push puts a value in. at counts from whatever the caller's start is.
func (q *Queue[T]) Push(at time.Duration, value T) {
	q.seq++
	e := entry[T]{at, q.seq, value}
	h := append(q.heap, e)
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(&h[p]) {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = e
	q.heap = h
}

// Next returns the time of the first value; ok is false if there is none.
func (q *Queue[T]) Next() (at time.Duration, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// Pop takes the first value out. The queue must not be empty.
func (q *Queue[T]) Pop() (at time.Duration, value T) {
	h := q.heap
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = entry[T]{} // lest it keeps alive what value points to
	h = h[:len(h)-1]
	q.heap = h
	if len(h) == 0 {
		return top.at, top.value
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return top.at, top.value
}

// Drain empties the queue and shows what was in it, in no order.
func (q *Queue[T]) Drain(see func(T)) {
	for i := range q.heap {
		see(q.heap[i].value)
	}
	q.heap = nil
}
