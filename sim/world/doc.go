// Package world is a network in virtual time: hosts that are functions, joined
// by a [wan.Engine]. Nothing waits and nothing is late, so what it shows is
// exact, and the same each time.
//
//	w := world.New(engine, time.Unix(0, 0))
//	w.Listen(server, func(packet []byte) { w.Send(answer(packet)) })
//	w.Listen(client, func(packet []byte) { fmt.Println(w.Now()) })
//	w.Send(request)
//	w.Run()
//
// It is the engine that real labs use, with the same links, rules and seeds;
// only the clock is another. What is asked of a lab of thousands of clusters,
// or of an hour of its time, is asked here.
package world
