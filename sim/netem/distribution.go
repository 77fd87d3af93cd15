package netem

import (
	"math"
	"sync"
)

// A table of netem's lists a distribution's quantiles: the kernel draws one of
// them and takes it times the jitter, in units of 1/8192 (NETEM_DIST_SCALE).
const (
	tableSize  = 4096 // as iproute2's tables have
	tableScale = 8192
)

// normalTable is the standard normal distribution. Its middle 4096ths reach
// 3.7 deviations; 16 bits would reach 4.
var normalTable = sync.OnceValue(func() []int16 {
	table := make([]int16, tableSize)
	for i := range table {
		p := (float64(i) + .5) / tableSize
		table[i] = int16(math.Round(tableScale * math.Sqrt2 * math.Erfinv(2*p-1)))
	}
	return table
})
