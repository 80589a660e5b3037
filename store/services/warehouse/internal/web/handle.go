package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"store.example/warehouse/internal/db"
)

// Func answers a request or returns why not.
type Func func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP implements http.Handler.
func (f Func) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f(w, r); err != nil {
		if errors.Is(err, db.ErrOverloaded) || errors.Is(err, db.ErrClosed) {
			err = Fail("overloaded", "%s", err)
		}
		WriteProblem(r.Context(), w, err)
	}
}

// Around wraps all routes: trace, panics, and problems for what has no route.
func Around(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := WithTrace(r.Context(), r.Header.Get("traceparent"))
		r = r.WithContext(ctx)
		began := time.Now()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // the value net/http documents
					panic(p)
				}
				slog.ErrorContext(ctx, "a request panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				WriteProblem(ctx, w, Fail("internal", "the request failed here"))
			}
			slog.DebugContext(ctx, "request", "method", r.Method, "path", r.URL.Path, "took", time.Since(began))
		}()
		if h, pattern := mux.Handler(r); pattern == "" {
			missing(ctx, w, r, h)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// missing turns the mux's own 404 and 405 into problems.
func missing(ctx context.Context, w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := &probeWriter{header: http.Header{}}
	h.ServeHTTP(probe, r)
	switch {
	case probe.status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", probe.header.Get("Allow"))
		WriteProblem(ctx, w, Fail("method-not-allowed", "%s does not apply to %s", r.Method, r.URL.Path))
	case probe.status >= 300 && probe.status < 400:
		h.ServeHTTP(w, r)
	default:
		WriteProblem(ctx, w, Fail("not-found", "there is nothing at %s", r.URL.Path))
	}
}

type probeWriter struct {
	header http.Header
	status int
}

func (p *probeWriter) Header() http.Header         { return p.header }
func (p *probeWriter) Write(b []byte) (int, error) { return len(b), nil }
func (p *probeWriter) WriteHeader(status int)      { p.status = status }

// Guarded lets only the platform in, when a token is set.
func Guarded(token string, f Func) Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		if token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(r.Header.Get("dapr-api-token"))) != 1 {
			return Fail("unauthorised", "this path wants the platform's token")
		}
		return f(w, r)
	}
}

// Keyed is a request that carries an Idempotency-Key.
type Keyed struct{ Key, Route, Fingerprint string }

// Keys lets one request per key run at a time.
type Keys struct {
	mu      sync.Mutex
	running map[string]struct{}
}

// Begin reads the key of a request. end must be called when the request is over.
func (k *Keys) Begin(r *http.Request, route string, body []byte) (q Keyed, end func(), err error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return q, nil, Fail("idempotency-key-missing", "send the header Idempotency-Key, the same one on every try")
	}
	if len(key) > 255 {
		return q, nil, Invalid(Fault{"", "the Idempotency-Key is longer than 255 characters"})
	}
	sum := sha256.Sum256(append([]byte(r.Method+" "+r.URL.Path+"\n"), body...))
	q = Keyed{Key: key, Route: route, Fingerprint: hex.EncodeToString(sum[:])}
	name := key + "\x00" + route
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, busy := k.running[name]; busy {
		return q, nil, Fail("request-in-progress", "a request with this key is still running")
	}
	if k.running == nil {
		k.running = map[string]struct{}{}
	}
	k.running[name] = struct{}{}
	return q, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.running, name)
	}, nil
}

// Before finds what this request was answered before; nil means it is new.
func (q Keyed) Before(t *db.Tx) (*db.Answer, error) {
	a, err := t.Answered(q.Key, q.Route)
	if err == nil && a != nil && a.Fingerprint != q.Fingerprint {
		return nil, Fail("idempotency-key-reused", "this key came before with another path or body")
	}
	return a, err
}

// Replay answers as before.
func Replay(w http.ResponseWriter, a *db.Answer) {
	w.Header().Set("Idempotency-Replayed", "true")
	WriteBody(w, "application/json", a.Status, []byte(a.Body))
}
