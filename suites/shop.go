package suites

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/shop"
)

const (
	// pageWithin bounds how long the shop's page may take to be whole.
	pageWithin = 30 * time.Second
	// pageLimit ends one request: longer than the frontend waits for a part.
	pageLimit = 20 * time.Second
)

// Where the gateway into the mesh is.
const (
	ingressNamespace = "istio-system"
	ingressService   = "istio-ingressgateway"
)

// browser is a visitor of the shop, with cookies of its own.
type browser struct {
	http *http.Client
	base string
}

// shop opens the shop's pages, and does what the scenario says in between.
func (s *scenario) shop(ctx context.Context) error {
	sc := s.spec.Shop
	if len(s.predict.Parts) == 0 {
		return invalid("the plan does not know which cluster serves which part of the shop")
	}
	b, err := s.visitor(ctx, sc.Gateway)
	if err != nil {
		return err
	}
	defer b.http.CloseIdleConnections()
	switch {
	case sc.Restart != "":
		return s.cartSurvives(ctx, b)
	case sc.Partition != "":
		return s.degrades(ctx, b)
	}
	return s.wholePage(ctx, b)
}

// visitor finds the gateway's address; its requests start in the gateway's
// cluster, as those of who stands before it.
func (s *scenario) visitor(ctx context.Context, name string) (*browser, error) {
	c, err := s.clients.cluster(name)
	if err != nil {
		return nil, err
	}
	s.begin("find the gateway of %s", name)
	var address string
	if _, err := until(ctx, "the address of "+ingressService+" of "+name, pageWithin, func(ctx context.Context) (string, bool) {
		svc, err := c.kube.CoreV1().Services(ingressNamespace).Get(ctx, ingressService, metav1.GetOptions{})
		if err != nil {
			return short(err), false
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 {
			return "no load balancer gives it one", false
		}
		address = svc.Status.LoadBalancer.Ingress[0].IP
		return address, true
	}); err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{base: "http://" + address, http: &http.Client{Jar: jar, Timeout: pageLimit, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.lab.DialContext(ctx, lab.Place{Cluster: name}, network, address)
		},
	}}}, nil
}

// open asks for a page as JSON; a form makes it a POST.
func (b *browser) open(ctx context.Context, path string, form url.Values) (*shop.Page, error) {
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	page := new(shop.Page)
	if err := json.Unmarshal(body, page); err != nil || len(page.Parts) == 0 {
		return nil, fmt.Errorf("HTTP %d: %s", resp.StatusCode, firstLine(string(body)))
	}
	if resp.StatusCode != http.StatusOK {
		return page, fmt.Errorf("HTTP %d: %s", resp.StatusCode, partsText(page.Parts))
	}
	return page, nil
}

// servedBy are a page's parts by name.
func servedBy(page *shop.Page) map[string]shop.Served {
	out := map[string]shop.Served{}
	for _, p := range page.Parts {
		out[p.Part] = p
	}
	return out
}

func partsText(parts []shop.Served) string {
	var out []string
	for _, p := range parts {
		switch {
		case p.Cluster != "":
			out = append(out, p.Part+" from "+p.Cluster)
		default:
			out = append(out, p.Part+" missing ("+p.Error+")")
		}
	}
	return strings.Join(out, ", ")
}

// asPredicted tells whether each part comes from where the plan says; without
// are those that are to be missing.
func (s *scenario) asPredicted(page *shop.Page, parts []shop.Part, without []string) bool {
	served := servedBy(page)
	return !slices.ContainsFunc(parts, func(p shop.Part) bool {
		cluster, may := served[p.Name].Cluster, s.predict.Parts[p.Name]
		if slices.Contains(without, p.Name) || len(may) == 0 {
			return cluster != ""
		}
		return !slices.Contains(may, cluster)
	})
}

// awaitHome opens the home page until it is as predicted, and keeps a check
// for each part.
func (s *scenario) awaitHome(ctx context.Context, b *browser, when string, within time.Duration, without []string) (*shop.Page, bool) {
	var last *shop.Page
	seen, took, err := s.watch(ctx, when+"the home page", within, func(ctx context.Context) (string, bool) {
		page, err := b.open(ctx, "/", nil)
		if err != nil {
			return short(err), false
		}
		last = page
		return partsText(page.Parts), s.asPredicted(page, shop.Home, without)
	})
	if last == nil {
		return nil, s.checkTimed(when+"the home page", "rendered", seen, false, took)
	}
	served := servedBy(last)
	for _, p := range shop.Home {
		want := "missing"
		if may := s.predict.Parts[p.Name]; len(may) > 0 && !slices.Contains(without, p.Name) {
			want = "from " + strings.Join(may, " or ")
		}
		got := served[p.Name]
		text := "from " + got.Cluster
		if got.Cluster == "" {
			text = "missing: " + got.Error
		}
		s.checkTimed(when+p.Name, want, text, s.asPredicted(last, []shop.Part{p}, without), took)
	}
	return last, err == nil
}

