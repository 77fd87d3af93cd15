package topologies

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
)

// existing checks which of your clusters one is, and finds its kubeconfig from
// the topology's folder.
func (v *validator) existing(path string, c *Cluster) {
	e := c.Existing
	if e == nil || v.failed(path) {
		return
	}
	if e.Kubeconfig != "" && !filepath.IsAbs(e.Kubeconfig) {
		e.Kubeconfig = filepath.Join(filepath.Dir(v.file), e.Kubeconfig)
	}
	for i, f := range e.AllowFaults {
		if slices.Contains(e.AllowFaults[:i], f) {
			v.fault(fmt.Sprintf("%s.allowFaults[%d]", path, i), "cluster %s: allowFaults: %s is named twice", c.Name, f)
		}
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
