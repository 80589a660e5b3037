package test

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

const robot = "ROBOT_PICKER=on"

func TestAnOrderGoesFromEventToDoor(t *testing.T) {
	w := start(t, robot)
	w.want(w.event("e1", "ord_1"), 204, "")
	w.becomes("ord_1", "PACKED")
	released := w.want(w.release("ord_1", "cap_1", "ord_1:release:1"), 200, "")
	if released.text("state") != "DISPATCHED" || released.text("tracking") != "CS0001" {
		t.Fatalf("%s", released.body)
	}
	w.want(w.carrierSays("c1", "CS0001", "in_transit"), 204, "")
	w.want(w.carrierSays("c2", "CS0001", "delivered"), 204, "")
	if s := w.state("ord_1"); s != "DELIVERED" {
		t.Fatalf("state %s", s)
	}
	w.wantTopics("ord_1", "fulfilment.created fulfilment.packed shipment.dispatched shipment.delivered")
	for _, f := range w.outbox() {
		if f.Event.Traceparent != traceparent && f.Topic != "shipment.dispatched" {
			t.Errorf("%s lost the order's trace: %q", f.Topic, f.Event.Traceparent)
		}
		if f.Topic == "shipment.dispatched" {
			want := `{"order_id":"ord_1","tracking":"CS0001","carrier":"carrier-sim","lines":[{"sku":"LAMP-1","qty":2},{"sku":"ROPE-1","qty":1}]}`
			if string(f.Event.Data) != want {
				t.Errorf("dispatched: %s", f.Event.Data)
			}
		}
	}
	if weight := w.carrier.last["weight_g"]; weight != float64(1700) || w.carrier.last["service"] != "express" {
		t.Errorf("the carrier was told %v", w.carrier.last)
	}
	// Asked again, by the same key or another, also after delivery: the same answer.
	again := w.want(w.release("ord_1", "cap_1", "ord_1:release:1"), 200, "")
	if !again.replayed || string(again.body) != string(released.body) {
		t.Errorf("not replayed: %s", again.body)
	}
	other := w.want(w.release("ord_1", "cap_1", "another key"), 200, "")
	if string(other.body) != string(released.body) || w.carrier.bookings() != 1 {
		t.Errorf("released twice: %s", other.body)
	}
}

func TestTheSameEventTwiceBeginsOneFulfilment(t *testing.T) {
	w := start(t)
	w.want(w.event("e1", "ord_1"), 204, "")
	w.want(w.event("e1", "ord_1"), 204, "")
	w.want(w.event("e2", "ord_1"), 204, "")
	w.wantTopics("ord_1", "fulfilment.created")
	if body := string(w.ask("GET", "/v1/fulfilments/ord_1", nil, "").body); strings.Count(body, `"qty":2`) != 1 {
		t.Errorf("lines: %s", body)
	}
}

func TestACancelThatOvertakesItsOrder(t *testing.T) {
	w := start(t, robot)
	cancel := func(k string) reply { return w.ask("POST", "/v1/fulfilments/ord_1/cancel", key(k), "") }
	first := w.want(cancel("k"), 200, "")
	if r := w.want(cancel("k"), 200, ""); !r.replayed || string(r.body) != string(first.body) {
		t.Errorf("not replayed: %s", r.body)
	}
	w.want(cancel("another key"), 200, "")
	w.want(w.event("e1", "ord_1"), 204, "")
	w.want(w.release("ord_1", "cap_1", "r"), 409, "too-late")
	if s := w.state("ord_1"); s != "CANCELLED" {
		t.Errorf("state %s", s)
	}
	w.wantTopics("ord_1", "fulfilment.cancelled")
}

func TestACancelComesTooLateOnceAReleaseHasBegun(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.carrier.set(func(c *fakeCarrier) { c.away = true })
	w.want(w.release("ord_1", "cap_1", "r"), 503, "dependency-unavailable")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/cancel", key("c"), `{"reason":"changed my mind"}`), 409, "too-late-to-cancel")
	w.carrier.set(func(c *fakeCarrier) { c.away = false })
	w.want(w.release("ord_1", "cap_1", "r"), 200, "")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/cancel", key("c"), `{"reason":"changed my mind"}`), 409, "too-late-to-cancel")
	w.wantTopics("ord_1", "fulfilment.created fulfilment.packed shipment.dispatched")
}

