package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

// book is the carrier's memory. Bookings are one row each under the key of the
// one who asked, so that asking again after a lost answer gives the same parcel.
type book struct {
	db *sql.DB // one connection: the carrier is small and its writes must not race
}

const schemaVersion = 1

const schema = `
CREATE TABLE shipment (
  tracking    TEXT PRIMARY KEY,
  idem_key    TEXT NOT NULL UNIQUE,
  fingerprint TEXT NOT NULL,
  order_ref   TEXT NOT NULL,
  service     TEXT NOT NULL,
  weight_g    INTEGER NOT NULL,
  quirk       TEXT NOT NULL DEFAULT '',
  booked_ms   INTEGER NOT NULL,
  deliver_ms  INTEGER NOT NULL
);
CREATE INDEX shipment_order ON shipment(order_ref);
CREATE TABLE webhook (
  seq      INTEGER PRIMARY KEY,
  id       TEXT NOT NULL,
  tracking TEXT NOT NULL REFERENCES shipment(tracking),
  status   TEXT NOT NULL,
  at_ms    INTEGER NOT NULL,
  due_ms   INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX webhook_due ON webhook(due_ms);
PRAGMA user_version = 1;
`

func openBook(path string) (*book, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	address := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=5000&_foreign_keys=1&_txlock=immediate&_cache_size=-512"
	db, err := sql.Open("sqlite3", address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	b := &book{db}
	if err := b.migrate(); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	return b, nil
}

func (b *book) migrate() error {
	return b.within(context.Background(), func(tx *sql.Tx) error {
		var have int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&have); err != nil || have >= schemaVersion {
			return err
		}
		_, err := tx.Exec(schema)
		return err
	})
}

func (b *book) within(ctx context.Context, change func(*sql.Tx) error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := change(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

var errKeyReused = errors.New("this key came before with another body")

// enter books s under a key, or finds what was booked under it.
func (b *book) enter(ctx context.Context, key, fingerprint string, s shipment) (found shipment, fresh bool, err error) {
	err = b.within(ctx, func(tx *sql.Tx) error {
		var before string
		err := tx.QueryRow(`SELECT fingerprint, tracking, order_ref, service, weight_g, quirk, booked_ms, deliver_ms FROM shipment WHERE idem_key = ?`, key).
			Scan(into(&found, &before)...)
		switch {
		case err == nil && before != fingerprint:
			return errKeyReused
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		found, fresh = s, true
		if _, err := tx.Exec(`INSERT INTO shipment(tracking, idem_key, fingerprint, order_ref, service, weight_g, quirk, booked_ms, deliver_ms) VALUES(?,?,?,?,?,?,?,?,?)`,
			s.Tracking, key, fingerprint, s.OrderRef, s.Service, s.WeightG, s.Quirk, s.BookedAt.UnixMilli(), s.DeliverMS); err != nil {
			return err
		}
		for _, m := range s.messages() {
			id := newID("cev_")
			for i := 0; i < m.copies; i++ {
				if _, err := tx.Exec(`INSERT INTO webhook(id, tracking, status, at_ms, due_ms) VALUES(?,?,?,?,?)`,
					id, s.Tracking, m.status, m.at.UnixMilli(), m.at.UnixMilli()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return found, fresh, err
}

// moment reads a column of unix milliseconds.
type moment struct{ t *time.Time }

func (m moment) Scan(value any) error {
	ms, ok := value.(int64)
	if !ok {
		return fmt.Errorf("expected unix milliseconds, found %T", value)
	}
	*m.t = time.UnixMilli(ms)
	return nil
}

func into(s *shipment, first ...any) []any {
	return append(first, &s.Tracking, &s.OrderRef, &s.Service, &s.WeightG, &s.Quirk, moment{&s.BookedAt}, &s.DeliverMS)
}

// look finds shipments by a column.
func (b *book) look(ctx context.Context, column, value string) ([]shipment, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT tracking, order_ref, service, weight_g, quirk, booked_ms, deliver_ms FROM shipment WHERE `+column+` = ? ORDER BY booked_ms LIMIT 100`, value)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []shipment
	for rows.Next() {
		var s shipment
		if err := rows.Scan(into(&s)...); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, rows.Err()
}

// letter is a webhook that is due.
type letter struct {
	Seq      int64
	ID       string
	Tracking string
	Status   string
	At       time.Time
	Attempts int
}

// dueLetters reads what is to be sent now, or else how long the next has yet to wait.
func (b *book) dueLetters(ctx context.Context, now time.Time, most int) (due []letter, next time.Duration, err error) {
	rows, err := b.db.QueryContext(ctx, `SELECT seq, id, tracking, status, at_ms, attempts, due_ms FROM webhook ORDER BY due_ms LIMIT ?`, most)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	next = time.Hour
	for rows.Next() {
		var l letter
		var dueAt time.Time
		if err := rows.Scan(&l.Seq, &l.ID, &l.Tracking, &l.Status, moment{&l.At}, &l.Attempts, moment{&dueAt}); err != nil {
			return nil, 0, err
		}
		if wait := dueAt.Sub(now); wait > 0 {
			next = min(next, wait)
			break
		}
		due = append(due, l)
	}
	return due, next, rows.Err()
}

// sent forgets a letter; the shipment itself remembers its status.
func (b *book) sent(ctx context.Context, l letter) error {
	_, err := b.db.ExecContext(ctx, `DELETE FROM webhook WHERE seq = ?`, l.Seq)
	return err
}

func (b *book) later(ctx context.Context, l letter, due time.Time) error {
	_, err := b.db.ExecContext(ctx, `UPDATE webhook SET attempts = attempts + 1, due_ms = ? WHERE seq = ?`, due.UnixMilli(), l.Seq)
	return err
}

func newTracking() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail on the systems this runs on
	return "CS" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}
