package topologies

// Chart is where an engine's Helm charts come from, and what they are told. It
// belongs to the engine chart.
type Chart struct {
	// Source is a repository (https://… or oci://…), or a folder or an archive,
	// from the topology's folder. Istio is three charts, base, istiod and
	// gateway: its folder holds them under their names. The project's own
	// repository when left out.
	Source string `json:"source,omitempty"`
	// Version is the charts', not a range of versions. A folder or an archive
	// has one already: if it is given too, it must be that. The one that atoll
	// is pinned to when the source is left out as well.
	Version string `json:"version,omitempty"`
	// NodePort is the hub's API server's, on every node of the admin cluster;
	// 32443 when left out. The admin's chart only.
	NodePort int `json:"nodePort,omitempty"`
	// Values are laid over those that atoll gives the charts; what follows from
	// the topology (names, networks, addresses, certificates) stays. A mesh's
	// are by chart: base, istiod, gateway.
	Values Values `json:"values,omitempty"`
}

// Values are a chart's: any YAML mapping. Numbers are float64, as in JSON.
type Values map[string]any

// The projects' own repositories of charts, and the versions that atoll is
// pinned to: Karmada's releases, and Istio's.
const (
	KarmadaCharts       = "https://raw.githubusercontent.com/karmada-io/karmada/master/charts"
	KarmadaChartVersion = "v1.18.1"
	IstioCharts         = "https://istio-release.storage.googleapis.com/charts"
	IstioChartVersion   = "1.30.4"

	// DefaultHubNodePort is where Karmada's own documentation puts the hub.
	DefaultHubNodePort = 32443
)

// IstioChartNames are the charts that make up the mesh, in the order of their
// installation.
var IstioChartNames = []string{"base", "istiod", "gateway"}
