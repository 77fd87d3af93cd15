package services

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

const (
	tcp = 6
	udp = 17
)

func newService(name, ip string, ports ...string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip},
	}
	for _, p := range ports {
		sp := corev1.ServicePort{Protocol: corev1.ProtocolTCP}
		if _, err := fmt.Sscanf(p, "%d", &sp.Port); err != nil {
			if _, err := fmt.Sscanf(p, "udp/%d", &sp.Port); err == nil {
				sp.Protocol, sp.Name = corev1.ProtocolUDP, "u"
			} else if _, err := fmt.Sscanf(p, "http/%d", &sp.Port); err == nil {
				sp.Name = "http"
			} else {
				panic(p)
			}
		}
		s.Spec.Ports = append(s.Spec.Ports, sp)
	}
	return s
}

// condition of an endpoint: ready, terminating but serving, not ready.
type condition string

const (
	isReady       condition = "ready"
	isTerminating condition = "terminating"
	isNotReady    condition = "not ready"
)

func newSlice(service, suffix, portName string, proto corev1.Protocol, port int32, endpoints map[string]condition) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: service + "-" + suffix,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Protocol: &proto, Port: &port}},
	}
	for addr, c := range endpoints {
		ready, terminating := c == isReady, c == isTerminating
		serving := ready || terminating
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{addr},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		})
	}
	return s
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// picks counts which backends new flows to dst get.
func picks(t *testing.T, tb *Table, proto uint8, dst string, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for i := range n {
		b, known := tb.Backend(proto, netip.AddrPortFrom(netip.MustParseAddr("10.1.0.1"), uint16(40000+i)), ap(dst))
		switch {
		case !known:
			count["unknown"]++
		case !b.IsValid():
			count["none"]++
		default:
			count[b.String()]++
		}
	}
	return count
}

