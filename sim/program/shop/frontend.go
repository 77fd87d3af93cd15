package shop

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"

	graph "github.com/atoll-dev/atoll/sim/shop"
)

// sessionCookie is the demo's.
const sessionCookie = "shop_session-id"

// partTimeout bounds the parts of a page, postTimeout what is posted. The demo
// has neither: what does not answer holds its page up. Both are less than the
// mesh gives a try with short timers, 2.5 s: a page that took longer would be
// asked for again by the gateway, and never be seen.
const (
	partTimeout = 1500 * time.Millisecond
	postTimeout = 2 * time.Second
)

// shopFront is the frontend: pages over the other services.
type shopFront struct {
	*role
	catalog, currency, cart, recommendation, shipping, checkout, ads *backend
}

func (r *role) frontend(ctx context.Context) error {
	f := &shopFront{role: r}
	for _, b := range []struct {
		to                **backend
		service, variable string
	}{
		{&f.catalog, "ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR"},
		{&f.currency, "CurrencyService", "CURRENCY_SERVICE_ADDR"},
		{&f.cart, "CartService", "CART_SERVICE_ADDR"},
		{&f.recommendation, "RecommendationService", "RECOMMENDATION_SERVICE_ADDR"},
		{&f.shipping, "ShippingService", "SHIPPING_SERVICE_ADDR"},
		{&f.checkout, "CheckoutService", "CHECKOUT_SERVICE_ADDR"},
		{&f.ads, "AdService", "AD_SERVICE_ADDR"},
	} {
		var err error
		if *b.to, err = r.dial(b.service, b.variable); err != nil {
			return err
		}
	}
	l, err := r.p.Listen(ctx, "tcp", ":"+r.port())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: f.routes(), ReadHeaderTimeout: 10 * time.Second}
	return r.serve(ctx, func() error { return server.Serve(l) }, func() { server.Close() })
}

