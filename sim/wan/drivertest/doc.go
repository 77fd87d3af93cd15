// Package drivertest is the contract of a [wan.Driver], as a test: what crosses
// between network namespaces that it joins by a router, with real sockets.
//
//	func TestContract(t *testing.T) {
//		drivertest.Run(t, func(t *testing.T, n *drivertest.Network, p wan.Policy) wan.Driver {
//			d, err := Open(Config{Namespace: n.Router.Path(), Attachments: n.Attachments(), Policy: p})
//			...
//			return d
//		})
//	}
//
// It makes its own namespaces, which nobody else can see and which vanish with
// the process, and skips with the reason where it may not.
package drivertest
