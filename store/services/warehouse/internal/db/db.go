// Package db is the warehouse's one file of SQLite.
//
// All changes go through one goroutine that owns the only writing connection.
// It takes everything that waits and commits it together, because with
// synchronous=FULL the price of a commit is one fsync and not the rows in it:
// under load many orders share one fsync, and a lone request waits for nobody.
// Each job runs in a savepoint, so a job that fails leaves no trace in the
// commit of its neighbours. A caller hears "done" only after that commit.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

// ErrOverloaded says that the queue of changes stayed full: nothing was done.
var ErrOverloaded = errors.New("too many changes are waiting for the database")

// ErrClosed says that the service is stopping: nothing was done.
var ErrClosed = errors.New("the database is closed")

const (
	queueMax   = 256
	batchMax   = 64
	enqueueMax = time.Second
	readersMax = 3
)

type job struct {
	run  func(*Tx) error
	done chan error
}

// DB is safe for use by many goroutines.
type DB struct {
	readers *sql.DB
	writer  *sql.DB
	jobs    chan job
	stopped chan struct{}

	closing sync.RWMutex // held for reading while a job is being queued
	closed  bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced after each commit
}

// Open creates or migrates the file and starts the writer.
func Open(path string) (*DB, error) {
	if dir := filepath.Dir(path); dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the directory of the database: %w", err)
		}
	}
	writer, err := sql.Open("sqlite3", dsn(path, map[string]string{"_cache_size": "-1024"}))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	conn, err := writer.Conn(context.Background())
	if err == nil {
		err = migrate(conn)
	}
	if err != nil {
		_ = writer.Close()
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	readers, err := sql.Open("sqlite3", dsn(path, map[string]string{"_query_only": "1", "_cache_size": "-256"}))
	if err != nil {
		_ = writer.Close()
		return nil, err
	}
	readers.SetMaxOpenConns(readersMax)
	readers.SetMaxIdleConns(readersMax)
	d := &DB{
		readers: readers,
		writer:  writer,
		jobs:    make(chan job, queueMax),
		stopped: make(chan struct{}),
		changed: make(chan struct{}),
	}
	go d.write(conn)
	return d, nil
}

func dsn(path string, more map[string]string) string {
	options := url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_busy_timeout": {"5000"},
		"_foreign_keys": {"1"},
	}
	for name, value := range more {
		options.Set(name, value)
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() + "?" + options.Encode()
}

// Close finishes the changes that wait, then closes the file.
func (d *DB) Close() error {
	d.closing.Lock()
	already := d.closed
	d.closed = true
	if !already {
		close(d.jobs)
	}
	d.closing.Unlock()
	<-d.stopped
	return errors.Join(d.readers.Close(), d.writer.Close())
}

// Write runs change inside a transaction and returns after it is on disk.
//
// An error from change, or a panic in it, undoes what it did. What change
// puts into variables of its caller counts only when Write returned nil.
// When ctx ends while the change is still being made, Write waits for the
// end of it: a commit takes milliseconds and its outcome must be known.
func (d *DB) Write(ctx context.Context, change func(*Tx) error) error {
	j := job{run: change, done: make(chan error, 1)}
	if err := d.enqueue(ctx, j); err != nil {
		return err
	}
	return <-j.done
}

func (d *DB) enqueue(ctx context.Context, j job) error {
	d.closing.RLock()
	defer d.closing.RUnlock()
	if d.closed {
		return ErrClosed
	}
	select {
	case d.jobs <- j:
		return nil
	default:
	}
	patience := time.NewTimer(enqueueMax)
	defer patience.Stop()
	select {
	case d.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return ErrOverloaded
	}
}

// Changed is closed after the next commit.
func (d *DB) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *DB) write(conn *sql.Conn) {
	defer close(d.stopped)
	tx := &Tx{conn: conn, prepared: map[string]*sql.Stmt{}}
	defer tx.forget()
	for first := range d.jobs {
		batch := []job{first}
	more:
		for len(batch) < batchMax {
			select {
			case next, open := <-d.jobs:
				if !open {
					break more
				}
				batch = append(batch, next)
			default:
				break more
			}
		}
		d.commit(tx, batch)
	}
}

// commit makes one transaction of a batch. Failed jobs are answered with
// their own error, the others with the outcome of the commit.
func (d *DB) commit(tx *Tx, batch []job) {
	if err := tx.exec("BEGIN IMMEDIATE"); err != nil {
		answer(batch, fmt.Errorf("cannot begin a transaction: %w", err))
		return
	}
	good := batch[:0]
	for _, j := range batch {
		if err := tx.attempt(j.run); err != nil {
			j.done <- err
			continue
		}
		good = append(good, j)
	}
	err := tx.exec("COMMIT")
	if err != nil {
		_ = tx.exec("ROLLBACK") // best effort: a failed COMMIT may have rolled back by itself
		err = fmt.Errorf("cannot commit: %w", err)
	}
	answer(good, err)
	if err == nil && len(good) > 0 {
		d.mu.Lock()
		close(d.changed)
		d.changed = make(chan struct{})
		d.mu.Unlock()
	}
}

func answer(batch []job, err error) {
	for _, j := range batch {
		j.done <- err
	}
}

// Ready says whether the file answers.
func (d *DB) Ready(ctx context.Context) error {
	var one int
	return d.readers.QueryRowContext(ctx, "SELECT 1 FROM sqlite_schema LIMIT 1").Scan(&one)
}

// Query reads rows with one of the reading connections; scan is called for each.
func (d *DB) Query(ctx context.Context, scan func(Row) error, query string, args ...any) error {
	rows, err := d.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}
