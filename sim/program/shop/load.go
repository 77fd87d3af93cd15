package shop

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How long a user waits between two requests: the demo's.
const (
	shortestWait = time.Second
	longestWait  = 10 * time.Second
)

// loadgenerator has USERS users browse, fill carts and order, as the demo's.
func (r *role) loadgenerator(ctx context.Context) error {
	front := r.p.Getenv("FRONTEND_ADDR")
	if front == "" {
		return errors.New("FRONTEND_ADDR is not set")
	}
	users, err := strconv.Atoi(r.p.Getenv("USERS"))
	if err != nil || users < 1 {
		return fmt.Errorf("USERS: %q is not a number of users", r.p.Getenv("USERS"))
	}
	h := fnv.New64a()
	h.Write([]byte(r.pod))
	var asked, failed atomic.Uint64
	ctx, cancel := context.WithCancel(ctx)
	return r.serve(ctx, func() error {
		var all sync.WaitGroup
		for i := range users {
			rng := rand.New(rand.NewPCG(h.Sum64(), uint64(i)))
			all.Go(func() { r.user(ctx, "http://"+front, rng, &asked, &failed) })
		}
		all.Wait()
		r.log("%d requests, %d of them failed", asked.Load(), failed.Load())
		return nil
	}, cancel)
}

// user does one thing after another until ctx ends.
func (r *role) user(ctx context.Context, front string, rng *rand.Rand, asked, failed *atomic.Uint64) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.log("%v", err)
		return
	}
	transport := &http.Transport{DialContext: r.p.Dial}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Jar: jar, Timeout: 20 * time.Second}
	for {
		wait := shortestWait + time.Duration(rng.Int64N(int64(longestWait-shortestWait)))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		method, path, form := task(rng)
		asked.Add(1)
		if err := ask(ctx, client, method, front+path, form); err != nil && ctx.Err() == nil {
			failed.Add(1)
			r.log("%s %s: %v", method, path, err)
		}
	}
}

// task is one of the demo's, with its weights.
func task(rng *rand.Rand) (method, path string, form url.Values) {
	id := inventory[rng.IntN(len(inventory))].ID
	add := url.Values{"product_id": {id}, "quantity": {strconv.Itoa(1 + rng.IntN(10))}}
	switch n := rng.IntN(19); {
	case n < 1:
		return http.MethodGet, "/", nil
	case n < 3:
		return http.MethodPost, "/setCurrency", url.Values{"currency_code": {[]string{"EUR", "USD", "JPY", "CAD"}[rng.IntN(4)]}}
	case n < 13:
		return http.MethodGet, "/product/" + id, nil
	case n < 15:
		return http.MethodPost, "/cart", add
	case n < 18:
		return http.MethodGet, "/cart", nil
	default:
		return http.MethodPost, "/cart/checkout", nil
	}
}

func ask(ctx context.Context, client *http.Client, method, target string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	return nil
}
