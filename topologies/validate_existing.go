package topologies

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// existing checks which of your clusters one is, and finds its kubeconfig from
// the topology's folder.
func (v *validator) existing(path string, c *Cluster) {
	e := c.Existing
	if e == nil || v.failed(path) {
		return
	}
	if e.Kubeconfig != "" && !filepath.IsAbs(e.Kubeconfig) {
		// Whoever takes the lab down may be in another folder.
		abs, err := filepath.Abs(filepath.Join(filepath.Dir(v.file), e.Kubeconfig))
		if err != nil {
			v.fault(path+".kubeconfig", "cluster %s: kubeconfig %s: %v", c.Name, abbreviate(e.Kubeconfig), err)
			return
		}
		e.Kubeconfig = abs
	}
	for i, f := range e.AllowFaults {
		if slices.Contains(e.AllowFaults[:i], f) {
			v.fault(fmt.Sprintf("%s.allowFaults[%d]", path, i), "cluster %s: allowFaults: %s is named twice", c.Name, f)
		}
	}
	if e.NodeAddress != "" && (len(e.NodeAddress) > 253 || strings.ContainsAny(e.NodeAddress, ":/ ")) {
		v.fault(path+".nodeAddress", "cluster %s: nodeAddress %s is neither a name nor an IPv4 address", c.Name, abbreviate(e.NodeAddress))
	}
	if e.Image != "" && strings.ContainsAny(e.Image, " \t\n\"'") {
		v.fault(path+".image", "cluster %s: image %s is no reference to an image", c.Name, abbreviate(e.Image))
	}
	if e.APIServer == "" {
		return
	}
	host, port, err := net.SplitHostPort(e.APIServer)
	number, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || perr != nil || number == 0 {
		v.fault(path+".apiServer", "cluster %s: apiServer %s is not HOST:PORT", c.Name, abbreviate(e.APIServer))
	}
}
