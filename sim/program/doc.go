// Package program says what a container runs and what that sees of the world:
// the image it was made from, and a process whose arguments, files and network
// are given to it. The same program runs as a goroutine of a hollow pod and as
// an operating system's process in a real container.
//
//	func hello(ctx context.Context, p *program.Process) error {
//		_, err := fmt.Fprintln(p.Stdout, "hello", p.Getenv("HOSTNAME"))
//		return err
//	}
package program
