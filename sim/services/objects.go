package services

import (
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// IP protocol numbers of Kubernetes' protocols, as far as they are served.
var protocols = map[corev1.Protocol]uint8{corev1.ProtocolTCP: 6, corev1.ProtocolUDP: 17, "": 6}

func keepService(s *corev1.Service) *service {
	k := &service{
		name:         types.NamespacedName{Namespace: s.Namespace, Name: s.Name},
		kind:         s.Spec.Type,
		externalName: strings.TrimSuffix(s.Spec.ExternalName, "."),
		headless:     s.Spec.ClusterIP == corev1.ClusterIPNone,
	}
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	k.clusterIPs = addrs4(ips...)
	k.externalIPs = addrs4(s.Spec.ExternalIPs...)
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IPMode != nil && *in.IPMode == corev1.LoadBalancerIPModeProxy {
			continue // to be reached through the load balancer itself
		}
		k.externalIPs = append(k.externalIPs, addrs4(in.IP)...)
	}
	for _, p := range s.Spec.Ports {
		if proto, ok := protocols[p.Protocol]; ok && validPort(p.Port) {
			k.ports = append(k.ports, port{name: p.Name, proto: proto, number: uint16(p.Port)})
		}
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		k.affinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			k.affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	k.balanced = balanced{
		wanted:    s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.DeletionTimestamp == nil,
		requested: s.Spec.LoadBalancerIP,
	}
	if c := s.Spec.LoadBalancerClass; c != nil {
		k.balanced.class = *c
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		k.balanced.ingress = append(k.balanced.ingress, addrs4(in.IP)...)
	}
	return k
}

// sliceService is the service that a slice is of; its name is empty for none.
func sliceService(s *discoveryv1.EndpointSlice) types.NamespacedName {
	if s.AddressType != discoveryv1.AddressTypeIPv4 {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
}

func keepSlice(s *discoveryv1.EndpointSlice) *slice {
	k := &slice{}
	for _, p := range s.Ports {
		var proto corev1.Protocol
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		number, ok := protocols[proto]
		if !ok {
			continue
		}
		kept := port{proto: number}
		if p.Name != nil {
			kept.name = *p.Name
		}
		if p.Port != nil && validPort(*p.Port) {
			kept.number = uint16(*p.Port)
		}
		k.ports = append(k.ports, kept)
	}
	for _, e := range s.Endpoints {
		c := e.Conditions
		kept := endpoint{
			ready:              c.Ready == nil || *c.Ready,
			servingTerminating: c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating,
		}
		if e.Hostname != nil {
			kept.hostname = strings.ToLower(*e.Hostname)
		}
		// The API: consumers use the first address of an endpoint.
		if a := addrs4(e.Addresses...); len(a) > 0 {
			kept.addr = a[0]
			k.endpoints = append(k.endpoints, kept)
		}
	}
	return k
}

func validPort(p int32) bool { return p > 0 && p < 65536 }

// addrs4 are the IPv4 addresses among texts; "", "None" and others are not.
func addrs4(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil && a.Unmap().Is4() {
			out = append(out, a.Unmap())
		}
	}
	return out
}
