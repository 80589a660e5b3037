// Package outside talks to the neighbours: orders for an address, the carrier
// for everything that has wheels. Each call has a deadline and no retry of its
// own: the one who asked us repeats with the same key.
package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"store.example/warehouse/internal/web"
)

const (
	callMax   = 2 * time.Second
	answerMax = 64 << 10
)

// ErrUnknown says that the neighbour does not know the thing asked for.
var ErrUnknown = errors.New("the neighbour does not know it")

// Neighbours are the services this one calls.
type Neighbours struct {
	OrdersURL  string
	CarrierURL string
	client     *http.Client
}

// New makes the clients. A URL may be empty: calls to it then fail as if it were away.
func New(ordersURL, carrierURL string) *Neighbours {
	return &Neighbours{
		OrdersURL:  ordersURL,
		CarrierURL: carrierURL,
		client: &http.Client{
			Timeout: callMax,
			Transport: &http.Transport{
				MaxIdleConns:        32,
				MaxIdleConnsPerHost: 16,
				MaxConnsPerHost:     32,
				IdleConnTimeout:     30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Address of a customer, passed on as orders gave it and never stored or logged here.
type Address = json.RawMessage

// ShipTo asks orders where a parcel goes.
func (n *Neighbours) ShipTo(ctx context.Context, orderID string) (Address, error) {
	body, err := n.call(ctx, "orders", n.OrdersURL, http.MethodGet, "/v1/orders/"+url.PathEscape(orderID)+"/ship-to", "", nil)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if json.Unmarshal(body, &object) != nil || len(object) == 0 {
		return nil, away("orders", "its answer is not an address")
	}
	return body, nil
}

// Booking is what the carrier needs to know.
type Booking struct {
	OrderRef string  `json:"order_ref"`
	Address  Address `json:"address"`
	WeightG  int64   `json:"weight_g"`
	Service  string  `json:"service"`
}

// Book hands a parcel to the carrier and returns its tracking number. The key
// is the order's own, so that asking again after a lost answer books nothing new.
func (n *Neighbours) Book(ctx context.Context, b Booking) (tracking string, err error) {
	request, err := json.Marshal(b)
	if err != nil {
		return "", err
	}
	body, err := n.call(ctx, "carrier", n.CarrierURL, http.MethodPost, "/v1/shipments", b.OrderRef+":ship", request)
	if err != nil {
		return "", err
	}
	var answer struct {
		Tracking string `json:"tracking"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Tracking == "" {
		return "", away("carrier", "its answer has no tracking number")
	}
	return answer.Tracking, nil
}

// Status asks the carrier where a parcel is.
func (n *Neighbours) Status(ctx context.Context, tracking string) (string, error) {
	body, err := n.call(ctx, "carrier", n.CarrierURL, http.MethodGet, "/v1/shipments/"+url.PathEscape(tracking), "", nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Status == "" {
		return "", away("carrier", "its answer has no status")
	}
	return answer.Status, nil
}

func (n *Neighbours) call(ctx context.Context, name, base, method, path, key string, body []byte) ([]byte, error) {
	if base == "" {
		return nil, away(name, "its address is not set")
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, away(name, err.Error())
	}
	request.Header.Set("Accept", "application/json")
	if traceparent := web.Trace(ctx); traceparent != "" {
		request.Header.Set("traceparent", traceparent)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := n.client.Do(request)
	if err != nil {
		return nil, away(name, reason(err))
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(answer.Body, answerMax))
	switch {
	case err != nil:
		return nil, away(name, "its answer broke off")
	case answer.StatusCode == http.StatusNotFound:
		return nil, errors.Join(ErrUnknown, away(name, "it answered 404"))
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return nil, away(name, fmt.Sprintf("it answered %d", answer.StatusCode))
	}
	return content, nil
}

// reason drops the URL that net/http puts into its errors.
func reason(err error) string {
	var inner *url.Error
	if errors.As(err, &inner) {
		if inner.Timeout() {
			return "no answer in time"
		}
		return inner.Err.Error()
	}
	return err.Error()
}

func away(name, why string) *web.Problem {
	return web.Fail("dependency-unavailable", "%s: %s; it is safe to repeat this request", name, why)
}
