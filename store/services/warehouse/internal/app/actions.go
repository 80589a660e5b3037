package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
	"store.example/warehouse/internal/outside"
	"store.example/warehouse/internal/web"
)

// Step is one of the operator's moves.
type Step struct {
	Name   string
	decide func(domain.Fulfilment) domain.Verdict
	to     domain.State
	topic  string
	log    string
}

// The operator's moves, which are also the robot's.
var (
	Pick  = Step{"pick", domain.Pick, domain.Picking, "", "picking began"}
	Pack  = Step{"pack", domain.Pack, domain.Packed, "fulfilment.packed", "packed"}
	Short = Step{"short", domain.GoShort, domain.Short, "fulfilment.short", "an article is missing"}
)

// Operate makes one move on one order.
func (s *Service) Operate(ctx context.Context, orderID string, step Step) error {
	var changed *domain.Fulfilment
	err := s.db.Write(ctx, func(t *db.Tx) error {
		changed = nil
		f, err := find(t, "order_id", orderID)
		switch {
		case err != nil:
			return err
		case f == nil:
			return web.Fail("not-found", "the warehouse has no order %s", orderID)
		}
		changed, err = s.move(ctx, t, f, step)
		return err
	})
	if err == nil && changed != nil {
		logChange(ctx, changed, step.log)
	}
	return err
}

// move returns f when it changed, nil when the step had been made before.
func (s *Service) move(ctx context.Context, t *db.Tx, f *domain.Fulfilment, step Step) (*domain.Fulfilment, error) {
	switch step.decide(*f) {
	case domain.Do:
	case domain.Already:
		return nil, nil
	default:
		return nil, web.Fail("wrong-state", "cannot %s an order that is %s", step.Name, f.State)
	}
	if err := become(t, f, step.to, s.now()); err != nil {
		return nil, err
	}
	if step.topic == "" {
		return f, nil
	}
	return f, s.fact(ctx, t, step.topic, f, OrderOnly{f.OrderID})
}

// Outcome is the answer to a request with a key.
type Outcome struct {
	Answer   db.Answer
	Replayed bool
}

func (s *Service) conclude(t *db.Tx, q web.Keyed, body any) (Outcome, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Outcome{}, err
	}
	a := db.Answer{Fingerprint: q.Fingerprint, Status: http.StatusOK, Body: string(text)}
	return Outcome{Answer: a}, t.Remember(q.Key, q.Route, a, s.now())
}

// CancelResult is the answer of a cancel.
type CancelResult struct {
	OrderID string       `json:"order_id"`
	State   domain.State `json:"state"`
}

// Cancel makes sure that an order will not leave the house. An order that was
// never heard of becomes a row all the same, so that its late arrival starts nothing.
func (s *Service) Cancel(ctx context.Context, orderID string, q web.Keyed) (out Outcome, err error) {
	var changed *domain.Fulfilment
	err = s.db.Write(ctx, func(t *db.Tx) error {
		out, changed = Outcome{}, nil
		before, err := q.Before(t)
		if err != nil {
			return err
		}
		if before != nil {
			out = Outcome{*before, true}
			return nil
		}
		if changed, err = s.cancel(ctx, t, orderID); err != nil {
			return err
		}
		out, err = s.conclude(t, q, CancelResult{orderID, domain.Cancelled})
		return err
	})
	if err == nil && changed != nil {
		logChange(ctx, changed, "cancelled")
	}
	return out, err
}

