package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// What every service of the store keeps for its neighbours: events to fetch
// (outbox), events taken in (inbox), and answers to repeat (idempotency).

const (
	outboxKept      = 7 * 24 * time.Hour
	idempotencyKept = 14 * 24 * time.Hour
	inboxKept       = 30 * 24 * time.Hour // far longer than any event is redelivered
	timeFormat      = "2006-01-02T15:04:05.000Z"
)

// Stamp writes a time as the store does: RFC 3339, UTC, milliseconds.
func Stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// NewID makes a prefix and a UUIDv7 without hyphens.
func NewID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail on the systems this runs on
	ms := time.Now().UnixMilli()
	for i := 0; i < 6; i++ {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return prefix + hex.EncodeToString(b[:])
}

// Event is a row of the outbox.
type Event struct {
	Seq                                         int64
	ID, Topic, Type, Subject, Traceparent, Time string
	Data                                        json.RawMessage
}

// Publish writes an event in the transaction that makes it true.
func (t *Tx) Publish(topic, subject, traceparent string, data any, at time.Time) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO outbox(id, topic, type, subject, data, traceparent, created_at) VALUES(?,?,?,?,?,?,?)`,
		NewID("evt_"), topic, "store."+topic+".v1", subject, string(body), traceparent, Stamp(at))
	return err
}

// Outbox reads the events after a position, oldest first, and the last position.
func (d *DB) Outbox(ctx context.Context, after int64, limit int) (events []Event, last int64, err error) {
	err = d.Query(ctx, func(r Row) error {
		var e Event
		var data string
		err := r.Scan(&e.Seq, &e.ID, &e.Topic, &e.Type, &e.Subject, &data, &e.Traceparent, &e.Time)
		e.Data = json.RawMessage(data)
		events = append(events, e)
		return err
	}, `SELECT seq, id, topic, type, subject, data, traceparent, created_at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return nil, 0, err
	}
	err = d.Query(ctx, func(r Row) error { return r.Scan(&last) }, `SELECT COALESCE(MAX(seq), 0) FROM outbox`)
	return events, last, err
}

// Receive notes an event as taken in; false means that it was before.
func (t *Tx) Receive(source, id, topic string, at time.Time) (fresh bool, err error) {
	n, err := t.Exec(`INSERT INTO inbox(source, id, topic, received_at) VALUES(?,?,?,?) ON CONFLICT DO NOTHING`,
		source, id, topic, Stamp(at))
	return n == 1, err
}

// Answer is what a request with a key was answered.
type Answer struct {
	Fingerprint string
	Status      int
	Body        string
}

// Answered finds the answer given before to this key, or nil.
func (t *Tx) Answered(key, route string) (*Answer, error) {
	var a Answer
	err := t.One(`SELECT fingerprint, status, body FROM idempotency WHERE key = ? AND route = ?`, []any{key, route},
		&a.Fingerprint, &a.Status, &a.Body)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	return &a, err
}

// Remember keeps an answer, in the transaction of the effect it reports.
func (t *Tx) Remember(key, route string, a Answer, at time.Time) error {
	_, err := t.Exec(`INSERT INTO idempotency(key, route, fingerprint, status, body, created_at) VALUES(?,?,?,?,?,?)`,
		key, route, a.Fingerprint, a.Status, a.Body, Stamp(at))
	return err
}

// Sweep deletes what nobody can ask for any more. The last event stays, so
// that the highest position never goes back.
func (d *DB) Sweep(ctx context.Context, now time.Time) error {
	return d.Write(ctx, func(t *Tx) error {
		_, outbox := t.Exec(`DELETE FROM outbox WHERE created_at < ? AND seq < (SELECT MAX(seq) FROM outbox)`, Stamp(now.Add(-outboxKept)))
		_, answers := t.Exec(`DELETE FROM idempotency WHERE created_at < ?`, Stamp(now.Add(-idempotencyKept)))
		_, inbox := t.Exec(`DELETE FROM inbox WHERE received_at < ?`, Stamp(now.Add(-inboxKept)))
		_, carrier := t.Exec(`DELETE FROM carrier_event WHERE received_at < ?`, Stamp(now.Add(-inboxKept)))
		return errors.Join(outbox, answers, inbox, carrier)
	})
}
