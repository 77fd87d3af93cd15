package topologies

import (
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// chartVersion is one version of a chart, as SemVer has it; charts may write a
// v before it.
var chartVersion = regexp.MustCompile(`^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// The ports that a NodePort may have, where an API server is not told otherwise.
const minNodePort, maxNodePort = 30000, 32767

// setDefaults fills in the project's own repository and the version that is
// pinned, where the file names neither.
func (c *Chart) setDefaults(source, version string) {
	if c.Source != "" {
		return
	}
	c.Source = source
	setDefault(&c.Version, version)
}

// setChartDefaults completes the charts of the engines that are charts.
func (s *Stack) setChartDefaults() {
	if a := s.Admin; a != nil && a.Engine == EngineChart {
		if a.Chart == nil {
			a.Chart = &Chart{}
		}
		a.Chart.setDefaults(KarmadaCharts, KarmadaChartVersion)
		setDefault(&a.Chart.NodePort, DefaultHubNodePort)
	}
	if m := s.Mesh; m != nil && m.Engine == EngineChart {
		if m.Chart == nil {
			m.Chart = &Chart{}
		}
		m.Chart.setDefaults(IstioCharts, IstioChartVersion)
	}
}

// Repository tells whether the charts come from one, and not from files.
func (c *Chart) Repository() bool { return strings.Contains(c.Source, "://") }

// charts checks the engines that are charts.
func (v *validator) charts() {
	const admin, mesh = "spec.stack.admin", "spec.stack.mesh"
	if a := v.t.Spec.Stack.Admin; a != nil {
		v.chart(admin, "admin", a.Engine, a.Chart)
		if c := a.Chart; c != nil && a.Engine == EngineChart && !v.failed(admin+".chart") && (c.NodePort < minNodePort || c.NodePort > maxNodePort) {
			v.fault(admin+".chart.nodePort", "admin: chart: nodePort %d is not from %d to %d", c.NodePort, minNodePort, maxNodePort)
		}
	}
	m := v.t.Spec.Stack.Mesh
	if m == nil {
		return
	}
	v.chart(mesh, "mesh", m.Engine, m.Chart)
	if m.Chart == nil || m.Engine != EngineChart || v.failed(mesh+".chart") {
		return
	}
	if m.Chart.NodePort != 0 {
		v.fault(mesh+".chart.nodePort", "mesh: chart: only the admin's has a nodePort, the hub's")
	}
	for _, name := range sortedKeys(m.Chart.Values) {
		path := mesh + ".chart.values." + name
		if !slices.Contains(IstioChartNames, name) {
			v.fault(path, "mesh: chart: values are by chart, and none is called %q; there are %s%s", abbreviate(name), join(IstioChartNames), didYouMean(name, IstioChartNames))
		} else if _, ok := m.Chart.Values[name].(map[string]any); !ok {
			v.fault(path, "mesh: chart: the values of %s must be a mapping", name)
		}
	}
}

// chart checks where a chart comes from; a folder or an archive is then found
// from the topology's folder.
func (v *validator) chart(path, what string, engine Engine, c *Chart) {
	if c == nil || v.failed(path+".engine") || v.failed(path+".chart") {
		return
	}
	path += ".chart"
	what += ": chart"
	if engine != EngineChart {
		v.fault(path, "%s: the engine is %s; engine: chart installs a chart", what, engine)
		return
	}
	if c.Version != "" && !chartVersion.MatchString(c.Version) {
		v.fault(path+".version", "%s: version %q is not one version, of the form 1.2.3", what, abbreviate(c.Version))
	}
	if !c.Repository() {
		if filepath.IsAbs(c.Source) {
			return
		}
		// Whoever reads the plan may be in another folder.
		abs, err := filepath.Abs(filepath.Join(filepath.Dir(v.file), c.Source))
		if err != nil {
			v.fault(path+".source", "%s: source %q: %v", what, abbreviate(c.Source), err)
			return
		}
		c.Source = abs
		return
	}
	u, err := url.Parse(c.Source)
	switch {
	case err != nil || u.Host == "":
		v.fault(path+".source", "%s: source %q is not the address of a repository", what, abbreviate(c.Source))
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "oci":
		v.fault(path+".source", "%s: a repository is at https:// or oci://, not at %s://", what, abbreviate(u.Scheme))
	case u.User != nil:
		v.fault(path+".source", "%s: source: a file that others read is no place for a password; log in with helm registry login", what)
	case c.Version == "":
		v.fault(path, "%s: a repository has many versions, so it needs one", what)
	}
}