func TestACancelledParcelStays(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/cancel", key("c"), ""), 200, "")
	w.want(w.release("ord_1", "cap_1", "r"), 409, "too-late")
	if w.carrier.bookings() != 0 {
		t.Error("a cancelled parcel was booked")
	}
	w.wantTopics("ord_1", "fulfilment.created fulfilment.packed fulfilment.cancelled")
}

func TestNothingLeavesUnpaid(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	for _, body := range []string{`{}`, `{"capture_id":""}`, `{"capture_id":null}`, `{"capture_id":7}`, ``, `[]`, `{"capture_id":"cap_1","force":true}`} {
		w.want(w.ask("POST", "/v1/fulfilments/ord_1/release", key("k"+body), body), 422, "validation")
	}
	db, err := sql.Open("sqlite3", "file:"+w.database+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, state := range []string{"DISPATCHED", "DELIVERED"} {
		_, err := db.Exec(`UPDATE fulfilment SET state = ?, tracking = 'X'`, state)
		if err == nil || !strings.Contains(err.Error(), "CHECK") {
			t.Errorf("the database let an unpaid parcel be %s: %v", state, err)
		}
	}
	if w.carrier.bookings() != 0 {
		t.Error("an unpaid parcel was booked")
	}
}

func TestReleaseRefusals(t *testing.T) {
	w := start(t)
	w.want(w.release("ord_1", "cap_1", "k"), 409, "not-packed")
	w.event("e1", "ord_1")
	w.want(w.release("ord_1", "cap_1", "k"), 409, "not-packed")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/release", nil, `{"capture_id":"cap_1"}`), 400, "idempotency-key-missing")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/pack", nil, ""), 409, "wrong-state")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/pick", nil, ""), 200, "")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/pick", nil, ""), 200, "")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/pack", nil, "{}"), 200, "")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/short", nil, ""), 409, "wrong-state")
	w.want(w.release("ord_1", "cap_1", "k"), 200, "") // a refusal did not use up the key
	w.want(w.release("ord_1", "cap_2", "k"), 422, "idempotency-key-reused")
	w.want(w.release("ord_1", "cap_2", "k2"), 422, "validation")
	w.want(w.release("ord_2", "cap_1", "k"), 422, "idempotency-key-reused")
	w.want(w.ask("POST", "/v1/fulfilments/ord_9/pick", nil, ""), 404, "not-found")
	w.want(w.ask("GET", "/v1/fulfilments/ord_9", nil, ""), 404, "not-found")
}

func TestAShortPick(t *testing.T) {
	w := start(t)
	w.event("e1", "ord_1")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/pick", nil, ""), 200, "")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/short", nil, ""), 200, "")
	w.want(w.release("ord_1", "cap_1", "k"), 409, "not-packed")
	w.want(w.ask("POST", "/v1/fulfilments/ord_1/cancel", key("c"), ""), 200, "")
	w.wantTopics("ord_1", "fulfilment.created fulfilment.short fulfilment.cancelled")
}

func TestALostAnswerOfTheCarrierBooksOnce(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.carrier.set(func(c *fakeCarrier) { c.lose = 2 })
	w.want(w.release("ord_1", "cap_1", "k"), 503, "dependency-unavailable")
	w.want(w.release("ord_1", "cap_1", "k"), 503, "dependency-unavailable")
	r := w.want(w.release("ord_1", "cap_1", "k"), 200, "")
	if r.text("tracking") != "CS0001" || w.carrier.bookings() != 1 {
		t.Errorf("booked %d times, %s", w.carrier.bookings(), r.body)
	}
	w.carrier.mu.Lock()
	defer w.carrier.mu.Unlock()
	if w.carrier.booked["ord_1:ship"] == "" {
		t.Errorf("keys at the carrier: %v", w.carrier.booked)
	}
}