func (s *Service) cancel(ctx context.Context, t *db.Tx, orderID string) (*domain.Fulfilment, error) {
	f, err := find(t, "order_id", orderID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	if f == nil {
		f = &domain.Fulfilment{OrderID: orderID, State: domain.Cancelled}
		_, err := t.Exec(`INSERT INTO fulfilment(order_id, state, traceparent, created_at, updated_at) VALUES(?,?,?,?,?)`,
			orderID, domain.Cancelled, web.Trace(ctx), db.Stamp(now), db.Stamp(now))
		return f, errors.Join(err, s.fact(ctx, t, "fulfilment.cancelled", f, OrderOnly{orderID}))
	}
	switch domain.Cancel(*f) {
	case domain.Do:
		err := become(t, f, domain.Cancelled, now)
		return f, errors.Join(err, s.fact(ctx, t, "fulfilment.cancelled", f, OrderOnly{orderID}))
	case domain.Already:
		return nil, nil
	default:
		return nil, web.Fail("too-late-to-cancel", "the parcel of %s is %s and may be with the carrier", orderID, f.State)
	}
}

// ReleaseResult is the answer of a release. The state is always DISPATCHED:
// that is what a release brings about, whatever came after it.
type ReleaseResult struct {
	OrderID  string       `json:"order_id"`
	State    domain.State `json:"state"`
	Tracking string       `json:"tracking"`
	Carrier  string       `json:"carrier"`
}

// Release lets a packed and paid parcel go.
//
// First it writes down which payment lets it go; from then on a cancel comes
// too late. Then it asks for the address and books the carrier under the
// order's own key. Then it writes down that the parcel has left. A crash or a
// lost answer between these steps is mended by the same request again: the
// carrier finds the key and gives the same tracking number.
func (s *Service) Release(ctx context.Context, orderID, captureID string, q web.Keyed) (Outcome, error) {
	out, parcel, err := s.beginRelease(ctx, orderID, captureID, q)
	if err != nil || parcel == nil {
		return out, err
	}
	address, err := s.neighbours.ShipTo(ctx, orderID)
	if err != nil {
		return Outcome{}, err
	}
	tracking, err := s.neighbours.Book(ctx, outside.Booking{
		OrderRef: orderID, Address: address, WeightG: parcel.WeightG, Service: parcel.ShippingOption,
	})
	if err != nil {
		return Outcome{}, err
	}
	return s.endRelease(ctx, orderID, captureID, tracking, q)
}

// beginRelease returns either an answer, or the parcel that is to be booked.
func (s *Service) beginRelease(ctx context.Context, orderID, captureID string, q web.Keyed) (out Outcome, parcel *domain.Fulfilment, err error) {
	err = s.db.Write(ctx, func(t *db.Tx) error {
		out, parcel = Outcome{}, nil
		before, err := q.Before(t)
		if err != nil {
			return err
		}
		if before != nil {
			out = Outcome{*before, true}
			return nil
		}
		f, err := find(t, "order_id", orderID)
		if err != nil {
			return err
		}
		verdict, err := mayLeave(f, orderID, captureID)
		if err != nil {
			return err
		}
		if verdict == domain.Already {
			out, err = s.conclude(t, q, releaseResult(f))
			return err
		}
		parcel = f
		if f.CaptureID == captureID {
			return nil
		}
		_, err = t.Exec(`UPDATE fulfilment SET release_capture_id = ?, updated_at = ? WHERE order_id = ?`, captureID, db.Stamp(s.now()), orderID)
		return err
	})
	return out, parcel, err
}

func mayLeave(f *domain.Fulfilment, orderID, captureID string) (domain.Verdict, error) {
	if f == nil {
		return domain.NotPacked, web.Fail("not-packed", "the warehouse has not heard of %s yet", orderID)
	}
	verdict := domain.Release(*f, captureID)
	switch verdict {
	case domain.Do, domain.Already:
		return verdict, nil
	case domain.TooLate:
		return verdict, web.Fail("too-late", "%s was cancelled; nothing will leave for it", orderID)
	case domain.OtherCapture:
		return verdict, web.Invalid(web.Fault{Pointer: "/capture_id", Detail: "a release of this order quoted another capture before"})
	default:
		return verdict, web.Fail("not-packed", "%s is %s", orderID, f.State)
	}
}

func releaseResult(f *domain.Fulfilment) ReleaseResult {
	return ReleaseResult{f.OrderID, domain.Dispatched, f.Tracking, f.Carrier}
}

func (s *Service) endRelease(ctx context.Context, orderID, captureID, tracking string, q web.Keyed) (out Outcome, err error) {
	var changed *domain.Fulfilment
	err = s.db.Write(ctx, func(t *db.Tx) error {
		out, changed = Outcome{}, nil
		f, err := find(t, "order_id", orderID)
		if err != nil {
			return err
		}
		// Another request with another key may have finished meanwhile.
		verdict, err := mayLeave(f, orderID, captureID)
		if err != nil {
			return err
		}
		if verdict == domain.Do {
			if err := s.dispatch(ctx, t, f, tracking); err != nil {
				return err
			}
			changed = f
		}
		out, err = s.conclude(t, q, releaseResult(f))
		return err
	})
	if err == nil && changed != nil {
		logChange(ctx, changed, "dispatched")
	}
	return out, err
}

func (s *Service) dispatch(ctx context.Context, t *db.Tx, f *domain.Fulfilment, tracking string) error {
	now := s.now()
	f.Tracking, f.Carrier = tracking, Carrier
	if _, err := t.Exec(`UPDATE fulfilment SET tracking = ?, carrier = ?, poll_at = ? WHERE order_id = ?`,
		tracking, Carrier, now.Add(s.settings.PollEvery).UnixMilli(), f.OrderID); err != nil {
		return err
	}
	if err := become(t, f, domain.Dispatched, now); err != nil {
		return err
	}
	packed, err := lines(t, f.OrderID)
	if err != nil {
		return err
	}
	data := Dispatch{OrderID: f.OrderID, Tracking: tracking, Carrier: Carrier, Lines: []DispatchLine{}}
	for _, l := range packed {
		data.Lines = append(data.Lines, DispatchLine{l.SKU, l.Qty})
	}
	return s.fact(ctx, t, "shipment.dispatched", f, data)
}
