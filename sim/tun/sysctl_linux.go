package tun

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Sysctls are the kernel parameters that a container needs to be a router.
// Open sets them where it may; where /proc/sys is read-only, as in an
// unprivileged container, the container is to be started with them.
func Sysctls() map[string]string {
	return map[string]string{
		"net.ipv4.ip_forward":                  "1",
		"net.ipv4.conf.all.rp_filter":          "0",
		"net.ipv4.conf.default.rp_filter":      "0",
		"net.ipv4.conf.all.send_redirects":     "0",
		"net.ipv4.conf.default.send_redirects": "0",
		"net.ipv6.conf.all.disable_ipv6":       "0",
		"net.ipv6.conf.all.forwarding":         "1",
	}
}

// inNamespace calls f in a network namespace, on a thread that ends with it.
func inNamespace(path string, f func() error) error {
	if path == "" {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- func() error {
			ns, err := netns.GetFromPath(path)
			if err != nil {
				return fmt.Errorf("tun: open namespace %s: %w", path, err)
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return fmt.Errorf("tun: join namespace %s: %w", path, err)
			}
			return f()
		}()
	}()
	return <-done
}

// hasIPv6 tells whether the namespace uses IPv6.
func hasIPv6() bool {
	v, err := sysctl("net/ipv6/conf/all/disable_ipv6")
	return err == nil && v == "0"
}

// sysctls lets the kernel forward, and take from a TUN what came in elsewhere.
func (r *routes) sysctls() error {
	errs := []error{require("net/ipv4/ip_forward", "1")}
	if slices.Contains(r.families, unix.AF_INET6) {
		errs = append(errs, require("net/ipv6/conf/all/forwarding", "1"))
	}
	all, err := sysctl("net/ipv4/conf/all/rp_filter")
	if err != nil {
		return fmt.Errorf("tun: %w", err)
	}
	// The stricter of "all" and the interface's counts, 2 (loose) being the
	// most. Strict would drop what comes out of a TUN, for its source is elsewhere.
	filter := "0"
	if all == "1" {
		filter = "2"
	}
	for i := range r.ways {
		for _, name := range []string{r.ways[i].name, r.ways[i].device} {
			errs = append(errs, require("net/ipv4/conf/"+name+"/rp_filter", filter))
			// A node that is told of a shorter way would bypass the router; where
			// the parameter cannot be set, the kernel's default does no harm
			// between networks.
			_ = set("net/ipv4/conf/"+name+"/send_redirects", "0")
		}
	}
	_ = set("net/ipv4/conf/all/send_redirects", "0")
	return errors.Join(errs...)
}

func sysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(b)), err
}

func set(name, value string) error {
	if v, err := sysctl(name); err == nil && v == value {
		return nil
	}
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
}

// require sets a parameter that the router cannot do without.
func require(name, value string) error {
	err := set(name, value)
	if err == nil {
		return nil
	}
	v, _ := sysctl(name)
	if strings.HasSuffix(name, "/rp_filter") && value == "0" && v == "2" {
		return nil // loose is good enough
	}
	dotted := strings.ReplaceAll(name, "/", ".")
	return fmt.Errorf("tun: %s is %s, must be %s: %w (docker run --sysctl %s=%s)", dotted, v, value, err, dotted, value)
}
