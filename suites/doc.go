// Package suites asks questions of a running lab and writes down the answers.
//
//	result, err := suites.Run(ctx, backend, suites.Options{Events: sink})
//	for _, s := range result.Scenarios {
//		fmt.Println(s.Name, s.Outcome, s.Reason)
//	}
//
// There are four suites. Peering: who may reach whom, and how far away they
// are. Placement: how the hub divides replicas over its members. Traffic: who
// answers a request, in what proportion and how fast. Failure: a node, a
// control plane or an agent's connection goes away and comes back.
//
// A scenario of the topology is one Ginkgo spec, labelled with its suite. It
// sees the lab through lab.Backend and through the clusters' own Kubernetes
// APIs, and never asks which provider is behind them: what a provider cannot
// do is a skip that says so.
//
// Scenarios are asked in the file's order, one after another; failures of
// different clusters that stand next to each other are waited for together.
//
// What is expected comes from the plan, and every expectation is kept beside
// what was seen. With Options.Invert a scenario first breaks its own world (a
// link cut, a fault not injected, a policy withheld) and then asserts exactly
// the same things: it must fail, and its reason must name what was broken.
//
// The lab itself is measured before and after. A link that is out of
// tolerance, however often it is measured, or a scenario that claims to cross a link whose counters did not
// rise, makes the run invalid: then nothing is said about the product.
//
// From the command line:
//
//	atoll test LAB [--invert] [--scenario NAME] [--label-filter failure]
//	go test ./suites/... -args -topology FILE
package suites
