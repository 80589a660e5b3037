package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
	"store.example/warehouse/internal/outside"
	"store.example/warehouse/internal/web"
)

// Carrier is the name of the one carrier the warehouse works with.
const Carrier = "carrier-sim"

// Settings of the work in the background.
type Settings struct {
	Robot      bool
	RobotDelay time.Duration // from order to closed parcel
	PollEvery  time.Duration // how soon after leaving the carrier is first asked
}

// Service is the warehouse.
type Service struct {
	db         *db.DB
	neighbours *outside.Neighbours
	settings   Settings
	now        func() time.Time
}

// New makes the warehouse; Run lets its background work begin.
func New(d *db.DB, n *outside.Neighbours, s Settings) *Service {
	return &Service{db: d, neighbours: n, settings: s, now: time.Now}
}

// Run works in the background until ctx ends: the robot, the questions to the
// carrier, the broom.
func (s *Service) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for _, work := range []func(context.Context){s.robot, s.poll, s.sweep} {
		workers.Add(1)
		go func() {
			defer workers.Done()
			work(ctx)
		}()
	}
	workers.Wait()
}

func (s *Service) sweep(ctx context.Context) {
	for {
		if err := s.db.Sweep(ctx, s.now()); err != nil && !errors.Is(err, db.ErrClosed) {
			slog.Error("could not delete old protocol rows", "error", err.Error())
		}
		if !wait(ctx, time.Hour, nil) {
			return
		}
	}
}

// wait lasts at most d, and ends early when wake is closed. False means that ctx ended.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// OrderOnly is the data of facts that need nothing but the order.
type OrderOnly struct {
	OrderID string `json:"order_id"`
}

// Dispatch is the data of shipment.dispatched.
type Dispatch struct {
	OrderID  string         `json:"order_id"`
	Tracking string         `json:"tracking"`
	Carrier  string         `json:"carrier"`
	Lines    []DispatchLine `json:"lines"`
}

// DispatchLine says what left the shelves.
type DispatchLine struct {
	SKU string `json:"sku"`
	Qty int64  `json:"qty"`
}

// Shipment is the data of shipment.delivered and shipment.exception.
type Shipment struct {
	OrderID  string `json:"order_id"`
	Tracking string `json:"tracking"`
}

// fact publishes the event that a change of f makes true. Its trace is that of
// the request at hand, or else the one the order came with.
func (s *Service) fact(ctx context.Context, t *db.Tx, topic string, f *domain.Fulfilment, data any) error {
	traceparent := web.Trace(ctx)
	if traceparent == "" {
		traceparent = f.Traceparent
	}
	return t.Publish(topic, f.OrderID, traceparent, data, s.now())
}

func logChange(ctx context.Context, f *domain.Fulfilment, msg string) {
	if web.Trace(ctx) == "" {
		ctx = web.WithTrace(ctx, f.Traceparent)
	}
	slog.InfoContext(ctx, msg, "order_id", f.OrderID, "state", string(f.State))
}
