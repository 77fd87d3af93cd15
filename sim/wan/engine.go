package wan

import "time"

// Engine decides, packet by packet. It does no I/O, has no clock and starts no
// goroutine. Safe for concurrent use.
type Engine struct{}

// New compiles a policy. Equal seeds and equal packets at equal times give
// equal verdicts.
func New(p Policy, seed uint64) (*Engine, error) { panic("not written yet") }

// Swap puts another policy in force while packets flow. Flows that rules have
// admitted stay known; links present in both policies keep their counters and generators.
func (e *Engine) Swap(p Policy) error { panic("not written yet") }

// Send decides what becomes of one IP packet that enters the WAN now.
func (e *Engine) Send(now time.Time, packet []byte) Verdict { panic("not written yet") }

// Counters returns a copy of every link's totals.
func (e *Engine) Counters() []Counters { panic("not written yet") }
