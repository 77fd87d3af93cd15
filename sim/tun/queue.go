package tun

// queue holds packets until they are due: a 4-ary heap, of half the depth of a
// binary one, whose children share cache lines. Equal times come out as they went in.
type queue struct {
	heap []held
	seq  uint64
}

// held is a packet on its way.
type held struct {
	at     int64 // when it is due, in ns since the router's start
	seq    uint64
	block  block
	size   int32 // vnet header included
	device int32 // where it came in, and goes out
}

func (a *held) before(b *held) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) len() int { return len(q.heap) }

// first returns when the first packet is due.
func (q *queue) first() int64 { return q.heap[0].at }

func (q *queue) push(h held) {
	h.seq = q.seq
	q.seq++
	a := append(q.heap, h)
	i := len(a) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !h.before(&a[p]) {
			break
		}
		a[i] = a[p]
		i = p
	}
	a[i] = h
	q.heap = a
}

func (q *queue) pop() held {
	a := q.heap
	top, last := a[0], a[len(a)-1]
	a[len(a)-1] = held{}
	a = a[:len(a)-1]
	q.heap = a
	if len(a) == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= len(a) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(a)); c++ {
			if a[c].before(&a[least]) {
				least = c
			}
		}
		if !a[least].before(&last) {
			break
		}
		a[i] = a[least]
		i = least
	}
	a[i] = last
	return top
}
