package tun

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Probe tells whether this process may run a router: there is a TUN device, and
// it may configure networks. The error says what would mend it.
func Probe() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errors.New("no /dev/net/tun: modprobe tun")
	case err != nil:
		return fmt.Errorf("may not open /dev/net/tun (%w): run as root, or let the user have it", err)
	}
	_ = unix.Close(fd) // it was only looked at
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if sets[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("no CAP_NET_ADMIN: run as root")
	}
	return nil
}