// verifyPods checks that the pods which a page names are in the clusters that
// it names, by those clusters' own APIs.
func (s *scenario) verifyPods(ctx context.Context, page *shop.Page) error {
	for _, p := range page.Parts {
		if p.Cluster == "" {
			continue
		}
		c, err := s.clients.cluster(p.Cluster)
		if err != nil {
			s.check("pod of "+p.Part, "one of "+p.Service, "in "+p.Cluster+", which is no cluster", false)
			continue
		}
		pod, err := c.kube.CoreV1().Pods(metav1.NamespaceDefault).Get(ctx, p.Pod, metav1.GetOptions{})
		if err != nil {
			s.check("pod of "+p.Part, "one of "+p.Service+" in "+p.Cluster, short(err), false)
			continue
		}
		s.check("pod of "+p.Part, "one of "+p.Service+" in "+p.Cluster, pod.Name+" in "+p.Cluster, pod.Labels["app"] == p.Service)
	}
	return nil
}

// elsewhere are the clusters other than the gateway's that serve parts.
func (s *scenario) elsewhere() []string {
	var out []string
	for _, name := range sortedKeys(s.predict.Parts) {
		for _, c := range s.predict.Parts[name] {
			if c != s.spec.Shop.Gateway && !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// wholePage opens the home page, and places an order through all the services.
func (s *scenario) wholePage(ctx context.Context, b *browser) error {
	others := s.elsewhere()
	cross, err := s.claimCrossing(ctx, from(s.spec.Shop.Gateway, others...)...)
	if err != nil {
		return err
	}
	if s.opts.Invert {
		if len(others) == 0 {
			return fmt.Errorf("%w: inverting needs a part that another cluster than the gateway's serves", lab.ErrUnsupported)
		}
		if err := s.breakWorld(ctx, lab.Fault{Kind: lab.Partition, Between: others[:1]}); err != nil {
			return err
		}
	}
	s.begin("open the home page")
	page, ok := s.awaitHome(ctx, b, "", s.patience(pageWithin), nil)
	if s.opts.Invert || !ok {
		return nil
	}
	if err := s.verifyPods(ctx, page); err != nil {
		return err
	}
	s.begin("place an order")
	if _, err := b.open(ctx, "/cart", url.Values{"product_id": {"OLJCESPC7Z"}, "quantity": {"2"}}); !s.check("put two into the cart", "done", errText(err), err == nil) {
		return nil
	}
	page, err = b.open(ctx, "/cart/checkout", url.Values{})
	if !s.check("checkout", "an order", errText(err), err == nil) {
		return nil
	}
	s.check("the order's number", "one", page.Order, page.Order != "")
	served := servedBy(page)
	for _, p := range shop.Order {
		may := s.predict.Parts[p.Name]
		s.check(p.Name, "from "+strings.Join(may, " or "), "from "+served[p.Name].Cluster, slices.Contains(may, served[p.Name].Cluster))
	}
	if err := s.verifyPods(ctx, page); err != nil {
		return err
	}
	return cross.verify(ctx, s)
}

func errText(err error) string {
	if err == nil {
		return "done"
	}
	return short(err)
}

// degrades cuts a cluster off: what lives there is missing, the rest is not.
func (s *scenario) degrades(ctx context.Context, b *browser) error {
	gone := s.spec.Shop.Partition
	if len(s.predict.Missing) == 0 {
		return invalid("nothing of the home page is served by %s", gone)
	}
	s.begin("open the home page")
	if _, ok := s.awaitHome(ctx, b, "before: ", s.patience(pageWithin), nil); !ok {
		return nil
	}
	fault := lab.Fault{Kind: lab.Partition, Between: []string{gone}}
	s.begin("cut %s off", gone)
	if s.opts.Invert {
		s.rec.inverted(notCutOff(gone))
	} else if _, err := s.inject(ctx, fault); err != nil {
		return err
	}
	page, _ := s.awaitHome(ctx, b, "while "+gone+" is cut off: ", s.patience(pageWithin), s.predict.Missing)
	if s.opts.Invert {
		return s.whetherCutOff(ctx, fault)
	}
	if page != nil {
		s.rec.mark(gone, "missing: "+strings.Join(s.predict.Missing, ", "))
	}
	s.begin("heal %s", gone)
	if _, err := s.heal(ctx, fault); err != nil {
		return err
	}
	s.awaitHome(ctx, b, "healed: ", s.patience(2*pageWithin), nil)
	return nil
}

func notCutOff(cluster string) string { return cluster + " was not cut off" }

// whetherCutOff is an error that says so if a partition is not in force.
func (s *scenario) whetherCutOff(ctx context.Context, f lab.Fault) error {
	st, err := s.lab.State(ctx)
	if err != nil {
		return invalid("read the lab's state: %v", err)
	}
	if !slices.ContainsFunc(st.Faults, func(g lab.Fault) bool { return g.Kind == f.Kind && slices.Equal(g.Between, f.Between) }) {
		return fmt.Errorf("no partition is in force: %s", notCutOff(f.Between[0]))
	}
	return nil
}

// keeper is where carts are kept.
const keeper = "redis-cart"

// cartSurvives fills a cart, replaces a Deployment's pod, and looks into the
// cart again. Inverted, the store that keeps it is replaced as well.
func (s *scenario) cartSurvives(ctx context.Context, b *browser) error {
	restart := s.spec.Shop.Restart
	s.begin("fill a cart")
	page, ok := s.awaitHome(ctx, b, "before: ", s.patience(pageWithin), nil)
	if !ok {
		return nil
	}
	before := servedBy(page)["carts kept"].Pod
	if _, err := b.open(ctx, "/cart", url.Values{"product_id": {"1YMWWN1N4O"}, "quantity": {"3"}}); !s.check("put three into the cart", "done", errText(err), err == nil) {
		return nil
	}
	want := []shop.Item{{Product: "1YMWWN1N4O", Quantity: 3}}
	s.begin("replace the pod of %s", restart)
	if err := s.replacePod(ctx, restart); err != nil {
		return err
	}
	if s.opts.Invert {
		s.rec.inverted(storeReplaced)
		if err := s.replacePod(ctx, keeper); err != nil {
			return err
		}
	}
	s.begin("look into the cart")
	if page, ok = s.awaitHome(ctx, b, "afterwards: ", pageWithin, nil); !ok || page == nil {
		return nil
	}
	s.check("the cart", fmt.Sprint(want), fmt.Sprint(page.Cart), slices.Equal(page.Cart, want))
	if now := servedBy(page)["carts kept"].Pod; now != before {
		return fmt.Errorf("%s: %s kept the cart, and now it is %s", storeReplaced, before, now)
	}
	return nil
}

const storeReplaced = "the pod of " + keeper + " was replaced"

// replacePod deletes a Deployment's pods, wherever it is, and waits until
// others are ready in their place.
func (s *scenario) replacePod(ctx context.Context, deployment string) error {
	for _, name := range sortedKeys(s.plan.Topology.Workload("shop").Place) {
		if !slices.Contains(s.plan.Topology.Workload("shop").Place[name], deployment) {
			continue
		}
		c, err := s.clients.cluster(name)
		if err != nil {
			return err
		}
		d, err := c.kube.AppsV1().Deployments(metav1.NamespaceDefault).Get(ctx, deployment, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pods, err := podsOfDeployment(ctx, c, d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var old []string
		for i := range pods {
			old = append(old, pods[i].Name)
			if err := c.kube.CoreV1().Pods(metav1.NamespaceDefault).Delete(ctx, pods[i].Name, metav1.DeleteOptions{}); ignoreNotFound(err) != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		s.rec.mark(name, deployment+" replaced")
		_, err = until(ctx, "another pod of "+deployment+" in "+name, runningWithin, func(ctx context.Context) (string, bool) {
			text, ready := podsOf(ctx, c, deployment)
			if !ready {
				return text, false
			}
			now, err := podsOfDeployment(ctx, c, d)
			if err != nil {
				return short(err), false
			}
			for i := range now {
				if slices.Contains(old, now[i].Name) {
					return now[i].Name + " is still there", false
				}
			}
			return text, true
		})
		return err
	}
	return invalid("the shop does not place %s", deployment)
}
