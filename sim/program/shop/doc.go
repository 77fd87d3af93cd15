// Package shop plays the roles of the public Online Boutique (once Hipster
// Shop), as programs of one small image: `shop frontend`, `shop cartservice`
// and so on.
//
// The services call each other along the demo's call graph by gRPC, with the
// demo's names of services and methods, and its messages (what is used of them)
// in protocol buffers; browsers and the load generator speak HTTP to the
// frontend; the cart service keeps carts in redis-cart, by Redis's protocol.
// Addresses come from the demo's variables (CART_SERVICE_ADDR …). Every answer
// names the pod and the cluster (CLUSTER_NAME) that gave it.
//
// What differs from the demo: the home page shows recommendations too, and a
// service that does not answer leaves its part of the page empty, where the
// demo's frontend answers 500.
package shop
