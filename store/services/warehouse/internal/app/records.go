// Package app is the warehouse's work: it reads a fulfilment, lets the domain
// decide, and writes the change with its event in one transaction. The network
// is only ever used between two transactions.
package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
)

const columns = `order_id, customer_id, state, COALESCE(release_capture_id, ''), COALESCE(tracking, ''), COALESCE(carrier, ''),
 shipping_option, weight_g, excepted, traceparent, created_at, updated_at`

func scan(r db.Row, f *domain.Fulfilment) error {
	return r.Scan(&f.OrderID, &f.CustomerID, &f.State, &f.CaptureID, &f.Tracking, &f.Carrier,
		&f.ShippingOption, &f.WeightG, &f.Excepted, &f.Traceparent, &f.CreatedAt, &f.UpdatedAt)
}

// find reads one fulfilment without its lines; nil when there is none.
func find(t *db.Tx, where string, arg any) (*domain.Fulfilment, error) {
	var found *domain.Fulfilment
	err := t.Query(func(r db.Row) error {
		found = &domain.Fulfilment{}
		return scan(r, found)
	}, `SELECT `+columns+` FROM fulfilment WHERE `+where+` = ?`, arg)
	return found, err
}

// lines of a package, in a stable order.
func lines(t *db.Tx, orderID string) ([]domain.Line, error) {
	var found []domain.Line
	err := t.Query(func(r db.Row) error {
		var l domain.Line
		err := r.Scan(&l.SKU, &l.Qty, &l.Title, &l.WeightG)
		found = append(found, l)
		return err
	}, `SELECT sku, qty, title, weight_g FROM package_line WHERE order_id = ? ORDER BY sku`, orderID)
	return found, err
}

// become changes the state. The row must still be in the state it was decided
// upon; the writer is alone, so anything else is a broken invariant.
func become(t *db.Tx, f *domain.Fulfilment, to domain.State, now time.Time) error {
	n, err := t.Exec(`UPDATE fulfilment SET state = ?, updated_at = ? WHERE order_id = ? AND state = ?`,
		to, db.Stamp(now), f.OrderID, f.State)
	if err == nil && n != 1 {
		err = errors.New("fulfilment " + f.OrderID + " is no longer " + string(f.State))
	}
	if err == nil {
		f.State = to
		f.UpdatedAt = db.Stamp(now)
	}
	return err
}

// Get reads one fulfilment with its lines; nil when there is none.
func (s *Service) Get(ctx context.Context, orderID string) (*domain.Fulfilment, error) {
	found, err := s.read(ctx, "order_id = ?", []any{orderID}, 1)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Page is a part of a list.
type Page struct {
	Items []domain.Fulfilment
	Next  string // the cursor of the next page, "" when this is the last
}

// List reads fulfilments by order id, which is the order in which the ids were
// made, optionally of one state only.
func (s *Service) List(ctx context.Context, state domain.State, cursor string, limit int) (Page, error) {
	where, args := "order_id > ?", []any{cursor}
	if state != "" {
		where, args = where+" AND state = ?", append(args, state)
	}
	items, err := s.read(ctx, where, args, limit+1)
	page := Page{Items: items}
	if len(items) > limit {
		page.Items = items[:limit]
		page.Next = page.Items[limit-1].OrderID
	}
	return page, err
}

func (s *Service) read(ctx context.Context, where string, args []any, limit int) ([]domain.Fulfilment, error) {
	found := []domain.Fulfilment{}
	at := map[string]int{}
	err := s.db.Query(ctx, func(r db.Row) error {
		f := domain.Fulfilment{Lines: []domain.Line{}}
		err := scan(r, &f)
		at[f.OrderID] = len(found)
		found = append(found, f)
		return err
	}, `SELECT `+columns+` FROM fulfilment WHERE `+where+` ORDER BY order_id LIMIT ?`, append(args, limit)...)
	if err != nil || len(found) == 0 {
		return found, err
	}
	ids := make([]any, len(found))
	for i := range found {
		ids[i] = found[i].OrderID
	}
	marks := strings.TrimSuffix(strings.Repeat("?,", len(ids)), ",")
	err = s.db.Query(ctx, func(r db.Row) error {
		var order string
		var l domain.Line
		err := r.Scan(&order, &l.SKU, &l.Qty, &l.Title, &l.WeightG)
		f := &found[at[order]]
		f.Lines = append(f.Lines, l)
		return err
	}, `SELECT order_id, sku, qty, title, weight_g FROM package_line WHERE order_id IN (`+marks+`) ORDER BY order_id, sku`, ids...)
	return found, err
}
