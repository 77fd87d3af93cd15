package shop

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atoll-dev/atoll/sim/program"
	graph "github.com/atoll-dev/atoll/sim/shop"
)

// role is one running service of the shop.
type role struct {
	p       *program.Process
	name    string
	cluster string
	pod     string
	conns   []*grpc.ClientConn

	mu sync.Mutex
}

var roles = map[string]func(*role, context.Context) error{
	"frontend":              (*role).frontend,
	"productcatalogservice": (*role).catalog,
	"currencyservice":       (*role).currency,
	"cartservice":           (*role).cart,
	"redis-cart":            (*role).redis,
	"recommendationservice": (*role).recommendation,
	"shippingservice":       (*role).shipping,
	"checkoutservice":       (*role).checkout,
	"paymentservice":        (*role).payment,
	"emailservice":          (*role).email,
	"adservice":             (*role).ads,
	"loadgenerator":         (*role).loadgenerator,
}

// Run is the program: it plays the role that its first argument names.
func Run(ctx context.Context, p *program.Process) error {
	name := ""
	if len(p.Args) > 1 {
		name = p.Args[1]
	}
	play := roles[name]
	if play == nil {
		return &program.ExitError{Code: 2, Msg: fmt.Sprintf("shop: no role %q; there are %s\n", name, strings.Join(slices.Sorted(maps.Keys(roles)), ", "))}
	}
	r := &role{p: p, name: name, cluster: p.Getenv("CLUSTER_NAME"), pod: p.Getenv("HOSTNAME")}
	defer func() {
		for _, c := range r.conns {
			c.Close()
		}
	}()
	r.log("%s starts in cluster %s", name, r.cluster)
	return play(r, ctx)
}

// log writes one line.
func (r *role) log(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.p.Stdout, "%s "+format+"\n", append([]any{time.Now().UTC().Format(time.RFC3339Nano)}, args...)...)
}

// port is where the role listens: the demo's, or PORT.
func (r *role) port() string {
	if p := r.p.Getenv("PORT"); p != "" {
		return p
	}
	for _, s := range graph.Services {
		if s.Name == r.name {
			return fmt.Sprint(s.Target)
		}
	}
	return "8080"
}

// inventory is the demo's.
var inventory = []product{
	{"OLJCESPC7Z", "Sunglasses", usd(19, 99), []string{"accessories"}},
	{"66VCHSJNUP", "Tank Top", usd(18, 99), []string{"clothing", "tops"}},
	{"1YMWWN1N4O", "Watch", usd(109, 99), []string{"accessories"}},
	{"L9ECAV7KIM", "Loafers", usd(89, 99), []string{"footwear"}},
	{"2ZYFJ3GM2N", "Hairdryer", usd(24, 99), []string{"hair", "beauty"}},
	{"0PUK6V6EV0", "Candle Holder", usd(18, 99), []string{"decor", "home"}},
	{"LS4PSXUNUM", "Salt & Pepper Shakers", usd(18, 49), []string{"kitchen"}},
	{"9SIQT8TOJO", "Bamboo Glass Jar", usd(5, 49), []string{"kitchen"}},
	{"6E92ZMYYFZ", "Mug", usd(8, 99), []string{"kitchen"}},
}

func usd(units, cents int64) money {
	return money{Currency: "USD", Units: units, Nanos: int32(cents) * 10_000_000}
}

func (r *role) catalog(ctx context.Context) error {
	return r.serveGRPC(ctx, "ProductCatalogService",
		method("ListProducts", func(context.Context, *empty) (*products, error) { return &products{inventory}, nil }),
		method("GetProduct", func(_ context.Context, q *productID) (*product, error) {
			for _, p := range inventory {
				if p.ID == q.ID {
					return &p, nil
				}
			}
			return nil, status.Errorf(codes.NotFound, "no product with ID %s", q.ID)
		}),
	)
}

// rates are what one euro is.
var rates = map[string]float64{"EUR": 1, "USD": 1.1305, "JPY": 126.40, "GBP": 0.85970, "TRY": 6.1247, "CAD": 1.5128}

