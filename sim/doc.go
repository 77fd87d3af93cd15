// Package sim is the simulated world. At its root is the Plan: a topology
// with every name, address and route resolved, and what is predicted of it.
//
//	topology, err := topologies.Load("three-regions.yaml")
//	plan, err := sim.NewPlan(topology, seed)
//	plan.Describe(os.Stdout)
//
// A plan is plain data and goes through JSON unchanged. Its WAN is a
// [wan.Policy], ready for an engine; its Predictions say of each scenario what
// will come out, so that what is measured can be put beside it. A prediction
// that does not follow from the topology is left empty, never guessed.
package sim
