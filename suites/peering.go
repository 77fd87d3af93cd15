package suites

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

// Ports of which it is known who listens there.
const (
	apiPort     = 6443
	gatewayPort = 15443
)

// question is one thing to try: does port answer, from one cluster to another?
type question struct {
	from, to string
	port     string // as in the file: "tcp/6443", "icmp"
}

func (q question) pair() string   { return q.from + "→" + q.to }
func (q question) String() string { return q.pair() + " " + q.port }

// peering tries every ordered pair of clusters on every port that the rules
// name, measures the round trips, and cuts and heals one peering.
func (s *scenario) peering(ctx context.Context) error {
	questions, expected := s.questions()
	if len(questions) == 0 {
		return invalid("the plan predicts no reachability for %s", s.spec.Name)
	}
	s.findGateways(ctx)
	cut := s.predict.Cut
	if len(cut) != 2 {
		return invalid("no pair of clusters may talk: there is nothing to cut")
	}
	fault := lab.Fault{Kind: lab.Partition, Between: cut}
	if s.opts.Invert {
		if err := s.breakWorld(ctx, fault); err != nil {
			return err
		}
	}
	var open [][2]string
	for _, q := range questions {
		if expected[q] {
			open = append(open, [2]string{q.from, q.to})
		}
	}
	cross, err := s.claimCrossing(ctx, open...)
	if err != nil {
		return err
	}

	s.begin("try %d ways", len(questions))
	if s.opts.Invert {
		s.judgeEach(ctx, questions, expected, func() {})
		return nil // what follows heals the very thing that was broken
	}
	// Measured while the silence of the others is listened to.
	var measured error
	s.judgeEach(ctx, questions, expected, func() {
		s.begin("measure round trips")
		measured = s.measureRoundTrips(ctx)
	})
	if err := errors.Join(measured, cross.verify(ctx, s)); err != nil {
		return err
	}

	s.begin("cut %s and %s apart", cut[0], cut[1])
	if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	without := map[question]bool{}
	for q, yes := range expected {
		apart := slices.Contains(cut, q.from) && slices.Contains(cut, q.to)
		without[q] = yes && !apart
	}
	s.judgePairs(ctx, "while cut: ", questions, without)

	s.begin("heal")
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	// What the rules forbid is forbidden still, and silence takes longest to hear.
	due := slices.DeleteFunc(slices.Clone(questions), func(q question) bool { return !expected[q] })
	s.judgePairs(ctx, "healed: ", due, expected)
	if s.spec.Peering.RemoveRoute != nil {
		return s.withoutRoute(ctx, questions, due, expected)
	}
	return nil
}

// questions lists what to try, in the plan's order, and what the plan predicts.
func (s *scenario) questions() ([]question, map[question]bool) {
	var list []question
	expected := map[question]bool{}
	for _, a := range s.plan.Clusters {
		for _, b := range s.plan.Clusters {
			ports := s.predict.Reachable[a.Name+"→"+b.Name]
			for _, port := range sortedKeys(ports) {
				q := question{a.Name, b.Name, port}
				if strings.HasPrefix(port, "udp/") {
					// Nothing that is known to be there answers on UDP.
					s.rec.mark(q.pair(), port+" is not tried: no known listener")
					continue
				}
				list = append(list, q)
				expected[q] = ports[port]
			}
		}
	}
	return list, expected
}

// judgeEach tries every question and keeps a check for each; meanwhile is done
// once all that is due has been answered.
func (s *scenario) judgeEach(ctx context.Context, questions []question, expected map[question]bool, meanwhile func()) {
	answers := s.tryAll(ctx, questions, expected, meanwhile)
	for i, q := range questions {
		a := answers[i]
		want := "no answer"
		if expected[q] {
			want = "an answer"
		}
		s.checkTimed(q.String(), want, a.seen, a.yes == expected[q], a.took)
	}
}

