package hollow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/atoll-dev/atoll/sim/netstack"
	"github.com/atoll-dev/atoll/sim/program"
)

// NodeConfig is what a node is made of.
type NodeConfig struct {
	Name   string // in Kubernetes
	Labels map[string]string
	Taints []corev1.Taint

	Network *netstack.Network
	Addr    netip.Addr
	PodCIDR netip.Prefix
	// Host is the node's host where it exists already, as that of a control
	// plane does; then it is only plugged in and out. nil lets the node add
	// one, and take it off the network while it is stopped.
	Host *netstack.Host

	// RESTConfig is the kubelet's access to its API server. Its connections
	// start at the node's host: Dial is replaced.
	RESTConfig    *rest.Config
	ClusterDNS    netip.Addr
	ClusterDomain string // cluster.local when left out

	// Hosts, where given, tells the further names in the node's /etc/hosts,
	// which pods on its network see as they are when the pods start.
	Hosts func() map[string]netip.Addr

	Images  program.Images
	Version string // the kubelet's, "v1.36.3"

	// ServingCert is the certificate for Addr that the kubelet's server shows,
	// and ClientCA signs those of the clients it admits.
	ServingCert tls.Certificate
	ClientCA    *x509.CertPool

	// Proxy makes what kube-proxy is on a real node, fed over the node's own
	// client until ctx is done. nil leaves pods without virtual addresses.
	Proxy func(ctx context.Context, client kubernetes.Interface) (netstack.Services, error)

	LeaseDuration time.Duration // 40 s when left out; renewed every quarter of it
	StatusPeriod  time.Duration // 10 s when left out, or LeaseDuration if that is less
	BackoffBase   time.Duration // of crash loops and image pulls; 10 s when left out
	BackoffMax    time.Duration // 5 min when left out
	VolumeRefresh time.Duration // 10 s when left out

	Capacity corev1.ResourceList // 32 CPUs, 64 GiB, 110 pods when left out
	Log      logr.Logger         // of client-go and of failures to reach the API; silent when left out

	client kubernetes.Interface // instead of one made from RESTConfig, in tests
}

// Defaults of a kubelet.
const (
	defaultLease      = 40 * time.Second
	defaultStatus     = 10 * time.Second
	defaultBackoff    = 10 * time.Second
	defaultBackoffMax = 5 * time.Minute
	defaultRefresh    = 10 * time.Second
	kubeletPort       = 10250
)

func (c NodeConfig) withDefaults() (NodeConfig, error) {
	switch {
	case c.Name == "":
		return c, fmt.Errorf("hollow node: no name")
	case c.Network == nil:
		return c, fmt.Errorf("hollow node %s: no network", c.Name)
	case !c.Addr.IsValid():
		return c, fmt.Errorf("hollow node %s: no address", c.Name)
	case !c.PodCIDR.IsValid():
		return c, fmt.Errorf("hollow node %s: no pod CIDR", c.Name)
	case c.RESTConfig == nil:
		return c, fmt.Errorf("hollow node %s: no access to an API server", c.Name)
	case c.ClientCA == nil || len(c.ServingCert.Certificate) == 0:
		return c, fmt.Errorf("hollow node %s: no certificates for the kubelet's server", c.Name)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.LeaseDuration, defaultLease)
	def(&c.StatusPeriod, min(defaultStatus, c.LeaseDuration))
	def(&c.BackoffBase, defaultBackoff)
	def(&c.BackoffMax, defaultBackoffMax)
	def(&c.VolumeRefresh, defaultRefresh)
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.Version == "" {
		c.Version = "v1.36.3"
	}
	return c, nil
}

func (c *NodeConfig) hosts() map[string]netip.Addr {
	if c.Hosts == nil {
		return nil
	}
	return c.Hosts()
}

func (c *NodeConfig) capacity() corev1.ResourceList {
	if len(c.Capacity) > 0 {
		return c.Capacity
	}
	return corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("32"),
		corev1.ResourceMemory:           resource.MustParse("64Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
}