func TestWithoutOrdersNothingIsBooked(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.orders.set(true)
	r := w.want(w.release("ord_1", "cap_1", "k"), 503, "dependency-unavailable")
	if r.header.Get("Retry-After") == "" || w.carrier.bookings() != 0 {
		t.Errorf("bookings %d, %v", w.carrier.bookings(), r.header)
	}
	w.orders.set(false)
	r, err := w.try("POST", "/v1/fulfilments/ord_1/release", map[string]string{"Idempotency-Key": "k", "traceparent": traceparent}, `{"capture_id":"cap_1"}`)
	if err != nil || r.status != 200 || w.orders.trace != traceparent {
		t.Errorf("%v %s, orders saw %q", err, r.body, w.orders.trace)
	}
}

func TestTheCarriersWord(t *testing.T) {
	w := start(t, robot)
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.want(w.carrierSays("c0", "CS0001", "delivered"), 409, "not-yet")
	w.want(w.release("ord_1", "cap_1", "k"), 200, "")

	body := `{"id":"c9","tracking":"CS0001","status":"delivered"}`
	post := func(headers map[string]string) reply { return w.ask("POST", "/v1/webhooks/carrier", headers, body) }
	w.want(post(nil), 401, "unauthorised")
	w.want(post(map[string]string{"carrier-signature": "v1=00"}), 401, "unauthorised")
	w.want(post(sign("another secret", time.Now(), body)), 401, "unauthorised")
	w.want(post(sign(secret, time.Now(), body+" ")), 401, "unauthorised")
	w.want(post(sign(secret, time.Now().Add(-6*time.Minute), body)), 401, "unauthorised")
	w.want(post(sign(secret, time.Now().Add(6*time.Minute), body)), 401, "unauthorised")
	w.want(w.carrierSays("c1", "CS0001", "teleported"), 422, "validation")

	w.want(w.carrierSays("c2", "CS0001", "exception"), 204, "")
	w.want(w.carrierSays("c2", "CS0001", "exception"), 204, "")
	w.want(w.carrierSays("c3", "CS0001", "exception"), 204, "")
	w.want(w.carrierSays("c0", "CS0001", "delivered"), 204, "") // the one refused above comes again
	w.want(w.carrierSays("c4", "CS0001", "delivered"), 204, "")
	w.want(w.carrierSays("c5", "CS0001", "in_transit"), 204, "")
	w.wantTopics("ord_1", "fulfilment.created fulfilment.packed shipment.dispatched shipment.exception shipment.delivered")
}

func TestPollingHearsWhatWebhooksLost(t *testing.T) {
	w := start(t, robot, "CARRIER_POLL_MS=10")
	w.event("e1", "ord_1")
	w.becomes("ord_1", "PACKED")
	w.want(w.release("ord_1", "cap_1", "k"), 200, "")
	w.carrier.set(func(c *fakeCarrier) { c.statuss["CS0001"] = "delivered" })
	w.becomes("ord_1", "DELIVERED")
	w.wantTopics("ord_1", "fulfilment.created fulfilment.packed shipment.dispatched shipment.delivered")
}