// judgePairs tries every question again and keeps one check for each pair.
func (s *scenario) judgePairs(ctx context.Context, when string, questions []question, expected map[question]bool) {
	answers := s.tryAll(ctx, questions, expected, func() {})
	var order []string
	want, seen := map[string][]string{}, map[string][]string{}
	for i, q := range questions {
		if !slices.Contains(order, q.pair()) {
			order = append(order, q.pair())
		}
		if expected[q] {
			want[q.pair()] = append(want[q.pair()], q.port)
		}
		if answers[i].yes {
			seen[q.pair()] = append(seen[q.pair()], q.port)
		}
	}
	text := func(ports []string) string {
		if len(ports) == 0 {
			return "no answers"
		}
		return "answers on " + strings.Join(ports, ", ")
	}
	for _, pair := range order {
		s.check(when+pair, text(want[pair]), text(seen[pair]), slices.Equal(want[pair], seen[pair]))
	}
}

// tryAll tries every question at once. When all that is due has been answered
// it does meanwhile, and returns when both that and the rest are over.
func (s *scenario) tryAll(ctx context.Context, questions []question, expected map[question]bool, meanwhile func()) []answerTo {
	answers := make([]answerTo, len(questions))
	var due, rest sync.WaitGroup
	for i, q := range questions {
		wg := &rest
		if expected[q] {
			wg = &due
		}
		wg.Go(func() { answers[i] = s.try(ctx, q, expected[q]) })
	}
	due.Wait()
	meanwhile()
	rest.Wait()
	return answers
}

// answerTo is what came of a question.
type answerTo struct {
	yes  bool
	seen string
	took time.Duration
}

// How long to wait for an answer: where none is due, one second or five round
// trips; where one is due, long enough that a busy machine is not taken for a
// closed port.
const (
	silence      = time.Second
	answerWithin = 5 * time.Second
)

func (s *scenario) try(ctx context.Context, q question, due bool) answerTo {
	w, _ := s.way(q.from, q.to)
	limit := max(silence, 5*w.rtt)
	if due && !s.opts.Invert {
		limit = max(answerWithin, 20*w.rtt)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	seen, err := s.ask(ctx, q)
	a := answerTo{yes: err == nil, seen: seen, took: time.Since(start)}
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		a.seen = fmt.Sprintf("no answer within %v", limit)
	default:
		a.seen = "no answer: " + err.Error()
	}
	return a
}

// ask tries once. Where something is known to listen, it has to answer; on
// other ports a refusal by the host shows as well that the network let it in.
func (s *scenario) ask(ctx context.Context, q question) (string, error) {
	from, to := lab.Place{Cluster: q.from}, lab.Place{Cluster: q.to}
	if q.port == "icmp" {
		rtt, err := s.echo(ctx, from, to)
		return fmt.Sprintf("echo after %v", rtt.Round(100*time.Microsecond)), err
	}
	addr, listens, err := s.target(q)
	if err != nil {
		return "", err
	}
	conn, err := s.lab.DialContext(ctx, from, "tcp", addr.String())
	if refused(err) && !listens {
		return "refused by " + addr.String() + ": let in, nobody listens", nil
	}
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if addr.Port() != apiPort {
		return "connected to " + addr.String(), nil
	}
	// An API server's host answers for it even when the process is gone; only
	// a handshake shows that it is there.
	t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // who answers is not the question
	if err := t.HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return "TLS with " + addr.String(), nil
}

// echo sends an echo a second until one is answered, as ping(8) does: links may
// lose some.
func (s *scenario) echo(ctx context.Context, from, to lab.Place) (time.Duration, error) {
	w, _ := s.way(from.Cluster, to.Cluster)
	for {
		one, cancel := context.WithTimeout(ctx, max(time.Second, 3*w.rtt))
		rtt, err := s.lab.Echo(one, from, to)
		lost := one.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !lost {
			return rtt, err
		}
	}
}

func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || err != nil && strings.Contains(err.Error(), "refused")
}

// target is where to knock, and whether somebody listens there.
func (s *scenario) target(q question) (addr netip.AddrPort, listens bool, err error) {
	c := s.plan.Cluster(q.to)
	port, err := parsePort(q.port)
	if err != nil {
		return addr, false, err
	}
	switch hub := s.plan.Hub; {
	case port == apiPort:
		return c.APIServer, true, nil
	case hub != nil && hub.Cluster == q.to && port == hub.Addr.Port():
		return hub.Addr, true, nil
	case port == gatewayPort && s.gateways[q.to].IsValid():
		return netip.AddrPortFrom(s.gateways[q.to], port), true, nil
	case port == gatewayPort && s.plan.MeshNetworks() > 1 && slices.Contains(meshClusters(s.plan.Topology), q.to):
		return addr, false, fmt.Errorf("the east-west gateway of %s has no address", q.to)
	}
	return netip.AddrPortFrom(c.APIServer.Addr(), port), false, nil
}

