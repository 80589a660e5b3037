package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/domain"
)

const (
	robotHands  = 32 // moves handed to the writer together, so that they share commits
	pollHands   = 4
	pollMax     = 5 * time.Minute
	troubleWait = time.Second
	idleWait    = time.Hour
)

// duty looks after rows that become due. It looks when the first is due, and
// after each commit, because that may have made another one due earlier. All
// it knows is in the database, so after a crash it goes on where it was.
type duty struct {
	name  string
	where string // which rows, without their time
	due   string // the column with their time, unix ms
	hands int
	act   func(context.Context, domain.Fulfilment) error
}

func (s *Service) robot(ctx context.Context) {
	if s.settings.Robot {
		s.attend(ctx, duty{"robot", "state IN ('NEW','PICKING')", "robot_at", robotHands, s.robotMove})
	}
}

func (s *Service) poll(ctx context.Context) {
	if s.neighbours.CarrierURL != "" {
		s.attend(ctx, duty{"poll", "state = 'DISPATCHED'", "poll_at", pollHands, s.ask})
	}
}

func (s *Service) attend(ctx context.Context, d duty) {
	for {
		changed := s.db.Changed()
		rows, next, err := s.due(ctx, d)
		trouble := err
		if len(rows) > 0 {
			trouble = s.actOn(ctx, d, rows)
		}
		switch {
		case ctx.Err() != nil:
			return
		case trouble != nil:
			slog.Warn("a duty will be tried again", "duty", d.name, "error", trouble.Error())
			if !wait(ctx, troubleWait, nil) {
				return
			}
		case len(rows) == 0:
			if !wait(ctx, next, changed) {
				return
			}
		}
	}
}

// due reads the rows whose time has come, or else how long the first has yet to wait.
func (s *Service) due(ctx context.Context, d duty) (rows []domain.Fulfilment, next time.Duration, err error) {
	now := s.now().UnixMilli()
	next = idleWait
	err = s.db.Query(ctx, func(r db.Row) error {
		var f domain.Fulfilment
		var at int64
		if err := r.Scan(&f.OrderID, &f.State, &f.Tracking, &at); err != nil {
			return err
		}
		if at <= now {
			rows = append(rows, f)
		} else if len(rows) == 0 {
			next = min(next, time.Duration(at-now)*time.Millisecond)
		}
		return nil
	}, `SELECT order_id, state, COALESCE(tracking, ''), `+d.due+` FROM fulfilment WHERE `+d.where+` ORDER BY `+d.due+` LIMIT ?`, d.hands)
	return rows, next, err
}

func (s *Service) actOn(ctx context.Context, d duty, rows []domain.Fulfilment) error {
	troubles := make([]error, len(rows))
	var hands sync.WaitGroup
	for i, f := range rows {
		hands.Add(1)
		go func() {
			defer hands.Done()
			troubles[i] = d.act(ctx, f)
		}()
	}
	hands.Wait()
	return errors.Join(troubles...)
}

// robotMove takes the next step of one order, unless a person or a cancel was faster.
func (s *Service) robotMove(ctx context.Context, seen domain.Fulfilment) error {
	var changed *domain.Fulfilment
	step := Pick
	if seen.State == domain.Picking {
		step = Pack
	}
	err := s.db.Write(ctx, func(t *db.Tx) error {
		changed = nil
		f, err := find(t, "order_id", seen.OrderID)
		if err != nil || f == nil || f.State != seen.State {
			return err
		}
		if changed, err = s.move(ctx, t, f, step); err != nil {
			return err
		}
		_, err = t.Exec(`UPDATE fulfilment SET robot_at = ? WHERE order_id = ?`,
			s.now().Add(s.settings.RobotDelay/2).UnixMilli(), f.OrderID)
		return err
	})
	if err == nil && changed != nil {
		logChange(ctx, changed, "the robot: "+step.log)
	}
	return err
}

// ask asks the carrier about one parcel: the net below lost webhooks. The next
// question comes after twice the time, at most five minutes, also when this
// one found nobody.
func (s *Service) ask(ctx context.Context, f domain.Fulfilment) error {
	status, trouble := s.neighbours.Status(ctx, f.Tracking)
	if trouble == nil && domain.KnownStatus(domain.CarrierStatus(status)) {
		trouble = s.heard(ctx, word{"", f.Tracking, domain.CarrierStatus(status)})
	}
	err := s.db.Write(ctx, func(t *db.Tx) error {
		var polls int64
		if err := t.One(`SELECT polls FROM fulfilment WHERE order_id = ?`, []any{f.OrderID}, &polls); err != nil {
			return err
		}
		again := s.settings.PollEvery << min(polls+1, 16)
		_, err := t.Exec(`UPDATE fulfilment SET polls = polls + 1, poll_at = ? WHERE order_id = ?`,
			s.now().Add(min(again, pollMax)).UnixMilli(), f.OrderID)
		return err
	})
	return errors.Join(trouble, err)
}
