package hollow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/atoll-dev/atoll/sim/program"
)

// A node whose API server does not answer is not started, and leaves its
// address free: whoever interrupts `atoll up` does so about here.
func TestNodeThatCannotRegisterLeavesNothing(t *testing.T) {
	n := newNetwork(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("interrupted"))
	defer cancel()
	node, err := StartNode(ctx, NodeConfig{
		Name: "eu-worker-1", Network: n, Addr: netip.MustParseAddr("10.1.0.2"), PodCIDR: netip.MustParsePrefix("10.2.0.0/24"),
		RESTConfig: &rest.Config{Host: "https://10.1.0.9:6443"}, ServingCert: tls.Certificate{Certificate: [][]byte{{}}}, ClientCA: x509.NewCertPool(),
		Images: program.Images{}, Version: "v1.36.3", LeaseDuration: time.Second, ClusterDNS: netip.MustParseAddr("10.3.0.10"),
	})
	if err == nil {
		t.Fatal("started without an API server")
	}
	if node != nil && node.Running() {
		t.Errorf("runs, after %v", err)
	}
	newHost(t, n, "10.1.0.2") // fails where the address is still taken
}