func (r *role) currency(ctx context.Context) error {
	return r.serveGRPC(ctx, "CurrencyService",
		method("GetSupportedCurrencies", func(context.Context, *empty) (*currencies, error) {
			return &currencies{slices.Sorted(maps.Keys(rates))}, nil
		}),
		method("Convert", func(_ context.Context, q *conversion) (*money, error) {
			from, to := rates[q.From.Currency], rates[q.To]
			if from == 0 || to == 0 {
				return nil, status.Errorf(codes.InvalidArgument, "no rate from %q to %q", q.From.Currency, q.To)
			}
			return new(amount(q.To, (float64(q.From.Units)+float64(q.From.Nanos)/1e9)/from*to)), nil
		}),
	)
}

// amount rounds to cents.
func amount(currency string, value float64) money {
	cents := int64(math.Round(value * 100))
	return money{Currency: currency, Units: cents / 100, Nanos: int32(cents%100) * 10_000_000}
}

func (m money) float() float64 { return float64(m.Units) + float64(m.Nanos)/1e9 }

func (m money) String() string { return fmt.Sprintf("%s %.2f", m.Currency, m.float()) }

func (r *role) recommendation(ctx context.Context) error {
	catalog, err := r.dial("ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR")
	if err != nil {
		return err
	}
	return r.serveGRPC(ctx, "RecommendationService",
		method("ListRecommendations", func(ctx context.Context, q *recommend) (*recommended, error) {
			all, _, err := call[products](ctx, catalog, "ListProducts", &empty{})
			if err != nil {
				return nil, err
			}
			out := &recommended{}
			start := int(choice(q.User, uint32(max(len(all.Products), 1))))
			for i := range all.Products {
				p := all.Products[(start+i)%len(all.Products)].ID
				if len(out.Products) < 5 && !slices.Contains(q.Products, p) {
					out.Products = append(out.Products, p)
				}
			}
			return out, nil
		}),
	)
}

// choice is a number below n that the text decides.
func choice(text string, n uint32) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32() % n
}

func (r *role) shipping(ctx context.Context) error {
	return r.serveGRPC(ctx, "ShippingService",
		method("GetQuote", func(_ context.Context, q *shipment) (*quote, error) {
			if len(q.Items) == 0 {
				return &quote{usd(0, 0)}, nil
			}
			return &quote{usd(8, 99)}, nil
		}),
		method("ShipOrder", func(_ context.Context, q *shipment) (*tracking, error) {
			return &tracking{fmt.Sprintf("AT-%d-%s", len(q.Items), uuid.NewString()[:8])}, nil
		}),
	)
}

func (r *role) payment(ctx context.Context) error {
	return r.serveGRPC(ctx, "PaymentService",
		method("Charge", func(_ context.Context, q *charge) (*transaction, error) {
			if len(q.Card.Number) < 12 {
				return nil, status.Error(codes.InvalidArgument, "credit card info is invalid")
			}
			r.log("charged %s", q.Amount)
			return &transaction{uuid.NewString()}, nil
		}),
	)
}

func (r *role) email(ctx context.Context) error {
	return r.serveGRPC(ctx, "EmailService",
		method("SendOrderConfirmation", func(_ context.Context, q *confirmation) (*empty, error) {
			r.log("order %s confirmed to %s", q.Order.ID, q.Email)
			return &empty{}, nil
		}),
	)
}

var adTexts = map[string]ad{
	"clothing": {"/product/66VCHSJNUP", "Tank top for sale. 20% off."}, "accessories": {"/product/1YMWWN1N4O", "Watch for sale. Buy one, get second kit for free"},
	"footwear": {"/product/L9ECAV7KIM", "Loafers for sale. Buy one, get second one for free"}, "hair": {"/product/2ZYFJ3GM2N", "Hairdryer for sale. 50% off."},
	"decor": {"/product/0PUK6V6EV0", "Candle holder for sale. 30% off."}, "kitchen": {"/product/9SIQT8TOJO", "Bamboo glass jar for sale. 10% off."},
}

func (r *role) ads(ctx context.Context) error {
	return r.serveGRPC(ctx, "AdService",
		method("GetAds", func(_ context.Context, q *adRequest) (*ads, error) {
			out := &ads{}
			for _, key := range q.Context {
				if a, ok := adTexts[key]; ok {
					out.Ads = append(out.Ads, a)
				}
			}
			if len(out.Ads) == 0 {
				keys := slices.Sorted(maps.Keys(adTexts))
				out.Ads = []ad{adTexts[keys[choice(uuid.NewString(), uint32(len(keys)))]]}
			}
			return out, nil
		}),
	)
}
