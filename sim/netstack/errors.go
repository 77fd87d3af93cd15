package netstack

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// errnos are what Linux calls the errors of gVisor's stack, by their texts:
// gonet hands on nothing but the text.
var errnos = map[string]syscall.Errno{
	(&tcpip.ErrAborted{}).String():              syscall.ECONNABORTED,
	(&tcpip.ErrAlreadyBound{}).String():         syscall.EINVAL,
	(&tcpip.ErrAlreadyConnected{}).String():     syscall.EISCONN,
	(&tcpip.ErrBadLocalAddress{}).String():      syscall.EADDRNOTAVAIL,
	(&tcpip.ErrClosedForSend{}).String():        syscall.EPIPE,
	(&tcpip.ErrConnectionAborted{}).String():    syscall.ECONNABORTED,
	(&tcpip.ErrConnectionRefused{}).String():    syscall.ECONNREFUSED,
	(&tcpip.ErrConnectionReset{}).String():      syscall.ECONNRESET,
	(&tcpip.ErrDestinationRequired{}).String():  syscall.EDESTADDRREQ,
	(&tcpip.ErrHostDown{}).String():             syscall.EHOSTUNREACH,
	(&tcpip.ErrHostUnreachable{}).String():      syscall.EHOSTUNREACH,
	(&tcpip.ErrInvalidEndpointState{}).String(): syscall.EINVAL,
	(&tcpip.ErrMessageTooLong{}).String():       syscall.EMSGSIZE,
	(&tcpip.ErrNetworkUnreachable{}).String():   syscall.ENETUNREACH,
	(&tcpip.ErrNoBufferSpace{}).String():        syscall.ENOBUFS,
	(&tcpip.ErrNoPortAvailable{}).String():      syscall.EADDRNOTAVAIL,
	(&tcpip.ErrNotConnected{}).String():         syscall.ENOTCONN,
	(&tcpip.ErrNotPermitted{}).String():         syscall.EPERM,
	(&tcpip.ErrPortInUse{}).String():            syscall.EADDRINUSE,
	(&tcpip.ErrTimeout{}).String():              syscall.ETIMEDOUT,
}

// sysError is the error package net would give for a failed system call.
func sysError(call string, err tcpip.Error) error {
	if errno, ok := errnos[err.String()]; ok {
		return os.NewSyscallError(call, errno)
	}
	return errors.New(call + ": " + err.String())
}

// fixError gives an error of gonet its errno. closed tells that the socket was
// closed here, whatever it says.
func fixError(err error, closed bool) error {
	var op *net.OpError
	if err == nil || !errors.As(err, &op) {
		if err != nil && closed {
			return net.ErrClosed // gonet says io.EOF
		}
		return err
	}
	if closed {
		op.Err = net.ErrClosed
		return op
	}
	var t interface{ Timeout() bool }
	if errors.As(op.Err, &t) {
		if t.Timeout() {
			op.Err = os.ErrDeadlineExceeded
		}
		return op
	}
	if errno, ok := errnos[op.Err.Error()]; ok {
		op.Err = os.NewSyscallError(op.Op, errno)
	}
	return op
}

// onceErr runs the first call's function, and the second function for all
// later calls.
type onceErr struct{ done atomic.Bool }

func (o *onceErr) do(first, later func() error) error {
	if o.done.Swap(true) {
		return later()
	}
	return first()
}

func (o *onceErr) isDone() bool { return o.done.Load() }
