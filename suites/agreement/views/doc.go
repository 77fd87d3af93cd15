// Package views asks two engines of a mesh the same and compares their answers:
// what the proxy of each workload is told of each service, while pods come and
// go, a remote secret is deleted, and an API server is dead.
//
//	record, err := views.Ask(ctx, lab, views.Options{})   // on each of two labs
//	result, err := views.Compare(builtin, binaries)
//
// A view is read from the proxy that goes by it, in words that don't hang on
// which addresses pods happen to have: the share of each cluster, whether by its
// pods or by its network's gateway, with mutual TLS or without, and by which
// names; beside it the policy, time-outs, retries, balancing and ejection.
//
// A step is over when the views have changed, where they have to, and then been
// the same for a while.
package views
