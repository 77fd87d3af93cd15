package shop

import graph "github.com/atoll-dev/atoll/sim/shop"

// The messages of the demo's package hipstershop, as far as they are used; pb
// is a field's number there. What is beyond the demo has numbers from 1000 on,
// which its own programs pass over.

type empty struct{}

type money struct {
	Currency string `pb:"1"`
	Units    int64  `pb:"2"`
	Nanos    int32  `pb:"3"`
}

type product struct {
	ID         string   `pb:"1"`
	Name       string   `pb:"2"`
	Price      money    `pb:"5"`
	Categories []string `pb:"6"`
}

type productID struct {
	ID string `pb:"1"`
}

type products struct {
	Products []product `pb:"1"`
}

type userID struct {
	User string `pb:"1"`
}

type addItem struct {
	User string     `pb:"1"`
	Item graph.Item `pb:"2"`
}

type cart struct {
	User  string        `pb:"1"`
	Items []graph.Item  `pb:"2"`
	Kept  *graph.Served `pb:"1000"` // who keeps it
}

type recommend struct {
	User     string   `pb:"1"`
	Products []string `pb:"2"`
}

type recommended struct {
	Products []string `pb:"1"`
}

type currencies struct {
	Codes []string `pb:"1"`
}

type conversion struct {
	From money  `pb:"1"`
	To   string `pb:"2"`
}

type adRequest struct {
	Context []string `pb:"1"`
}

type ads struct {
	Ads []ad `pb:"1"`
}

type ad struct {
	Redirect string `pb:"1"`
	Text     string `pb:"2"`
}

type address struct {
	Street string `pb:"1"`
	City   string `pb:"2"`
	Zip    int32  `pb:"5"`
}

type shipment struct {
	Address address      `pb:"1"`
	Items   []graph.Item `pb:"2"`
}

type quote struct {
	Cost money `pb:"1"`
}

type tracking struct {
	ID string `pb:"1"`
}

type card struct {
	Number string `pb:"1"`
}

type charge struct {
	Amount money `pb:"1"`
	Card   card  `pb:"2"`
}

type transaction struct {
	ID string `pb:"1"`
}

type placeOrder struct {
	User     string  `pb:"1"`
	Currency string  `pb:"2"`
	Address  address `pb:"3"`
	Email    string  `pb:"5"`
	Card     card    `pb:"6"`
}

type orderItem struct {
	Item graph.Item `pb:"1"`
	Cost money      `pb:"2"`
}

type order struct {
	ID       string      `pb:"1"`
	Tracking string      `pb:"2"`
	Cost     money       `pb:"3"` // of shipping
	Address  address     `pb:"4"`
	Items    []orderItem `pb:"5"`
}

type placed struct {
	Order order          `pb:"1"`
	Parts []graph.Served `pb:"1000"` // who had a part in it
}

type confirmation struct {
	Email string `pb:"1"`
	Order order  `pb:"2"`
}
