// Package clock is time as an argument: a queue of what is due when, and a
// virtual clock that is exactly where the queue is.
//
//	c := clock.NewVirtual(time.Unix(0, 0), func(do func()) { do() })
//	c.After(3*time.Second, func() { fmt.Println(c.Now()) })
//	c.Run() // prints at once; c.Now() is three seconds later
//
// [Queue] by itself serves real time as well: sim/netstack holds packets in
// one until they are due.
package clock
