// Package routes is the HTTP face of the warehouse, as openapi.yaml describes it.
package routes

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"store.example/warehouse/internal/app"
	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
	"store.example/warehouse/internal/web"
)

// Version of the program.
const Version = "0.1.0"

// Source of its events.
const Source = "/store/warehouse"

// Config of the face.
type Config struct {
	Token         string // APP_API_TOKEN
	CarrierSecret string // CARRIER_WEBHOOK_SECRET
}

// Face answers requests.
type Face struct {
	app      *app.Service
	db       *db.DB
	config   Config
	keys     web.Keys
	stopping <-chan struct{}
}

// New makes the handler of all routes. Long polls end when stopping is closed.
func New(a *app.Service, d *db.DB, c Config, stopping <-chan struct{}) http.Handler {
	f := &Face{app: a, db: d, config: c, stopping: stopping}
	mux := http.NewServeMux()
	for pattern, handler := range map[string]web.Func{
		"GET /healthz":                            f.alive,
		"GET /readyz":                             f.ready,
		"GET /_archipel/info":                     web.Guarded(c.Token, f.info),
		"GET /_archipel/outbox":                   web.Guarded(c.Token, f.outbox),
		"POST /_archipel/events":                  web.Guarded(c.Token, f.events),
		"POST /v1/shipping-quotes":                f.quote,
		"GET /v1/fulfilments":                     f.list,
		"GET /v1/fulfilments/{order_id}":          f.get,
		"POST /v1/fulfilments/{order_id}/pick":    f.operate(app.Pick),
		"POST /v1/fulfilments/{order_id}/pack":    f.operate(app.Pack),
		"POST /v1/fulfilments/{order_id}/short":   f.operate(app.Short),
		"POST /v1/fulfilments/{order_id}/cancel":  f.cancel,
		"POST /v1/fulfilments/{order_id}/release": f.release,
		"POST /v1/webhooks/carrier":               f.carrier,
	} {
		mux.Handle(pattern, handler)
	}
	return web.Around(mux)
}

func (f *Face) alive(w http.ResponseWriter, _ *http.Request) error {
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (f *Face) ready(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := f.db.Ready(ctx); err != nil {
		return web.Fail("dependency-unavailable", "the database does not answer: %s", err)
	}
	return f.alive(w, r)
}

func (f *Face) info(w http.ResponseWriter, _ *http.Request) error {
	web.WriteJSON(w, http.StatusOK, map[string]any{"name": "warehouse", "version": Version, "schema_version": db.SchemaVersion})
	return nil
}

type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	CorrelationID   string          `json:"correlationid"`
	PartitionKey    string          `json:"partitionkey"`
	Traceparent     string          `json:"traceparent,omitempty"`
	Data            json.RawMessage `json:"data"`
}

type entry struct {
	Seq   int64    `json:"seq"`
	Topic string   `json:"topic"`
	Event envelope `json:"event"`
}

const (
	outboxMax = 1000
	longPoll  = 30 * time.Second
)