func TestEventsThatCanNeverBeAccepted(t *testing.T) {
	w := start(t)
	good := confirmed("e1", "ord_1")
	for name, body := range map[string]string{
		"nothing":      ``,
		"not JSON":     `{"specversion":`,
		"no event":     `{}`,
		"other topic":  strings.Replace(good, "order.confirmed", "order.received", 1),
		"no order":     strings.Replace(good, `"order_id":"ord_1",`, ``, 1),
		"a path":       strings.Replace(good, `"order_id":"ord_1",`, `"order_id":"../x",`, 1),
		"qty 0":        strings.Replace(good, `"qty":2`, `"qty":0`, 1),
		"qty text":     strings.Replace(good, `"qty":2`, `"qty":"2"`, 1),
		"qty huge":     strings.Replace(good, `"qty":2`, `"qty":9223372036854775807`, 1),
		"no lines":     strings.Replace(good, `"lines":[`, `"lines":[],"l":[`, 1),
		"other option": strings.Replace(good, `"express"`, `"teleport"`, 1),
		"data a list":  `{"specversion":"1.0","id":"1","source":"s","type":"store.order.confirmed.v1","data":[]}`,
		"no data":      `{"specversion":"1.0","id":"1","source":"s","type":"store.order.confirmed.v1"}`,
	} {
		if r := w.ask("POST", "/_archipel/events", nil, body); r.status != 422 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	w.want(w.ask("POST", "/_archipel/events", nil, `{"x":"`+strings.Repeat("x", 300_000)+`"}`), 413, "too-large")
	w.want(w.event("e1", "ord_1"), 204, "") // a refused event left nothing behind in the inbox
	w.wantTopics("ord_1", "fulfilment.created")
}

func TestQuotes(t *testing.T) {
	w := start(t)
	quote := func(body string) reply { return w.ask("POST", "/v1/shipping-quotes", nil, body) }
	for _, country := range []string{"FR", "DE", "GB", "US"} {
		w.want(quote(`{"country":"`+country+`","weight_g":1200}`), 200, "")
	}
	for _, body := range []string{`{"country":"XX","weight_g":1}`, `{"country":"FR"}`, `{"country":"FR","weight_g":-1}`, `{"country":"FR","weight_g":1e99}`,
		`{"country":"FR","weight_g":1,"weight":1}`, `{"country":"FR","weight_g":1} {}`, `null`} {
		w.want(quote(body), 422, "validation")
	}
}

func TestLists(t *testing.T) {
	w := start(t)
	for i := 0; i < 5; i++ {
		w.event(fmt.Sprint("e", i), fmt.Sprint("ord_", i))
	}
	w.want(w.ask("POST", "/v1/fulfilments/ord_3/pick", nil, ""), 200, "")
	page := w.ask("GET", "/v1/fulfilments?state=NEW&limit=3", nil, "")
	if next := page.text("next_cursor"); next != "ord_2" || strings.Count(string(page.body), `"order_id"`) != 3 {
		t.Fatalf("%s", page.body)
	}
	rest := w.ask("GET", "/v1/fulfilments?state=NEW&limit=3&cursor=ord_2", nil, "")
	if strings.Count(string(rest.body), `"order_id"`) != 1 || rest.text("next_cursor") != "" {
		t.Fatalf("%s", rest.body)
	}
	w.want(w.ask("GET", "/v1/fulfilments?state=LOST", nil, ""), 422, "validation")
	w.want(w.ask("GET", "/v1/fulfilments?limit=many", nil, ""), 422, "validation")
}

func TestThePlatformsPaths(t *testing.T) {
	w := start(t, "APP_API_TOKEN=the token")
	token := map[string]string{"dapr-api-token": "the token"}
	for _, path := range []string{"/_archipel/info", "/_archipel/outbox"} {
		w.want(w.ask("GET", path, nil, ""), 401, "unauthorised")
		w.want(w.ask("GET", path, token, ""), 200, "")
	}
	w.want(w.ask("POST", "/_archipel/events", nil, confirmed("e", "ord_1")), 401, "unauthorised")
	w.want(w.ask("GET", "/healthz", nil, ""), 200, "")
	w.want(w.ask("GET", "/readyz", nil, ""), 200, "")
	w.want(w.ask("GET", "/_archipel/outbox?after=-1", token, ""), 422, "validation")

	// A long poll answers as soon as there is something.
	answered := make(chan reply)
	go func() {
		r, _ := w.try("GET", "/_archipel/outbox?after=0&wait_ms=30000", token, "")
		answered <- r
	}()
	w.want(w.ask("POST", "/_archipel/events", token, confirmed("e", "ord_1")), 204, "")
	select {
	case r := <-answered:
		if !strings.Contains(string(r.body), "fulfilment.created") {
			t.Errorf("%s", r.body)
		}
	case <-within(t, 10*time.Second).Done():
		t.Fatal("the long poll slept through an event")
	}
}

func TestATermSignalEndsALongPollAndTheProgram(t *testing.T) {
	w := start(t)
	w.event("e", "ord_1")
	answered := make(chan error)
	asking := make(chan struct{})
	go func() {
		close(asking)
		answer, err := http.Get(w.url("/_archipel/outbox?after=1&wait_ms=30000"))
		if err == nil {
			_ = answer.Body.Close()
		}
		answered <- err
	}()
	<-asking
	w.want(w.ask("GET", "/healthz", nil, ""), 200, "")
	began := time.Now()
	_ = w.process.Process.Signal(syscall.SIGTERM)
	<-answered
	if err := w.process.Wait(); err != nil {
		t.Errorf("not a clean end: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s to stop", took)
	}
}
