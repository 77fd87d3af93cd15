package bench

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name. One thread sits in it until
// close; children are started from that thread, so they begin life inside it,
// and the kernel kills them when the thread ends.
type namespace struct {
	file *os.File
	jobs chan func()
	gone chan struct{}
}

func newNamespace() (*namespace, error) {
	n := &namespace{jobs: make(chan func()), gone: make(chan struct{})}
	made := make(chan error)
	go n.sit(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return n, nil
}

func (n *namespace) sit(made chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread cannot end before the process, and would
		// keep the namespace: it waits here while another takes the seat.
		seated := make(chan error)
		go n.sit(seated)
		made <- <-seated
		runtime.UnlockOSThread()
		return
	}
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.file, err = os.Open("/proc/thread-self/ns/net")
	}
	made <- err
	if err != nil {
		return // and with the goroutine ends its locked thread
	}
	defer close(n.gone)
	defer n.file.Close()
	for job := range n.jobs {
		job()
	}
}

// do runs f on the thread inside.
func (n *namespace) do(f func() error) error {
	done := make(chan error)
	n.jobs <- func() { done <- f() }
	return <-done
}

// close ends the thread, and with it whatever was started from it.
func (n *namespace) close() {
	close(n.jobs)
	<-n.gone
}

// sysctl sets a value of this namespace, as in "net/ipv4/ip_forward".
func (n *namespace) sysctl(key, value string) error {
	return n.do(func() error {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s to %q: %w", key, value, err)
		}
		return nil
	})
}
