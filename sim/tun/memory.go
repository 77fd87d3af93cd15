package tun

import (
	"fmt"
	"slices"
)

// slabSize is how much memory is taken from the system at a time.
const slabSize = 1 << 20

// perSlab are how many blocks a slab is cut into, for each class of size: four
// classes for each doubling, so that a packet wastes a tenth of its block on
// average. The largest holds the largest packet and its vnet header.
var perSlab = [...]int{
	15, 16, 18, 21, 25, 30, 36, 43, 52, 64, 73, 85, 102, 128, 146, 170, 204, 256, 292, 341, 409, 512,
	585, 682, 819, 1024, 1170, 1365, 1638, 2048, 2340, 2730, 3276, 4096, 5461, 8192,
}

const (
	classes = len(perSlab)
	// largest is the size of a block of the largest class: 65,535 bytes and a
	// vnet header fit.
	largest = slabSize / 15 &^ 63
	// readSize is that of the blocks that packets are read into. The
	// super-packets of TCP and UDP fit, 16 to a slab without waste and each on
	// pages of its own; the few bytes that the largest packet has more are read
	// into a tail of their own.
	readSize = slabSize / 16
	// spare slabs are kept for the next burst, the others given back if none
	// came for a while.
	spare = 4
)

// memory is where packets wait: slabs outside the Go heap, so that neither the
// garbage collector's work nor its reserve grows with what is in flight. One
// goroutine uses it.
type memory struct {
	system
	slabs  []slab
	usable [classes][]int32 // slabs of the class that have a free block
	empty  []int32          // slabs of no class; the last was used last
	idle   int              // the fewest that were empty since tidy
	gone   []int32          // indices of slabs given back
	limit  int              // slabs at most
	held   int              // slabs in use or spare
	used   int              // bytes of blocks in use
}

// system gets and returns slabs.
type system struct {
	get func() ([]byte, error)
	put func([]byte)
}

type slab struct {
	bytes []byte
	class int8
	place int32   // in usable of its class, -1 if it is not there
	free  []int32 // offsets of blocks
	cut   int     // blocks given out at least once
	out   int     // blocks in use
}

// block is a piece of a slab. The zero value is none.
type block struct {
	slab   int32 // index + 1
	offset int32
}

// newMemory makes a memory of at most limit bytes.
func newMemory(limit int, s system) *memory {
	return &memory{system: s, limit: max(2, limit/slabSize)}
}

// classOf returns the class with the smallest blocks that hold size bytes, which
// are largest at most.
func classOf(size int) int {
	low, high := 0, classes-1
	for low < high {
		if mid := (low + high + 1) / 2; size <= blockSize(mid) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// blockSizes are multiples of a cache line.
var blockSizes = func() (sizes [classes]int) {
	for c, n := range perSlab {
		sizes[c] = slabSize / n &^ 63
	}
	return sizes
}()

func blockSize(class int) int { return blockSizes[class] }

// take returns a block for size bytes; ok is false where the limit is reached
// or the system has no more.
func (m *memory) take(size int) (block, bool) {
	if size > largest {
		return block{}, false
	}
	return m.takeOf(classOf(size))
}

// fits tells whether size bytes need as large a block as this.
func (m *memory) fits(b block, size int) bool { return classOf(size) == int(m.slabs[b.slab-1].class) }

// another returns a block of the same class.
func (m *memory) another(b block) (block, bool) { return m.takeOf(int(m.slabs[b.slab-1].class)) }

func (m *memory) takeOf(class int) (block, bool) {
	if len(m.usable[class]) == 0 && !m.fresh(class) {
		return block{}, false
	}
	i := m.usable[class][len(m.usable[class])-1]
	s := &m.slabs[i]
	var offset int32
	if n := len(s.free); n > 0 {
		offset = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		offset = int32(s.cut * blockSize(class))
		s.cut++
	}
	s.out++
	if s.out == perSlab[class] {
		m.leave(i)
	}
	m.used += blockSize(class)
	return block{i + 1, offset}, true
}

// fresh gives a class another slab.
func (m *memory) fresh(class int) bool {
	var i int32
	if n := len(m.empty); n > 0 {
		i = m.empty[n-1]
		m.empty = m.empty[:n-1]
		m.idle = min(m.idle, n-1)
	} else {
		if m.held >= m.limit {
			return false
		}
		bytes, err := m.get()
		if err != nil {
			return false
		}
		m.held++
		if n := len(m.gone); n > 0 {
			i = m.gone[n-1]
			m.gone = m.gone[:n-1]
			m.slabs[i].bytes = bytes
		} else {
			i = int32(len(m.slabs))
			m.slabs = append(m.slabs, slab{bytes: bytes})
		}
	}
	s := &m.slabs[i]
	s.class, s.cut, s.free = int8(class), 0, s.free[:0]
	m.enter(i)
	return true
}

// bytes returns the whole block.
func (m *memory) bytes(b block) []byte {
	s := &m.slabs[b.slab-1]
	end := int(b.offset) + blockSize(int(s.class))
	return s.bytes[b.offset:end:end]
}

// release gives a block back.
func (m *memory) release(b block) {
	i := b.slab - 1
	s := &m.slabs[i]
	if s.out == 0 {
		panic(fmt.Sprintf("tun: block %v released twice", b))
	}
	s.out--
	m.used -= blockSize(int(s.class))
	s.free = append(s.free, b.offset)
	if s.place < 0 {
		m.enter(i)
	}
	if s.out == 0 {
		m.leave(i)
		m.empty = append(m.empty, i)
	}
}

// tidy gives back the slabs that nobody needed since it was last called. TCP's
// windows swell and shrink with every round trip: a slab that is given back at
// once is soon asked for again, and then each of its pages is cleared anew.
func (m *memory) tidy() {
	n := max(0, min(m.idle, len(m.empty))-spare)
	for _, i := range m.empty[:n] {
		m.put(m.slabs[i].bytes)
		m.slabs[i].bytes = nil
		m.gone = append(m.gone, i)
	}
	m.held -= n
	m.empty = slices.Delete(m.empty, 0, n)
	m.idle = len(m.empty)
}

// untidy tells whether tidy, called later, may have something to give back.
func (m *memory) untidy() bool { return len(m.empty) > spare }

// enter and leave keep the list of slabs with a free block. The last of the
// list is used first; those that become usable go to its front, so that they
// have time to become empty.
func (m *memory) enter(i int32) {
	list := append(m.usable[m.slabs[i].class], i)
	if last := len(list) - 1; last > 0 {
		list[0], list[last] = list[last], list[0]
		m.slabs[list[last]].place = int32(last)
		m.slabs[i].place = 0
	} else {
		m.slabs[i].place = 0
	}
	m.usable[m.slabs[i].class] = list
}

func (m *memory) leave(i int32) {
	s := &m.slabs[i]
	list := m.usable[s.class]
	last := len(list) - 1
	list[s.place] = list[last]
	m.slabs[list[s.place]].place = s.place
	s.place = -1
	m.usable[s.class] = list[:last]
}

// close gives everything back. No block may be used any more.
func (m *memory) close() {
	for i := range m.slabs {
		if m.slabs[i].bytes != nil {
			m.put(m.slabs[i].bytes)
		}
	}
	*m = memory{system: m.system, limit: m.limit, slabs: slices.Clip(m.slabs[:0])}
}
