// Package shop is the online shop of the workload library as data: the
// services of the public Online Boutique (once Hipster Shop), their ports, who
// calls whom, and which of them serves each part of a page.
//
//	shop.Home            // page, currency, catalog, cart, recommendations, ads
//	shop.Order           // order, shipping, payment, email
//
// Package program/shop plays the roles; scenario shop asks for the parts.
package shop

// Service is one of the shop's Deployments, called as its Service.
type Service struct {
	Name   string
	Port   uint16   // of the Service; 0 where there is none
	Target uint16   // of the pod
	Calls  []string // the services that it calls
}

// Services are the demo's, with its ports. Redis is one of them, as there.
var Services = []Service{
	{Name: "frontend", Port: 80, Target: 8080, Calls: []string{
		"productcatalogservice", "currencyservice", "cartservice", "recommendationservice", "shippingservice", "checkoutservice", "adservice",
	}},
	{Name: "productcatalogservice", Port: 3550, Target: 3550},
	{Name: "currencyservice", Port: 7000, Target: 7000},
	{Name: "cartservice", Port: 7070, Target: 7070, Calls: []string{"redis-cart"}},
	{Name: "redis-cart", Port: 6379, Target: 6379},
	{Name: "recommendationservice", Port: 8080, Target: 8080, Calls: []string{"productcatalogservice"}},
	{Name: "shippingservice", Port: 50051, Target: 50051},
	{Name: "checkoutservice", Port: 5050, Target: 5050, Calls: []string{
		"cartservice", "productcatalogservice", "currencyservice", "shippingservice", "paymentservice", "emailservice",
	}},
	{Name: "paymentservice", Port: 50051, Target: 50051},
	{Name: "emailservice", Port: 5000, Target: 8080},
	{Name: "adservice", Port: 9555, Target: 9555},
	{Name: "loadgenerator", Calls: []string{"frontend"}},
}

// Part is a piece of a page, and the service that it comes from.
type Part struct{ Name, Service string }

// The parts of the home page, and those of an order. The page itself is the
// frontend's; where the carts are kept, the cart service says.
var (
	Home = []Part{
		{"page", "frontend"}, {"currency", "currencyservice"}, {"catalog", "productcatalogservice"}, {"cart", "cartservice"},
		{"carts kept", "redis-cart"}, {"recommendations", "recommendationservice"}, {"ads", "adservice"},
	}
	Order = []Part{
		{"order", "checkoutservice"}, {"shipping", "shippingservice"}, {"payment", "paymentservice"}, {"email", "emailservice"},
	}
)

// Served says who served a part of a page, as the page itself tells it.
type Served struct {
	Part    string `json:"part" pb:"1"`
	Service string `json:"service" pb:"2"`
	Cluster string `json:"cluster,omitempty" pb:"3"` // empty where the part is missing
	Pod     string `json:"pod,omitempty" pb:"4"`
	Error   string `json:"error,omitempty" pb:"5"` // why it is missing
}

// Page is the shop's pages in JSON, for who asks by Accept: application/json.
type Page struct {
	Session         string   `json:"session"`
	Currency        string   `json:"currency"`
	Products        []string `json:"products,omitempty"`
	Cart            []Item   `json:"cart,omitempty"`
	Recommendations []string `json:"recommendations,omitempty"`
	Ad              string   `json:"ad,omitempty"`
	Order           string   `json:"order,omitempty"` // its number, after a checkout
	Parts           []Served `json:"parts"`
}

// Item is a line of a cart.
type Item struct {
	Product  string `json:"product_id" pb:"1"`
	Quantity int    `json:"quantity" pb:"2"`
}

// HealthPort is where every role but the frontend, which has it on its own
// port, answers GET HealthPath.
const (
	HealthPort = 8081
	HealthPath = "/_healthz"
)
