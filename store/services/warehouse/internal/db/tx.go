package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNone is returned by One when there is no such row.
var ErrNone = sql.ErrNoRows

// Row is what a scan function reads from.
type Row interface{ Scan(into ...any) error }

// Tx is the transaction a job runs in. It is valid only until the job returns.
type Tx struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (t *Tx) exec(statement string) error {
	s, err := t.stmt(statement)
	if err == nil {
		_, err = s.Exec()
	}
	return err
}

// attempt runs a job in a savepoint of its own. A panic becomes an error: the
// writer is shared by all requests and must outlive each of them.
func (t *Tx) attempt(run func(*Tx) error) (err error) {
	if err = t.exec("SAVEPOINT job"); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while changing the database: %v", p)
		}
		if err != nil {
			err = errors.Join(err, t.exec("ROLLBACK TO job"))
		}
		err = errors.Join(err, t.exec("RELEASE job"))
	}()
	return run(t)
}

func (t *Tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.prepared[query]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.prepared[query] = s
	return s, nil
}

func (t *Tx) forget() {
	for _, s := range t.prepared {
		_ = s.Close()
	}
	_ = t.conn.Close()
}

// Exec changes rows and returns how many.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	result, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// One reads one row, or returns ErrNone.
func (t *Tx) One(query string, args []any, into ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	return s.QueryRow(args...).Scan(into...)
}

// Query reads rows; scan is called for each.
func (t *Tx) Query(scan func(Row) error, query string, args ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}

func each(rows *sql.Rows, scan func(Row) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
