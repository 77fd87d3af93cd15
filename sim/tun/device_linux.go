package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// device is a TUN device's descriptor. It is gone, with the device, when it is
// closed or the process ends.
type device struct {
	fd     int
	index  int32 // among the router's
	name   string
	origin netip.Addr // an address of where its packets come from; none if that may be several sites
	ready  bool       // whether there may be something to read
}

// offload is a kind of super-packet that may be asked for.
type offload struct {
	name string
	flag int
}

// What to ask for, and what to do without where the kernel is too old: UDP
// super-packets came with Linux 6.2. Not asked for, because the router could
// not cut them, are IP fragments of UDP (UFO) and what is in a tunnel.
var (
	offloadTCP = []offload{{"tcp4", unix.TUN_F_TSO4}, {"tcp6", unix.TUN_F_TSO6}, {"ecn", unix.TUN_F_TSO_ECN}}
	offloadUDP = offload{"udp", unix.TUN_F_USO4 | unix.TUN_F_USO6}
)

// openDevice makes a TUN device in the thread's network namespace.
func openDevice(name string) (*device, []string, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("tun: open /dev/net/tun: %w%s", err, deviceHint(err))
	}
	d := &device{fd: fd, name: name}
	offloads, err := d.setUp()
	if err != nil {
		d.close()
		return nil, nil, err
	}
	return d, offloads, nil
}

func deviceHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return " (the kernel lacks CONFIG_TUN, or the container was not given the device)"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return " (the container was not given the device)"
	}
	return ""
}

func (d *device) setUp() ([]string, error) {
	ifr, err := unix.NewIfreq(d.name)
	if err != nil {
		return nil, fmt.Errorf("tun: interface name %q: %w", d.name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(d.fd, unix.TUNSETIFF, ifr); err != nil {
		hint := ""
		switch {
		case errors.Is(err, unix.EPERM):
			hint = " (it takes CAP_NET_ADMIN)"
		case errors.Is(err, unix.EBUSY):
			hint = " (another router is running here)"
		}
		return nil, fmt.Errorf("tun: make interface %s: %w%s", d.name, err, hint)
	}
	flags, names := unix.TUN_F_CSUM, []string(nil)
	for _, o := range offloadTCP {
		flags |= o.flag
		names = append(names, o.name)
	}
	if err := unix.IoctlSetInt(d.fd, unix.TUNSETOFFLOAD, flags|offloadUDP.flag); err == nil {
		return append(names, offloadUDP.name), nil
	}
	if err := unix.IoctlSetInt(d.fd, unix.TUNSETOFFLOAD, flags); err != nil {
		return nil, fmt.Errorf("tun: ask for super-packets on %s: %w", d.name, err)
	}
	return names, nil
}

// read and write enter the kernel without telling the Go scheduler, which
// costs less than the call: neither blocks.

// read fills b, and tail with what does not fit into it.
func (d *device) read(b, tail []byte) (int, unix.Errno) {
	parts := [2]unix.Iovec{{Base: &b[0]}, {Base: &tail[0]}}
	parts[0].SetLen(len(b))
	parts[1].SetLen(len(tail))
	n, _, e := unix.RawSyscall(unix.SYS_READV, uintptr(d.fd), uintptr(unsafe.Pointer(&parts)), uintptr(len(parts)))
	return int(n), e
}

func (d *device) write(b []byte) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(d.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return e
}

// goneError is for EBADFD, which says that the device is no longer there.
func (d *device) goneError() error { return fmt.Errorf("tun: interface %s was taken away", d.name) }

func (d *device) close() { _ = unix.Close(d.fd) }

// systemSlabs are mapped from the system.
func systemSlabs() system {
	return system{
		get: func() ([]byte, error) {
			return unix.Mmap(-1, 0, slabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		},
		put: func(b []byte) { _ = unix.Munmap(b) },
	}
}