func (f *shopFront) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.home)
	mux.HandleFunc("GET /product/{id}", f.product)
	mux.HandleFunc("GET /cart", f.home)
	mux.HandleFunc("POST /cart", f.addToCart)
	mux.HandleFunc("POST /cart/empty", f.emptyCart)
	mux.HandleFunc("POST /cart/checkout", f.placeOrder)
	mux.HandleFunc("POST /setCurrency", f.setCurrency)
	mux.HandleFunc("GET "+graph.HealthPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

// session is the user's, made with the first page.
func session(w http.ResponseWriter, r *http.Request) (id, currency string) {
	currency = "USD"
	if c, err := r.Cookie("shop_currency"); err == nil && rates[c.Value] != 0 {
		currency = c.Value
	}
	if c, err := r.Cookie(sessionCookie); err == nil && c.Value != "" {
		return c.Value, currency
	}
	id = uuid.NewString()
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", MaxAge: 48 * 60 * 60})
	return id, currency
}

// pageOf is a page without its parts.
func (f *shopFront) pageOf(id, currency string) *graph.Page {
	return &graph.Page{Session: id, Currency: currency, Parts: []graph.Served{
		{Part: "page", Service: "frontend", Cluster: f.cluster, Pod: f.pod},
	}}
}

// home asks for all parts at once, and shows those that came.
func (f *shopFront) home(w http.ResponseWriter, r *http.Request) {
	id, currency := session(w, r)
	page := f.pageOf(id, currency)
	ctx, cancel := context.WithTimeout(r.Context(), partTimeout)
	defer cancel()
	var parts parts
	parts.ask("currency", "currencyservice", func() (served, error) {
		_, by, err := call[currencies](ctx, f.currency, "GetSupportedCurrencies", &empty{})
		return by, err
	})
	parts.ask("catalog", "productcatalogservice", func() (served, error) {
		all, by, err := call[products](ctx, f.catalog, "ListProducts", &empty{})
		if err != nil {
			return by, err
		}
		shown := make([]string, len(all.Products))
		var converting sync.WaitGroup
		for i, p := range all.Products {
			converting.Go(func() {
				shown[i] = p.Name
				if price, _, err := call[money](ctx, f.currency, "Convert", &conversion{p.Price, currency}); err == nil {
					shown[i] += ", " + price.String()
				}
			})
		}
		converting.Wait()
		page.Products = shown
		return by, nil
	})
	var kept *graph.Served
	parts.ask("cart", "cartservice", func() (served, error) {
		c, by, err := call[cart](ctx, f.cart, "GetCart", &userID{id})
		if err == nil {
			page.Cart, kept = c.Items, c.Kept
		}
		return by, err
	})
	parts.ask("recommendations", "recommendationservice", func() (served, error) {
		got, by, err := call[recommended](ctx, f.recommendation, "ListRecommendations", &recommend{User: id})
		if err == nil {
			page.Recommendations = got.Products
		}
		return by, err
	})
	parts.ask("ads", "adservice", func() (served, error) {
		got, by, err := call[ads](ctx, f.ads, "GetAds", &adRequest{})
		if err == nil && len(got.Ads) > 0 {
			page.Ad = got.Ads[0].Text
		}
		return by, err
	})
	page.Parts = append(page.Parts, parts.wait()...)
	if kept == nil {
		kept = &graph.Served{Part: "carts kept", Service: "redis-cart", Error: "the cart service does not say"}
	}
	page.Parts = append(page.Parts, *kept)
	f.show(w, r, http.StatusOK, page)
}

// parts are asked for at the same time and told in order.
type parts struct {
	wg  sync.WaitGroup
	all []*graph.Served
}

func (p *parts) ask(name, service string, do func() (served, error)) {
	s := &graph.Served{Part: name, Service: service}
	p.all = append(p.all, s)
	p.wg.Go(func() {
		by, err := do()
		if err != nil {
			s.Error = status.Convert(err).Message()
			return
		}
		s.Cluster, s.Pod = by.cluster, by.pod
	})
}

func (p *parts) wait() []graph.Served {
	p.wg.Wait()
	out := make([]graph.Served, len(p.all))
	for i, s := range p.all {
		out[i] = *s
	}
	return out
}

func (f *shopFront) product(w http.ResponseWriter, r *http.Request) {
	id, currency := session(w, r)
	page := f.pageOf(id, currency)
	ctx, cancel := context.WithTimeout(r.Context(), partTimeout)
	defer cancel()
	var parts parts
	parts.ask("catalog", "productcatalogservice", func() (served, error) {
		p, by, err := call[product](ctx, f.catalog, "GetProduct", &productID{r.PathValue("id")})
		if err == nil {
			page.Products = []string{p.Name}
		}
		return by, err
	})
	parts.ask("recommendations", "recommendationservice", func() (served, error) {
		got, by, err := call[recommended](ctx, f.recommendation, "ListRecommendations", &recommend{User: id, Products: []string{r.PathValue("id")}})
		if err == nil {
			page.Recommendations = got.Products
		}
		return by, err
	})
	page.Parts = append(page.Parts, parts.wait()...)
	f.show(w, r, http.StatusOK, page)
}

func (f *shopFront) addToCart(w http.ResponseWriter, r *http.Request) {
	id, currency := session(w, r)
	quantity, err := strconv.Atoi(r.FormValue("quantity"))
	if err != nil || quantity < 1 || quantity > 100 || r.FormValue("product_id") == "" {
		http.Error(w, "product_id and a quantity from 1 to 100 are required", http.StatusUnprocessableEntity)
		return
	}
	page := f.pageOf(id, currency)
	ctx, cancel := context.WithTimeout(r.Context(), postTimeout)
	defer cancel()
	var parts parts
	parts.ask("catalog", "productcatalogservice", func() (served, error) {
		_, by, err := call[product](ctx, f.catalog, "GetProduct", &productID{r.FormValue("product_id")})
		return by, err
	})
	parts.ask("cart", "cartservice", func() (served, error) {
		_, by, err := call[empty](ctx, f.cart, "AddItem", &addItem{id, graph.Item{Product: r.FormValue("product_id"), Quantity: quantity}})
		return by, err
	})
	f.done(w, r, page, &parts)
}

func (f *shopFront) emptyCart(w http.ResponseWriter, r *http.Request) {
	id, currency := session(w, r)
	ctx, cancel := context.WithTimeout(r.Context(), partTimeout)
	defer cancel()
	var parts parts
	parts.ask("cart", "cartservice", func() (served, error) {
		_, by, err := call[empty](ctx, f.cart, "EmptyCart", &userID{id})
		return by, err
	})
	f.done(w, r, f.pageOf(id, currency), &parts)
}

func (f *shopFront) placeOrder(w http.ResponseWriter, r *http.Request) {
	id, currency := session(w, r)
	page := f.pageOf(id, currency)
	ctx, cancel := context.WithTimeout(r.Context(), postTimeout)
	defer cancel()
	var parts parts
	var further []graph.Served
	parts.ask("order", "checkoutservice", func() (served, error) {
		o, by, err := call[placed](ctx, f.checkout, "PlaceOrder", &placeOrder{
			User: id, Currency: currency, Email: "someone@example.com", Card: card{"4432801561520454"},
			Address: address{"1600 Amphitheatre Parkway", "Mountain View", 94043},
		})
		if err == nil {
			page.Order, further = o.Order.ID, o.Parts
			for _, i := range o.Order.Items {
				page.Cart = append(page.Cart, i.Item)
			}
		}
		return by, err
	})
	parts.wait()
	f.done(w, r, page, &parts, further...)
}

// done answers what was posted: a part that is missing is a failure here.
func (f *shopFront) done(w http.ResponseWriter, r *http.Request, page *graph.Page, p *parts, further ...graph.Served) {
	code := http.StatusOK
	for _, s := range p.wait() {
		if s.Error != "" {
			code = http.StatusInternalServerError
		}
		page.Parts = append(page.Parts, s)
	}
	page.Parts = append(page.Parts, further...)
	f.show(w, r, code, page)
}

func (f *shopFront) setCurrency(w http.ResponseWriter, r *http.Request) {
	session(w, r)
	code := r.FormValue("currency_code")
	if rates[code] == 0 {
		http.Error(w, "no such currency", http.StatusUnprocessableEntity)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "shop_currency", Value: code, Path: "/", MaxAge: 48 * 60 * 60})
	http.Redirect(w, r, "/", http.StatusFound)
}

