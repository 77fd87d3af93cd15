package placement

import (
	"container/heap"
	"hash/fnv"
	"maps"
	"math/big"
	"math/bits"
)

// Divide returns how many of replicas each cluster gets, by static weight.
// Each replica in turn goes to the cluster with the highest
// weight/(2·seats+1); on a tie to the one with the fewest seats, then by name,
// descending if [Descending] says so for the template's UID.
//
// A cluster that is not in the result gets none of it, not even an empty
// Deployment: it has no positive weight, or all replicas went elsewhere. If
// replicas is 0 (or less), every cluster with a positive weight keeps it at 0.
func Divide(replicas int, weights map[string]int64, uid string) map[string]int {
	return divide(replicas, weights, Descending(uid))
}

// Possible returns every division that may come out of Divide, for any UID:
// one, or two where ties make the order of names count.
func Possible(replicas int, weights map[string]int64) []map[string]int {
	up, down := divide(replicas, weights, false), divide(replicas, weights, true)
	if maps.Equal(up, down) {
		return []map[string]int{up}
	}
	return []map[string]int{up, down}
}

// Descending tells whether ties go to the last name rather than the first:
// if the FNV-32a hash of the template's UID is odd.
func Descending(uid string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid)) // a hash takes everything
	return h.Sum32()%2 == 1
}

func divide(replicas int, weights map[string]int64, descending bool) map[string]int {
	q := queue{descending: descending}
	for name, w := range weights {
		if w > 0 {
			q.of = append(q.of, &claim{name: name, weight: uint64(w)})
		}
	}
	result := make(map[string]int, len(q.of))
	if replicas <= 0 || len(q.of) == 0 {
		for _, c := range q.of {
			result[c.name] = 0
		}
		return result
	}
	left := replicas - q.start(replicas)
	heap.Init(&q)
	for ; left > 0; left-- {
		q.of[0].seats++
		heap.Fix(&q, 0)
	}
	for _, c := range q.of {
		if c.seats > 0 {
			result[c.name] = int(c.seats)
		}
	}
	return result
}

// claim is a cluster's claim to the next replica.
type claim struct {
	name   string
	weight uint64
	seats  uint64
}

// queue is a heap, the greatest claim first.
type queue struct {
	of         []*claim
	descending bool
}

// start gives out most of many replicas at once and returns how many. With a
// multiplier m, rounding each m·weight gives seats that Webster's method gives
// too, before any other; and they are at most m·(sum of weights) + n/2.
func (q *queue) start(replicas int) int {
	n := len(q.of)
	if replicas <= 2*n {
		return 0
	}
	sum := new(big.Int)
	for _, c := range q.of {
		sum.Add(sum, new(big.Int).SetUint64(c.weight))
	}
	// m = (replicas - n/2) / sum, so seats = floor(m·weight + 1/2)
	//   = floor(((2·replicas - n)·weight + sum) / (2·sum)).
	numerator := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(int64(replicas)), 1), big.NewInt(int64(n)))
	twice := new(big.Int).Lsh(sum, 1)
	given := 0
	for _, c := range q.of {
		s := new(big.Int).SetUint64(c.weight)
		s.Mul(s, numerator).Add(s, sum).Div(s, twice)
		c.seats = s.Uint64()
		given += int(c.seats)
	}
	return given
}

func (q *queue) Len() int      { return len(q.of) }
func (q *queue) Swap(i, j int) { q.of[i], q.of[j] = q.of[j], q.of[i] }
func (q *queue) Push(any)      { panic("placement: claims are fixed") }
func (q *queue) Pop() any      { panic("placement: claims are fixed") }

// Less compares weight/(2·seats+1) exactly, by multiplying crosswise.
func (q *queue) Less(i, j int) bool {
	a, b := q.of[i], q.of[j]
	ahi, alo := bits.Mul64(a.weight, 2*b.seats+1)
	bhi, blo := bits.Mul64(b.weight, 2*a.seats+1)
	switch {
	case ahi != bhi:
		return ahi > bhi
	case alo != blo:
		return alo > blo
	case a.seats != b.seats:
		return a.seats < b.seats
	}
	return (a.name < b.name) != q.descending
}
