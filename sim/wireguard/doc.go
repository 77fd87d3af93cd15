// Package wireguard joins machines of a simulated network by an overlay that
// is WireGuard itself (golang.zx2c4.com/wireguard, in this process): its
// handshakes and its ciphertext cross the WAN as UDP between the machines'
// own addresses, and what is inside has the overlay's.
//
//	mesh := wireguard.NewMesh(network, wireguard.MeshConfig{Name: "microk8s", …})
//	device, err := mesh.Join(mesh.AccessKey(), wireguard.Member{Name: "do1", …})
//	text := device.Show() // as wg(8) has it
//
// A mesh is what a coordinator such as Netmaker keeps: who joins shows an
// access key, gets every member's public key and endpoint, and every member
// learns of the newcomer. The coordinator's own traffic is no part of the
// simulated world. Keys follow from the seed, so that the same plan gives the
// same lab.
package wireguard