func parsePort(text string) (uint16, error) {
	proto, number, _ := strings.Cut(text, "/")
	if proto != "tcp" {
		return 0, invalid("the suites can't try %s", text)
	}
	ap, err := netip.ParseAddrPort("0.0.0.0:" + number)
	if err != nil {
		return 0, invalid("the suites can't try %s: %v", text, err)
	}
	return ap.Port(), nil
}

// findGateways reads the addresses of the east-west gateways from their
// Services. A cluster without one has its node probed instead.
func (s *scenario) findGateways(ctx context.Context) {
	s.gateways = map[string]netip.Addr{}
	if s.plan.MeshNetworks() < 2 {
		return
	}
	for _, name := range meshClusters(s.plan.Topology) {
		c, err := s.clients.cluster(name)
		if err != nil {
			continue
		}
		svc, err := c.kube.CoreV1().Services("istio-system").Get(ctx, "istio-eastwestgateway", metav1.GetOptions{})
		if err != nil || len(svc.Status.LoadBalancer.Ingress) == 0 {
			continue
		}
		if ip := net.ParseIP(svc.Status.LoadBalancer.Ingress[0].IP); ip != nil {
			s.gateways[name] = netip.MustParseAddr(ip.String())
		}
	}
}

// meshClusters are the clusters that have the mesh.
func meshClusters(t *topologies.Topology) []string {
	if t.Spec.Stack.Mesh == nil {
		return nil
	}
	return t.Spec.Stack.Mesh.On
}

// roundTripPings is how many echoes make one pair's round trip here; the
// links themselves are calibrated with more. As there, a pair out of tolerance
// is measured again, calibrationAttempts times in all.
const roundTripPings = 8

func (s *scenario) measureRoundTrips(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	found, ways := map[string]Latency{}, map[string]way{}
	inTolerance := func(pair string) bool {
		l, ok := found[pair]
		return !ok || l.Count > 0 && (l.Median-l.Expected).Abs() <= ways[pair].tolerance
	}
	left := sortedKeys(s.predict.RTT)
	attempts := map[string]int{}
	for attempt := 1; attempt <= calibrationAttempts && len(left) > 0; attempt++ {
		if attempt > 1 {
			var again [][2]string
			for _, pair := range left {
				from, to, _ := strings.Cut(pair, "→")
				again = append(again, [2]string{from, to})
			}
			s.awaitOtherJitter(s.waysOf(again)...)
		}
		var wg sync.WaitGroup
		for _, pair := range left {
			attempts[pair] = attempt
			wg.Go(func() {
				from, to, _ := strings.Cut(pair, "→")
				var got []time.Duration
				// The prediction is of the links as they begin; what holds now
				// is what their schedules have made of them.
				w, ok, err := s.steadily(lab.Place{Cluster: from}, lab.Place{Cluster: to}, func(w way) (err error) {
					got, err = s.pings(ctx, lab.Place{Cluster: from}, lab.Place{Cluster: to}, roundTripPings, w.rtt, 0)
					return err
				})
				mu.Lock()
				defer mu.Unlock()
				delete(found, pair)
				if ok {
					ways[pair] = w
					found[pair] = Latency{To: pair, Kind: "echo", Expected: w.rtt, Median: median(got), Max: longest(got), Count: len(got)}
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("ping %s: %w", pair, err))
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		left = slices.DeleteFunc(left, inTolerance)
	}
	for _, pair := range sortedKeys(s.predict.RTT) {
		l, ok := found[pair]
		if !ok {
			s.rec.mark(pair, "no round trip: a link on the way is down now")
			continue
		}
		seen := l.Median.Round(10 * time.Microsecond).String()
		if attempts[pair] > 1 {
			seen += fmt.Sprintf(" (measured %d times)", attempts[pair])
		}
		s.check("round trip "+pair, fmt.Sprintf("%v ± %v", l.Expected, ways[pair].tolerance), seen, inTolerance(pair))
		s.rec.latency(l)
	}
	return nil
}
