package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
)

// Machine is where and when it was measured.
type Machine struct {
	Date      time.Time  `json:"date"`
	CPU       string     `json:"cpu"`
	Cores     int        `json:"cores"`
	Kernel    string     `json:"kernel"`
	Go        string     `json:"go"`
	LoadStart [3]float64 `json:"loadStart"` // averages over 1, 5 and 15 minutes
	LoadEnd   [3]float64 `json:"loadEnd"`
}

// Describe says which machine this is, and its load now; what cannot be told is
// left out.
func Describe(ctx context.Context) Machine {
	m := Machine{Date: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Go: runtime.Version(), LoadStart: Loads(ctx)}
	if infos, err := cpu.InfoWithContext(ctx); err == nil && len(infos) > 0 {
		m.CPU = infos[0].ModelName
	}
	m.Kernel, _ = host.KernelVersionWithContext(ctx)
	return m
}

// Loads are the load averages over 1, 5 and 15 minutes; zeros where they can't
// be told.
func Loads(ctx context.Context) [3]float64 {
	l, err := load.AvgWithContext(ctx)
	if err != nil {
		return [3]float64{}
	}
	return [3]float64{l.Load1, l.Load5, l.Load15}
}

// String is three lines for the head of a table.
func (m Machine) String() string {
	return fmt.Sprintf("%s\n%s, %d cores, Linux %s, %s\nload %.1f before, %.1f after (1 min)\n",
		m.Date.Format("2006-01-02 15:04 UTC"), m.CPU, m.Cores, m.Kernel, m.Go, m.LoadStart[0], m.LoadEnd[0])
}