func (f *shopFront) show(w http.ResponseWriter, r *http.Request, code int, page *graph.Page) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(page) // the browser may have gone
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if err := shopPage.Execute(w, page); err != nil && !errors.Is(err, http.ErrHandlerTimeout) {
		f.log("page: %v", err)
	}
}

var shopPage = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Online Boutique</title></head><body>
<h1>Online Boutique</h1>
{{with .Order}}<p>Your order is complete: {{.}}</p>{{end}}
<h2>Hot products</h2><ul>{{range .Products}}<li>{{.}}</li>{{else}}<li>not to be had now</li>{{end}}</ul>
<h2>Cart</h2><ul>{{range .Cart}}<li>{{.Quantity}} × {{.Product}}</li>{{else}}<li>empty</li>{{end}}</ul>
<h2>You may also like</h2><ul>{{range .Recommendations}}<li>{{.}}</li>{{else}}<li>nothing now</li>{{end}}</ul>
<p>{{.Ad}}</p>
<table><tr><th>part</th><th>service</th><th>cluster</th><th>pod</th></tr>
{{range .Parts}}<tr><td>{{.Part}}</td><td>{{.Service}}</td><td>{{or .Cluster "missing"}}</td><td>{{or .Pod .Error}}</td></tr>
{{end}}</table>
</body></html>
`))
