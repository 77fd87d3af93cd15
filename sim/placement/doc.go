// Package placement divides replicas over clusters as Karmada does.
//
//	placement.Divide(10, map[string]int64{"eu": 2, "ap": 1, "us": 2}, uid)
//	// map[ap:2 eu:4 us:4]
//
// The rule is that of Karmada 1.16 and later for static weights: Webster's
// method (Sainte-Laguë), ties going to the cluster with the fewest replicas,
// then by name, in an order that hangs on the template's UID.
//
// Where clusters' free capacity counts, it is given: how many replicas each has
// room for. [Dynamic] divides by it, [Select] and [Regions] choose the clusters
// that spread constraints admit.
package placement
