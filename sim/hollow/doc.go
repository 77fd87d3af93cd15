// Package hollow makes Kubernetes nodes and pods that are in-process hosts on
// the simulated network.
//
//	node, err := hollow.StartNode(ctx, hollow.NodeConfig{
//		Name: "eu-worker-1", Addr: addr, PodCIDR: cidr,
//		Network: network, RESTConfig: kubeletConfig, Images: images.Library(),
//		ServingCert: cert, ClientCA: ca,
//	})
//	defer node.Close()
//
// A node registers with a real API server, renews its lease, and runs the pods
// that a real scheduler binds to it. What a container runs is a [program.Func], a
// Go function chosen by the container's image and command; everything around it
// follows the kubelet: init containers and sidecars, restarts with back-off,
// env and volumes from the API, probes, hooks, graceful deletion, events, and
// a server on port 10250 for `kubectl exec`, `logs` and `port-forward`.
//
// A hollow node has no cgroups, no real images and no file system of the
// machine: a program sees the world only through its Process. It deviates from
// a kubelet on purpose in these points:
//
//   - Until its first success a startup or readiness probe is tried every
//     100 ms within its first period, where a kubelet waits for the period (or,
//     after a container's start, for a random part of it).
//   - A program is a goroutine, which cannot be killed. One that outlives its
//     grace period is cut off: its connections and listeners are closed, its
//     output is dropped, and it is reported as killed (137).
//   - Changed ConfigMaps and Secrets reach volumes after at most
//     NodeConfig.VolumeRefresh.
package hollow