func TestBackends(t *testing.T) {
	lb := newService("lb", "10.96.0.3", "80")
	lb.Spec.Type = corev1.ServiceTypeLoadBalancer
	lb.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.192.1"}, {Hostname: "elsewhere"}}
	proxied := newService("proxied", "10.96.0.4", "80")
	mode := corev1.LoadBalancerIPModeProxy
	proxied.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.192.2", IPMode: &mode}}
	external := newService("external", "", "80")
	external.Spec.Type, external.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	v6 := newSlice("hello", "v6", "http", corev1.ProtocolTCP, 8080, map[string]condition{"fd00::1": isReady})
	v6.AddressType = discoveryv1.AddressTypeIPv6
	orphan := newSlice("", "x", "", corev1.ProtocolTCP, 1, map[string]condition{"10.1.0.9": isReady})

	tb := NewTable(1)
	tb.Set([]*corev1.Service{
		newService("hello", "10.96.0.1", "http/5000", "udp/53"), newService("draining", "10.96.0.2", "80"), lb, proxied, external,
		newService("headless", "None", "80"), newService("empty", "10.96.0.5", "80"),
	}, []*discoveryv1.EndpointSlice{
		newSlice("hello", "a", "http", corev1.ProtocolTCP, 8080, map[string]condition{"10.1.0.2": isReady, "10.1.0.3": isNotReady, "10.1.0.4": isTerminating}),
		newSlice("hello", "b", "http", corev1.ProtocolTCP, 8080, map[string]condition{"10.1.0.5": isReady, "10.1.0.2": isReady}),
		newSlice("hello", "c", "u", corev1.ProtocolUDP, 5353, map[string]condition{"10.1.0.2": isReady}),
		newSlice("draining", "a", "", corev1.ProtocolTCP, 80, map[string]condition{"10.1.0.6": isTerminating, "10.1.0.7": isNotReady}),
		newSlice("lb", "a", "", corev1.ProtocolTCP, 80, map[string]condition{"10.1.0.8": isReady}),
		newSlice("headless", "a", "", corev1.ProtocolTCP, 80, map[string]condition{"10.1.0.8": isReady}),
		v6, orphan,
	})
	for _, c := range []struct {
		name  string
		proto uint8
		dst   string
		want  []string
	}{
		{"ready endpoints of all slices, once each", tcp, "10.96.0.1:5000", []string{"10.1.0.2:8080", "10.1.0.5:8080"}},
		{"a port of another protocol", udp, "10.96.0.1:53", []string{"10.1.0.2:5353"}},
		{"another protocol's port", udp, "10.96.0.1:5000", []string{"unknown"}},
		{"a port the service lacks", tcp, "10.96.0.1:81", []string{"unknown"}},
		{"terminating ones where none is ready", tcp, "10.96.0.2:80", []string{"10.1.0.6:80"}},
		{"a load balancer's address", tcp, "10.0.192.1:80", []string{"10.1.0.8:80"}},
		{"its cluster IP", tcp, "10.96.0.3:80", []string{"10.1.0.8:80"}},
		{"a load balancer that wants the traffic itself", tcp, "10.0.192.2:80", []string{"unknown"}},
		{"no endpoints", tcp, "10.96.0.5:80", []string{"none"}},
	} {
		got := picks(t, tb, c.proto, c.dst, 200)
		for _, w := range c.want {
			if share := got[w] * len(c.want); share < 150 || share > 250 {
				t.Errorf("%s: %v, want equal shares of %v", c.name, got, c.want)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if !tb.HasBackend(tcp, ap("10.96.0.1:5000"), ap("10.1.0.2:8080")) || tb.HasBackend(tcp, ap("10.96.0.1:5000"), ap("10.1.0.3:8080")) {
		t.Error("HasBackend disagrees with Backend")
	}
}

func TestChoicesHangOnTheSeed(t *testing.T) {
	draw := func(seed uint64) string {
		tb := NewTable(seed)
		tb.Set([]*corev1.Service{newService("s", "10.96.0.1", "80")}, []*discoveryv1.EndpointSlice{
			newSlice("s", "a", "", corev1.ProtocolTCP, 80, map[string]condition{"10.1.0.1": isReady, "10.1.0.2": isReady, "10.1.0.3": isReady}),
		})
		var out string
		for range 30 {
			b, _ := tb.Backend(tcp, ap("10.9.0.1:1"), ap("10.96.0.1:80"))
			out += b.String() + " "
		}
		return out
	}
	if draw(1) != draw(1) { //nolint:staticcheck // the second draw must be the same
		t.Error("one seed, two sequences")
	}
	if draw(1) == draw(2) {
		t.Error("two seeds, one sequence")
	}
}

func TestSessionAffinity(t *testing.T) {
	s := newService("s", "10.96.0.1", "80")
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	seconds := int32(60)
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	all := map[string]condition{}
	for i := range 20 {
		all[fmt.Sprintf("10.1.0.%d", i+1)] = isReady
	}
	tb := NewTable(1)
	now := time.Now()
	tb.now = func() time.Time { return now }
	tb.Set([]*corev1.Service{s}, []*discoveryv1.EndpointSlice{newSlice("s", "a", "", corev1.ProtocolTCP, 80, all)})
	first := picks(t, tb, tcp, "10.96.0.1:80", 50)
	if len(first) != 1 {
		t.Fatalf("one client was given %v", first)
	}
	tb.setService(s) // as when the status changes
	if again := picks(t, tb, tcp, "10.96.0.1:80", 50); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("the session moved from %v to %v", first, again)
	}
	for b := range first {
		delete(all, ap(b).Addr().String())
	}
	tb.setSlice(newSlice("s", "a", "", corev1.ProtocolTCP, 80, all))
	second := picks(t, tb, tcp, "10.96.0.1:80", 50)
	if len(second) != 1 || fmt.Sprint(second) == fmt.Sprint(first) {
		t.Errorf("the backend of %v is gone: got %v", first, second)
	}
	moved := map[string]int{}
	for range 20 {
		now = now.Add(61 * time.Second)
		for b := range picks(t, tb, tcp, "10.96.0.1:80", 1) {
			moved[b]++
		}
	}
	if len(moved) < 2 {
		t.Error("the session never ends")
	}
}

func TestWatchFollows(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := fake.NewClientset(newService("old", "10.96.0.9", "80"))
	tb, err := Watch(ctx, client, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := picks(t, tb, tcp, "10.96.0.9:80", 1); got["none"] != 1 {
		t.Errorf("after the first list: %v", got)
	}
	wait := func(dst, want string) {
		t.Helper()
		for {
			got := picks(t, tb, tcp, dst, 1)
			if got[want] == 1 {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s leads to %v, want %s", dst, got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	svc, err := client.CoreV1().Services("default").Create(ctx, newService("hello", "10.96.0.1", "80"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:80", "none")
	sl := newSlice("hello", "a", "", corev1.ProtocolTCP, 8080, map[string]condition{"10.1.0.2": isReady})
	if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, sl, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:80", "10.1.0.2:8080")
	sl.Endpoints[0].Addresses[0] = "10.1.0.3"
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, sl, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:80", "10.1.0.3:8080")
	svc.Spec.Ports[0].Port = 81
	if _, err := client.CoreV1().Services("default").Update(ctx, svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:81", "10.1.0.3:8080")
	wait("10.96.0.1:80", "unknown")
	if err := client.DiscoveryV1().EndpointSlices("default").Delete(ctx, sl.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:81", "none")
	if err := client.CoreV1().Services("default").Delete(ctx, "hello", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("10.96.0.1:81", "unknown")
}

func TestBalancer(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	balanced := func(name string, ingress ...string) *corev1.Service {
		s := newService(name, "", "80")
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		for _, i := range ingress {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: i})
		}
		return s
	}
	asks := balanced("asks")
	asks.Spec.LoadBalancerIP = "10.0.192.5"
	others := balanced("others")
	class := "example.com/lb"
	others.Spec.LoadBalancerClass = &class
	// Five addresses can be given: .1 to .6 of a /29.
	client := fake.NewClientset(balanced("kept", "10.0.192.2"), asks, others, newService("plain", "10.96.0.1", "80"),
		balanced("twin-a", "10.0.192.3"), balanced("twin-b", "10.0.192.3"))
	tb, err := Watch(ctx, client, 1)
	if err != nil {
		t.Fatal(err)
	}
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		b := &Balancer{Client: client, Table: tb, Prefix: netip.MustParsePrefix("10.0.192.0/29")}
		go func() { done <- b.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	wait := func(want map[string]string) {
		t.Helper()
		for {
			got := map[string]string{}
			list, err := client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Items {
				for _, i := range s.Status.LoadBalancer.Ingress {
					got[s.Name] += i.IP
				}
			}
			if fmt.Sprint(got) == fmt.Sprint(want) {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("addresses are %v, want %v", got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	stop := run()
	wait(map[string]string{"kept": "10.0.192.2", "asks": "10.0.192.5", "twin-a": "10.0.192.3", "twin-b": "10.0.192.1"})
	create := func(name string) {
		t.Helper()
		if _, err := client.CoreV1().Services("default").Create(ctx, balanced(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("new")
	wait(map[string]string{"kept": "10.0.192.2", "asks": "10.0.192.5", "twin-a": "10.0.192.3", "twin-b": "10.0.192.1", "new": "10.0.192.4"})
	stop()
	stop = run() // a restart changes nothing
	defer func() { stop() }()
	create("last")
	wait(map[string]string{"kept": "10.0.192.2", "asks": "10.0.192.5", "twin-a": "10.0.192.3", "twin-b": "10.0.192.1", "new": "10.0.192.4", "last": "10.0.192.6"})
	create("late") // none is free, until one goes and one changes
	if err := client.CoreV1().Services("default").Delete(ctx, "kept", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(map[string]string{"asks": "10.0.192.5", "twin-a": "10.0.192.3", "twin-b": "10.0.192.1", "new": "10.0.192.4", "last": "10.0.192.6", "late": "10.0.192.2"})
	s, err := client.CoreV1().Services("default").Get(ctx, "new", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Spec.Type = corev1.ServiceTypeClusterIP
	if _, err := client.CoreV1().Services("default").Update(ctx, s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(map[string]string{"asks": "10.0.192.5", "twin-a": "10.0.192.3", "twin-b": "10.0.192.1", "last": "10.0.192.6", "late": "10.0.192.2"})
}
