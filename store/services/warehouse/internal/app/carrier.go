package app

import (
	"context"
	"time"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
	"store.example/warehouse/internal/outside"
	"store.example/warehouse/internal/web"
)

// Webhook takes in a message of the carrier.
func (s *Service) Webhook(ctx context.Context, secret, signature string, body []byte) error {
	if err := outside.Verify(secret, signature, body, s.now()); err != nil {
		return web.Fail("unauthorised", "%s", err)
	}
	var message struct {
		ID       string `json:"id"`
		Tracking string `json:"tracking"`
		Status   string `json:"status"`
	}
	if err := web.DecodeOpen(body, &message); err != nil {
		return err
	}
	var faults []web.Fault
	if message.ID == "" || len(message.ID) > 128 {
		faults = append(faults, web.Fault{Pointer: "/id", Detail: "expected 1 to 128 characters"})
	}
	if message.Tracking == "" || len(message.Tracking) > 128 {
		faults = append(faults, web.Fault{Pointer: "/tracking", Detail: "expected 1 to 128 characters"})
	}
	status := domain.CarrierStatus(message.Status)
	if !domain.KnownStatus(status) {
		faults = append(faults, web.Fault{Pointer: "/status", Detail: "expected booked, in_transit, delivered or exception"})
	}
	if faults != nil {
		return web.Invalid(faults...)
	}
	return s.heard(ctx, word{message.ID, message.Tracking, status})
}

// word is what the carrier said, by webhook or when asked.
type word struct {
	eventID  string // "" when we asked
	tracking string
	status   domain.CarrierStatus
}

// heard applies a word of the carrier to the parcel it is about.
func (s *Service) heard(ctx context.Context, w word) error {
	var changed *domain.Fulfilment
	err := s.db.Write(ctx, func(t *db.Tx) error {
		changed = nil
		f, err := find(t, "tracking", w.tracking)
		if err != nil {
			return err
		}
		if f == nil {
			// The carrier was faster than our own commit, or it is not ours.
			return web.Fail("not-yet", "no parcel here has the tracking number %s yet", w.tracking)
		}
		if fresh, err := w.note(t, s.now()); err != nil || !fresh {
			return err
		}
		changed, err = s.apply(ctx, t, f, w.status)
		return err
	})
	if err == nil && changed != nil {
		logChange(ctx, changed, "the carrier says "+string(w.status))
	}
	return err
}

func (w word) note(t *db.Tx, now time.Time) (fresh bool, err error) {
	if w.eventID == "" {
		return true, nil
	}
	n, err := t.Exec(`INSERT INTO carrier_event(id, tracking, status, received_at) VALUES(?,?,?,?) ON CONFLICT DO NOTHING`,
		w.eventID, w.tracking, w.status, db.Stamp(now))
	return n == 1, err
}

func (s *Service) apply(ctx context.Context, t *db.Tx, f *domain.Fulfilment, status domain.CarrierStatus) (*domain.Fulfilment, error) {
	switch domain.Heard(*f, status) {
	case domain.Do:
	case domain.NotYet:
		return nil, web.Fail("not-yet", "the parcel %s is %s here", f.Tracking, f.State)
	default:
		return nil, nil
	}
	// The carrier knows nothing of our traces: its word belongs to the order's.
	ctx = web.WithTrace(ctx, f.Traceparent)
	data := Shipment{f.OrderID, f.Tracking}
	if status == domain.Arrived {
		if err := become(t, f, domain.Delivered, s.now()); err != nil {
			return nil, err
		}
		return f, s.fact(ctx, t, "shipment.delivered", f, data)
	}
	f.Excepted = true
	if _, err := t.Exec(`UPDATE fulfilment SET excepted = 1, updated_at = ? WHERE order_id = ?`, db.Stamp(s.now()), f.OrderID); err != nil {
		return nil, err
	}
	return f, s.fact(ctx, t, "shipment.exception", f, data)
}
