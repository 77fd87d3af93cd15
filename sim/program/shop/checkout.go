package shop

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	graph "github.com/atoll-dev/atoll/sim/shop"
)

// till is what the checkout service calls.
type till struct{ cart, catalog, currency, shipping, payment, email *backend }

func (r *role) checkout(ctx context.Context) error {
	var t till
	for _, b := range []struct {
		to                **backend
		service, variable string
	}{
		{&t.cart, "CartService", "CART_SERVICE_ADDR"},
		{&t.catalog, "ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR"},
		{&t.currency, "CurrencyService", "CURRENCY_SERVICE_ADDR"},
		{&t.shipping, "ShippingService", "SHIPPING_SERVICE_ADDR"},
		{&t.payment, "PaymentService", "PAYMENT_SERVICE_ADDR"},
		{&t.email, "EmailService", "EMAIL_SERVICE_ADDR"},
	} {
		var err error
		if *b.to, err = r.dial(b.service, b.variable); err != nil {
			return err
		}
	}
	return r.serveGRPC(ctx, "CheckoutService", method("PlaceOrder", t.place))
}

// place is the demo's PlaceOrder, step by step.
func (t *till) place(ctx context.Context, q *placeOrder) (*placed, error) {
	basket, _, err := call[cart](ctx, t.cart, "GetCart", &userID{q.User})
	if err != nil {
		return nil, fmt.Errorf("cart: %w", err)
	}
	if len(basket.Items) == 0 {
		return nil, status.Error(codes.FailedPrecondition, "the cart is empty")
	}
	out := &placed{Order: order{ID: uuid.NewString(), Address: q.Address}}
	part := func(name, service string, by served) {
		out.Parts = append(out.Parts, graph.Served{Part: name, Service: service, Cluster: by.cluster, Pod: by.pod})
	}
	total := 0.0
	for _, item := range basket.Items {
		p, _, err := call[product](ctx, t.catalog, "GetProduct", &productID{item.Product})
		if err != nil {
			return nil, fmt.Errorf("product %s: %w", item.Product, err)
		}
		price, _, err := call[money](ctx, t.currency, "Convert", &conversion{p.Price, q.Currency})
		if err != nil {
			return nil, fmt.Errorf("price of %s: %w", item.Product, err)
		}
		total += price.float() * float64(item.Quantity)
		out.Order.Items = append(out.Order.Items, orderItem{item, *price})
	}
	cost, _, err := call[quote](ctx, t.shipping, "GetQuote", &shipment{q.Address, basket.Items})
	if err != nil {
		return nil, fmt.Errorf("shipping quote: %w", err)
	}
	converted, _, err := call[money](ctx, t.currency, "Convert", &conversion{cost.Cost, q.Currency})
	if err != nil {
		return nil, fmt.Errorf("shipping cost: %w", err)
	}
	out.Order.Cost = *converted
	_, by, err := call[transaction](ctx, t.payment, "Charge", &charge{amount(q.Currency, total+converted.float()), q.Card})
	if err != nil {
		return nil, fmt.Errorf("payment: %w", err)
	}
	part("payment", "paymentservice", by)
	shipped, by, err := call[tracking](ctx, t.shipping, "ShipOrder", &shipment{q.Address, basket.Items})
	if err != nil {
		return nil, fmt.Errorf("shipping: %w", err)
	}
	out.Order.Tracking = shipped.ID
	part("shipping", "shippingservice", by)
	if _, _, err := call[empty](ctx, t.cart, "EmptyCart", &userID{q.User}); err != nil {
		return nil, fmt.Errorf("empty the cart: %w", err)
	}
	if _, by, err = call[empty](ctx, t.email, "SendOrderConfirmation", &confirmation{q.Email, out.Order}); err != nil {
		return nil, fmt.Errorf("confirmation: %w", err)
	}
	part("email", "emailservice", by)
	return out, nil
}
