package shop

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/program"
	graph "github.com/atoll-dev/atoll/sim/shop"
)

// town is a network on which each role is a host of its own.
type town struct {
	t     *testing.T
	mu    sync.Mutex
	ports map[string]string // HOST:PORT → where it listens really
	roles sync.WaitGroup
}

func (w *town) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	real, ok := w.ports[address]
	w.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: network, Err: io.ErrClosedPipe}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, real)
}

// start plays a role in a cluster until the test or stop ends it.
func (w *town) start(name, cluster string, env ...string) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	p := &program.Process{
		Args: []string{"/shop", name}, Env: append(env, "CLUSTER_NAME="+cluster, "HOSTNAME="+name+"-0"),
		Stdout: io.Discard, Stderr: io.Discard, Dial: w.dial,
		Listen: func(ctx context.Context, network, address string) (net.Listener, error) {
			var config net.ListenConfig
			l, err := config.Listen(ctx, network, "127.0.0.1:0")
			if err == nil {
				w.mu.Lock()
				w.ports[name+address] = l.Addr().String()
				w.mu.Unlock()
			}
			return l, err
		},
	}
	done := make(chan struct{})
	w.roles.Go(func() {
		defer close(done)
		if err := Run(ctx, p); err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
	return func() { cancel(); <-done }
}

// visitor is a browser that has opened the shop.
func (w *town) visitor() func(path string, form url.Values) (*graph.Page, int) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: w.dial}}
	return func(path string, form url.Values) (*graph.Page, int) {
		method := http.MethodGet
		if form != nil {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(w.t.Context(), method, "http://frontend:8080"+path, strings.NewReader(form.Encode()))
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return &graph.Page{}, 0
		}
		defer resp.Body.Close()
		page := &graph.Page{}
		if err := json.NewDecoder(resp.Body).Decode(page); err != nil {
			w.t.Fatal(err)
		}
		return page, resp.StatusCode
	}
}

func part(page *graph.Page, name string) graph.Served {
	i := slices.IndexFunc(page.Parts, func(p graph.Served) bool { return p.Part == name })
	if i < 0 {
		return graph.Served{}
	}
	return page.Parts[i]
}

func TestTheShop(t *testing.T) {
	w := &town{t: t, ports: map[string]string{}}
	defer w.roles.Wait()
	const catalog, currency, cart, shipping = "PRODUCT_CATALOG_SERVICE_ADDR=productcatalogservice:3550", "CURRENCY_SERVICE_ADDR=currencyservice:7000", "CART_SERVICE_ADDR=cartservice:7070", "SHIPPING_SERVICE_ADDR=shippingservice:50051"
	stops := map[string]func(){
		"redis-cart":  w.start("redis-cart", "b"),
		"cartservice": w.start("cartservice", "b", "REDIS_ADDR=redis-cart:6379"),
	}
	for name, env := range map[string][]string{
		"productcatalogservice": nil, "currencyservice": nil, "shippingservice": nil, "paymentservice": nil, "emailservice": nil, "adservice": nil,
		"recommendationservice": {catalog},
		"checkoutservice":       {catalog, currency, cart, shipping, "PAYMENT_SERVICE_ADDR=paymentservice:50051", "EMAIL_SERVICE_ADDR=emailservice:8080"},
		"frontend": {
			catalog, currency, cart, shipping, "RECOMMENDATION_SERVICE_ADDR=recommendationservice:8080",
			"CHECKOUT_SERVICE_ADDR=checkoutservice:5050", "AD_SERVICE_ADDR=adservice:9555",
		},
	} {
		stops[name] = w.start(name, "a", env...)
	}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	open := w.visitor()
	var page *graph.Page
	await(t, "the whole page", func() bool {
		page, _ = open("/", nil)
		return len(page.Parts) > 0 && !slices.ContainsFunc(page.Parts, func(p graph.Served) bool { return p.Cluster == "" })
	})
	if len(page.Products) != len(inventory) || len(page.Recommendations) != 5 || page.Ad == "" {
		t.Errorf("the page: %+v", page)
	}
	for _, p := range graph.Home {
		want := "a"
		if p.Name == "cart" || p.Name == "carts kept" {
			want = "b"
		}
		if got := part(page, p.Name); got.Cluster != want || got.Pod != p.Service+"-0" {
			t.Errorf("%s: got %+v, want cluster %s", p.Name, got, want)
		}
	}

	form := url.Values{"product_id": {"1YMWWN1N4O"}, "quantity": {"2"}}
	for range 2 {
		if _, code := open("/cart", form); code != http.StatusOK {
			t.Fatalf("add to the cart: %d", code)
		}
	}
	if page, _ = open("/", nil); len(page.Cart) != 1 || page.Cart[0].Quantity != 4 {
		t.Errorf("the cart: %+v", page.Cart)
	}
	if page, _ := w.visitor()("/", nil); len(page.Cart) != 0 {
		t.Errorf("somebody else's cart: %+v", page.Cart)
	}
	page, code := open("/cart/checkout", url.Values{})
	if code != http.StatusOK || page.Order == "" {
		t.Fatalf("checkout: %d %+v", code, page.Parts)
	}
	for _, p := range graph.Order {
		if got := part(page, p.Name); got.Cluster != "a" || got.Service != p.Service {
			t.Errorf("%s: got %+v", p.Name, got)
		}
	}
	if _, code := open("/cart/checkout", url.Values{}); code != http.StatusInternalServerError {
		t.Errorf("checkout of an empty cart: %d, want 500", code)
	}

	stops["cartservice"]()
	page, _ = open("/", nil)
	for _, p := range graph.Home {
		if got := part(page, p.Name); (got.Cluster == "") != (p.Name == "cart" || p.Name == "carts kept") {
			t.Errorf("without the cart service: %+v", got)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestAnUnknownRoleIsRefused(t *testing.T) {
	err := Run(t.Context(), &program.Process{Args: []string{"/shop", "frontent"}, Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "frontend") {
		t.Errorf("got %v, want the roles", err)
	}
}
