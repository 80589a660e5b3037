package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
	"store.example/warehouse/internal/web"
)

// CloudEvent is what the platform delivers; only what is used is named.
type CloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Topic       string          `json:"topic"`
	Traceparent string          `json:"traceparent"`
	Data        json.RawMessage `json:"data"`
}

var typeForm = regexp.MustCompile(`^store\.([a-z0-9_.]+)\.v[0-9]+$`)

// TopicOf gives the topic: its attribute, else what stands in the type.
func (e CloudEvent) TopicOf() string {
	if e.Topic != "" {
		return e.Topic
	}
	if parts := typeForm.FindStringSubmatch(e.Type); parts != nil {
		return parts[1]
	}
	return e.Type
}

type confirmedOrder struct {
	OrderID        string        `json:"order_id"`
	CustomerID     string        `json:"customer_id"`
	Lines          []domain.Line `json:"lines"`
	ShippingOption string        `json:"shipping_option"`
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const (
	linesMax  = 200
	qtyMax    = 1_000_000
	weightMax = 10_000_000
)

func (o *confirmedOrder) faults() (faults []web.Fault) {
	add := func(pointer, detail string) { faults = append(faults, web.Fault{Pointer: pointer, Detail: detail}) }
	if !idForm.MatchString(o.OrderID) {
		add("/data/order_id", "expected 1 to 64 letters, digits, _ or -")
	}
	if len(o.Lines) == 0 || len(o.Lines) > linesMax {
		add("/data/lines", fmt.Sprintf("expected 1 to %d lines", linesMax))
	}
	for i, l := range o.Lines {
		if l.SKU == "" || len(l.SKU) > 64 {
			add(fmt.Sprintf("/data/lines/%d/sku", i), "expected 1 to 64 characters")
		}
		if l.Qty < 1 || l.Qty > qtyMax {
			add(fmt.Sprintf("/data/lines/%d/qty", i), fmt.Sprintf("expected 1 to %d", qtyMax))
		}
		if l.WeightG < 0 || l.WeightG > weightMax {
			add(fmt.Sprintf("/data/lines/%d/weight_g", i), fmt.Sprintf("expected 0 to %d", weightMax))
		}
	}
	if o.ShippingOption == "" {
		o.ShippingOption = "standard"
	}
	if o.ShippingOption != "standard" && o.ShippingOption != "express" {
		add("/data/shipping_option", "expected standard or express")
	}
	return faults
}

// Receive takes in one event: effect and inbox row in one transaction.
func (s *Service) Receive(ctx context.Context, body []byte) error {
	var e CloudEvent
	if err := web.DecodeOpen(body, &e); err != nil {
		return err
	}
	if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "" {
		return web.Fail("validation", "not a CloudEvent 1.0: specversion, id, source and type are needed")
	}
	if web.TraceOf(e.Traceparent) != "" {
		ctx = web.WithTrace(ctx, e.Traceparent)
	}
	topic := e.TopicOf()
	if topic != "order.confirmed" {
		return web.Invalid(web.Fault{Pointer: "/type", Detail: "the warehouse takes order.confirmed only, not " + topic})
	}
	var order confirmedOrder
	if err := web.DecodeOpen(e.Data, &order); err != nil {
		return err
	}
	if faults := order.faults(); faults != nil {
		return web.Invalid(faults...)
	}
	var created *domain.Fulfilment
	err := s.db.Write(ctx, func(t *db.Tx) error {
		created = nil
		fresh, err := t.Receive(e.Source, e.ID, topic, s.now())
		if err != nil || !fresh {
			return err
		}
		created, err = s.create(ctx, t, order)
		return err
	})
	switch {
	case err != nil:
		return err
	case created != nil:
		logChange(ctx, created, "fulfilment created")
	default:
		slog.InfoContext(ctx, "a confirmed order needs no work: cancelled before, or known", "order_id", order.OrderID)
	}
	return nil
}

// create begins the work on an order. An order that is there already, also as
// the tombstone of a cancel that overtook this event, is left as it is.
func (s *Service) create(ctx context.Context, t *db.Tx, o confirmedOrder) (*domain.Fulfilment, error) {
	weight := int64(0)
	for _, l := range o.Lines {
		weight += l.Qty * l.WeightG
	}
	now := s.now()
	n, err := t.Exec(`INSERT INTO fulfilment(order_id, customer_id, state, shipping_option, weight_g, robot_at, traceparent, created_at, updated_at)
 VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(order_id) DO NOTHING`,
		o.OrderID, o.CustomerID, domain.New, o.ShippingOption, weight,
		now.Add(s.settings.RobotDelay/2).UnixMilli(), web.Trace(ctx), db.Stamp(now), db.Stamp(now))
	if err != nil || n == 0 {
		return nil, err
	}
	for _, l := range o.Lines {
		if _, err := t.Exec(`INSERT INTO package_line(order_id, sku, qty, title, weight_g) VALUES(?,?,?,?,?)
 ON CONFLICT(order_id, sku) DO UPDATE SET qty = qty + excluded.qty`,
			o.OrderID, l.SKU, l.Qty, l.Title, l.WeightG); err != nil {
			return nil, err
		}
	}
	f := &domain.Fulfilment{OrderID: o.OrderID, State: domain.New}
	return f, s.fact(ctx, t, "fulfilment.created", f, OrderOnly{o.OrderID})
}
