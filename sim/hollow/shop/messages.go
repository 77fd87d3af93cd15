package shop

import graph "github.com/atoll-dev/atoll/sim/shop"

// The demo's messages, as far as they are used.

type empty struct{}

type money struct {
	Currency string `json:"currency_code"`
	Units    int64  `json:"units"`
	Nanos    int64  `json:"nanos"`
}

type product struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Price      money    `json:"price_usd"`
	Categories []string `json:"categories"`
}

type productID struct {
	ID string `json:"id"`
}

type products struct {
	Products []product `json:"products"`
}

type userID struct {
	User string `json:"user_id"`
}

type addItem struct {
	User string     `json:"user_id"`
	Item graph.Item `json:"item"`
}

type cart struct {
	User  string        `json:"user_id"`
	Items []graph.Item  `json:"items"`
	Kept  *graph.Served `json:"kept,omitempty"` // beyond the demo: who keeps it
}

type recommend struct {
	User     string   `json:"user_id"`
	Products []string `json:"product_ids"`
}

type currencies struct {
	Codes []string `json:"currency_codes"`
}

type conversion struct {
	From money  `json:"from"`
	To   string `json:"to_code"`
}

type adRequest struct {
	Context []string `json:"context_keys"`
}

type ads struct {
	Ads []ad `json:"ads"`
}

type ad struct {
	Redirect string `json:"redirect_url"`
	Text     string `json:"text"`
}

type address struct {
	Street string `json:"street_address"`
	City   string `json:"city"`
	Zip    int    `json:"zip_code"`
}

type shipment struct {
	Address address      `json:"address"`
	Items   []graph.Item `json:"items"`
}

type quote struct {
	Cost money `json:"cost_usd"`
}

type tracking struct {
	ID string `json:"tracking_id"`
}

type charge struct {
	Amount money  `json:"amount"`
	Card   string `json:"credit_card_number"`
}

type transaction struct {
	ID string `json:"transaction_id"`
}

type placeOrder struct {
	User     string  `json:"user_id"`
	Currency string  `json:"user_currency"`
	Address  address `json:"address"`
	Email    string  `json:"email"`
	Card     string  `json:"credit_card_number"`
}

type order struct {
	ID       string         `json:"order_id"`
	Tracking string         `json:"shipping_tracking_id"`
	Cost     money          `json:"shipping_cost"`
	Items    []graph.Item   `json:"items"`
	Total    money          `json:"total"`
	Parts    []graph.Served `json:"parts"` // beyond the demo: who had a part in it
}

type confirmation struct {
	Email string `json:"email"`
	Order order  `json:"order"`
}
