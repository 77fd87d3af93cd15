// Package topologies is the file format: what a topology may say, what it
// means when it leaves something out, and everything that can be wrong with it.
//
//	# yaml-language-server: $schema=topologies/schema.json
//	apiVersion: atoll.dev/v1alpha1
//	kind: Topology
//	metadata: {name: three-regions}
//	spec:
//	  kubernetes: v1.36.3
//	  timers: short
//	  clusters:
//	    - {name: manager, region: eu-west, role: admin}
//	    - {name: eu, region: eu-west, nodes: [{role: control-plane}, {role: worker, count: 2}]}
//	    - {name: us, region: us-west, cidrs: {nodes: 10.40.0.0/16}}
//	  wan:
//	    links:
//	      - {between: [eu-west, us-west], rtt: 140ms, jitter: 2ms, loss: 0.01%, rate: 1Gbit}
//	    rules:
//	      - {from: [eu, us], to: manager, allow: [tcp/5443]}
//	  stack:
//	    admin: {api: karmada}
//	    agents: {}
//	    mesh: {api: istio}
//	  workloads:
//	    - hello
//	    - {name: sleep, via: direct, on: [us]}
//	  scenarios:
//	    - peering: {}
//	    - placement: {workload: hello, steps: [{replicas: 3, weights: {us: 1, eu: 2}}]}
//
// [Load] reads a file, [Parse] reads bytes, [FromLibrary] reads one of those
// that come with atoll. What they return is complete: every default is filled
// in and every range assigned. What they refuse, they refuse with an [Errors]
// that lists every fault with its line:
//
//	world.yaml:14: link eu-west↔us-west: loss 130% is outside 0–100%
//	world.yaml:22: scenario placement: unknown workload "helo"; did you mean "hello"?
//
// # Clusters and nodes
//
// A cluster has a name, a region and three ranges: nodes, pods and services.
// Ranges left out are assigned from 10.0.0.0/8 without overlap, always the
// same for the same file: cluster i gets 10.(10i).0.0/16 for its nodes and the
// two after it, where they are free. A cluster without a control-plane node
// gets one. In the lab, nodes are called control-plane, control-plane-2,
// worker-1, worker-2 and so on, control planes first; a group of one may have a
// name of its own. A control-plane node takes ordinary pods where the cluster
// has no workers, or where it is schedulable.
//
// A node group may be in another region than its cluster: the cluster is then
// stretched, and traffic between its nodes crosses the WAN. An overlay joins
// its nodes by WireGuard: they, and their pods, then talk through it, and
// Kubernetes calls them NODE.OVERLAY, with their addresses in it.
//
// One cluster may have the role admin; it carries the hub. It is a member of
// the hub, or of the mesh, only if agents.on or mesh.on names it.
//
// # The WAN
//
// Links join regions. With between, both directions are alike, and either rtt
// (there and back, halved each way) or latency (one way) is given. With from
// and to, one direction is described, by its latency; the other direction
// needs a link of its own. Everything else is per direction:
//
//	{between: [eu-west, us-west], rtt: 140ms,
//	 jitter: 2ms, distribution: pareto,  # standard deviation; normal, uniform or pareto
//	 reorder: true,                      # jitter may reorder; else the order is kept
//	 loss: 0.1%, duplicate: 0.01%, corrupt: 0.001%,
//	 rate: 100Mbit, queue: 256KiB,       # or queue: 50ms
//	 schedule: [{at: 30s, loss: 5%}, {at: 60s, down: true}, {at: 90s, down: false}]}
//
// Whatever the distribution, the mean of the delay is the latency and its
// standard deviation the jitter, as long as no delay would be below 0. A
// packet that is corrupted has one bit flipped behind its IP headers. A link
// that is down drops everything; with down: reject it tells the sender, by
// ICMP, that the way is prohibited.
//
// A schedule begins when the lab is up: clusters, stack and workloads. What a
// change leaves out stays as it was. Calibration goes by what holds when it
// measures; the plan's predictions are of the links as they are before any
// change.
//
// Clusters of one region are joined by an implicit link of 0.5 ms round trip,
// unless the file has one between that region and itself.
//
// Loss is independent ("0.01%") or comes in bursts by the Gilbert-Elliott
// model ({enter: 0.1%, leave: 30%, bad: 100%, good: 0%}).
//
// Peering says which clusters exchange traffic at all: mesh (every pair, the
// default), star (a hub with every other) or list. Each pair of regions whose
// nodes are to talk must have a link. A peering of a list or a star may limit
// what is sent through it by routes; there is no transit unless a route says via.
//
// Rules are stateful security lists. An ordered pair of clusters that no rule
// names is open; one that is named admits only what its rules list. The ends of
// a rule are clusters, or ranges of them, as a cloud's firewall has them:
//
//	{name: pods, from: [a/pods, b/pods], to: [a/pods, b/pods], allow: [tcp/*, udp/*, icmp]}
//
// # Stack, workloads, scenarios
//
// The stack is a hub (admin), what joins clusters to it (agents) and a service
// mesh (mesh); each may be left out. A workload is applied to the hub, or with
// via: direct to clusters. Its manifest is one of the library, a file in the
// topology's folder, or stands in the topology itself, as objects.
//
// A workload that goes to clusters directly may place its Deployments: one that
// place names is on the clusters that name it, all else is on every cluster.
//
// With policy: withhold a workload is applied to the hub without what would
// place it; a step of a placement applies the policy, extends it to further
// workloads or withholds it again:
//
//	scenarios:
//	- placement:
//	    workload: hello
//	    steps:
//	    - {policy: withhold, replicas: 3}                   # 0/3, and an event that says why
//	    - {policy: apply, weights: {us: 1, ap: 1, eu: 1}}
//	    - {extend: [sleep], weights: {us: 2, ap: 2, eu: 1}} # sleep: policy: withhold
//	    - {on: [us], events: [{on: Service/hello, reason: SyncSucceed, message: to cluster us}]}
//	- traffic: {from: sleep, to: "http://hello:5000", expect: {regions: true}} # from wherever it is
//
// A change adds clusters, links, peerings and rules to the running lab, and
// takes them away again when it has looked. What is added is checked as if it
// stood in the file.
//
// A scenario has exactly one kind: peering, placement, traffic, nodeFailure,
// controlPlaneFailure, agentPartition, running, proxies, firewall, shop or
// change. One without a name is called by its
// kind, the next of the kind with -2, and so on. An expect left out is what
// the plan predicts.
//
// # Strictness
//
// Unknown fields, duplicate keys, several documents and merge keys are
// faults. Anchors and aliases may be used. A file has at most 1 MiB.
package topologies
