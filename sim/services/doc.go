// Package services is what a cluster knows about its Services, made from the
// Service and EndpointSlice objects of its API server: kube-proxy's choice of
// backends, the names of the cluster's DNS, and the addresses of its load
// balancer.
//
//	table, _ := services.Watch(ctx, client, seed) // stays current until ctx is done
//	host.SetServices(table)                     // a kube-proxy on a node or pod
//	network.SetEdge(cluster.LBCIDR, table)      // the cluster's load balancer answers
//	dns := services.NewDNS(table, "cluster.local")
//	balancer := &services.Balancer{Client: client, Table: table, Prefix: cluster.LBCIDR}
//	go balancer.Run(ctx)
//
// Left out: IPv6, SCTP, node ports, traffic policies and topology hints (every
// endpoint counts alike), source ranges of load balancers.
package services