func (f *Face) outbox(w http.ResponseWriter, r *http.Request) error {
	query := numbers{r: r}
	after := query.read("after", 0, 0, 1<<62)
	limit := query.read("limit", 500, 1, outboxMax)
	patience := query.read("wait_ms", 0, 0, longPoll.Milliseconds())
	if query.faults != nil {
		return web.Invalid(query.faults...)
	}
	deadline := time.NewTimer(time.Duration(patience) * time.Millisecond)
	defer deadline.Stop()
	for last := patience == 0; ; {
		changed := f.db.Changed()
		events, lastSeq, err := f.db.Outbox(r.Context(), after, int(limit))
		if err != nil {
			return err
		}
		if len(events) > 0 || last {
			web.WriteJSON(w, http.StatusOK, map[string]any{"events": entries(events), "last_seq": lastSeq})
			return nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			last = true
		case <-f.stopping:
			last = true
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

func entries(events []db.Event) []entry {
	out := make([]entry, len(events))
	for i, e := range events {
		out[i] = entry{e.Seq, e.Topic, envelope{"1.0", e.ID, Source, e.Type, e.Subject, e.Time,
			"application/json", e.Subject, e.Subject, e.Traceparent, e.Data}}
	}
	return out
}

// numbers reads numbers from a query and keeps what is wrong with them.
type numbers struct {
	r      *http.Request
	faults []web.Fault
}

func (n *numbers) read(name string, otherwise, least, most int64) int64 {
	text := n.r.URL.Query().Get(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < least {
		n.faults = append(n.faults, web.Fault{Pointer: "?" + name, Detail: "expected an integer of at least " + strconv.FormatInt(least, 10)})
		return otherwise
	}
	return min(value, most)
}

func (f *Face) events(w http.ResponseWriter, r *http.Request) error {
	body, err := web.Body(w, r)
	if err == nil {
		err = f.app.Receive(r.Context(), body)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (f *Face) quote(w http.ResponseWriter, r *http.Request) error {
	body, err := web.Body(w, r)
	if err != nil {
		return err
	}
	var ask struct {
		Country string `json:"country"`
		WeightG *int64 `json:"weight_g"`
	}
	if err := web.Decode(body, &ask); err != nil {
		return err
	}
	if ask.WeightG == nil || *ask.WeightG < 0 || *ask.WeightG > domain.WeightMaxG {
		return web.Invalid(web.Fault{Pointer: "/weight_g", Detail: "expected 0 to " + strconv.Itoa(domain.WeightMaxG)})
	}
	options, err := domain.Quote(ask.Country, *ask.WeightG)
	if err != nil {
		return web.Invalid(web.Fault{Pointer: "/country", Detail: err.Error()})
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"options": options})
	return nil
}

type fulfilment struct {
	OrderID          string        `json:"order_id"`
	CustomerID       string        `json:"customer_id"`
	State            domain.State  `json:"state"`
	ReleaseCaptureID *string       `json:"release_capture_id"`
	Tracking         *string       `json:"tracking"`
	Carrier          *string       `json:"carrier"`
	ShippingOption   string        `json:"shipping_option"`
	WeightG          int64         `json:"weight_g"`
	Exception        bool          `json:"exception"`
	Lines            []domain.Line `json:"lines"`
	CreatedAt        string        `json:"created_at"`
	UpdatedAt        string        `json:"updated_at"`
}

func shown(f domain.Fulfilment) fulfilment {
	return fulfilment{f.OrderID, f.CustomerID, f.State, orNull(f.CaptureID), orNull(f.Tracking), orNull(f.Carrier),
		f.ShippingOption, f.WeightG, f.Excepted, f.Lines, f.CreatedAt, f.UpdatedAt}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (f *Face) list(w http.ResponseWriter, r *http.Request) error {
	query := numbers{r: r}
	limit := query.read("limit", 50, 1, 200)
	state := domain.State(strings.ToUpper(r.URL.Query().Get("state")))
	if state != "" && !domain.Known(state) {
		query.faults = append(query.faults, web.Fault{Pointer: "?state", Detail: "there is no such state"})
	}
	if query.faults != nil {
		return web.Invalid(query.faults...)
	}
	page, err := f.app.List(r.Context(), state, r.URL.Query().Get("cursor"), int(limit))
	if err != nil {
		return err
	}
	items := make([]fulfilment, len(page.Items))
	for i := range page.Items {
		items[i] = shown(page.Items[i])
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"items": items, "next_cursor": orNull(page.Next)})
	return nil
}

func (f *Face) get(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("order_id")
	found, err := f.app.Get(r.Context(), id)
	if err != nil {
		return err
	}
	if found == nil {
		return web.Fail("not-found", "the warehouse has no order %s", id)
	}
	web.WriteJSON(w, http.StatusOK, shown(*found))
	return nil
}

func (f *Face) operate(step app.Step) web.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := web.Body(w, r)
		if err != nil {
			return err
		}
		if err := decodeOptional(body, &struct{}{}); err != nil {
			return err
		}
		if err := f.app.Operate(r.Context(), r.PathValue("order_id"), step); err != nil {
			return err
		}
		return f.get(w, r)
	}
}

// decodeOptional reads a command whose body may be left out.
func decodeOptional(body []byte, into any) error {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil
	}
	return web.Decode(body, into)
}

var orderForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// keyed reads what requests with a key have in common.
func (f *Face) keyed(w http.ResponseWriter, r *http.Request, route string) (order string, body []byte, q web.Keyed, end func(), err error) {
	if body, err = web.Body(w, r); err != nil {
		return
	}
	if order = r.PathValue("order_id"); !orderForm.MatchString(order) {
		err = web.Fail("not-found", "this is not the form of an order id")
		return
	}
	q, end, err = f.keys.Begin(r, route, body)
	return
}

func (f *Face) cancel(w http.ResponseWriter, r *http.Request) error {
	order, body, q, end, err := f.keyed(w, r, "cancel")
	if err != nil {
		return err
	}
	defer end()
	var command struct {
		Reason string `json:"reason"`
	}
	if err := decodeOptional(body, &command); err != nil {
		return err
	}
	return finish(w)(f.app.Cancel(r.Context(), order, q))
}

func (f *Face) release(w http.ResponseWriter, r *http.Request) error {
	order, body, q, end, err := f.keyed(w, r, "release")
	if err != nil {
		return err
	}
	defer end()
	var command struct {
		CaptureID string `json:"capture_id"`
	}
	if err := web.Decode(body, &command); err != nil {
		return err
	}
	if !orderForm.MatchString(command.CaptureID) {
		return web.Invalid(web.Fault{Pointer: "/capture_id", Detail: "expected the id of a capture: nothing leaves unpaid"})
	}
	return finish(w)(f.app.Release(r.Context(), order, command.CaptureID, q))
}

func finish(w http.ResponseWriter) func(app.Outcome, error) error {
	return func(out app.Outcome, err error) error {
		switch {
		case err != nil:
			return err
		case out.Replayed:
			web.Replay(w, &out.Answer)
		default:
			web.WriteBody(w, "application/json", out.Answer.Status, []byte(out.Answer.Body))
		}
		return nil
	}
}

func (f *Face) carrier(w http.ResponseWriter, r *http.Request) error {
	body, err := web.Body(w, r)
	if err == nil {
		err = f.app.Webhook(r.Context(), f.config.CarrierSecret, r.Header.Get("carrier-signature"), body)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
