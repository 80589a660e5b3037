package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	version  = "0.1.0"
	bodyMax  = 256 << 10
	slowness = 5 * time.Second
)

type counter struct {
	book      *book
	postman   *postman
	deliverMS int64
	token     string
}

func (c *counter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", c.alive)
	mux.HandleFunc("GET /readyz", c.ready)
	mux.HandleFunc("GET /_archipel/info", c.info)
	mux.HandleFunc("POST /v1/shipments", c.ship)
	mux.HandleFunc("GET /v1/shipments", c.list)
	mux.HandleFunc("GET /v1/shipments/{tracking}", c.track)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, 404, "not-found", "there is nothing at "+r.URL.Path+" for "+r.Method)
	})
	return mux
}

func (c *counter) alive(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]string{"status": "ok"})
}

func (c *counter) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := c.book.db.PingContext(ctx); err != nil {
		refuse(w, r, 503, "dependency-unavailable", "the database does not answer")
		return
	}
	c.alive(w, r)
}

func (c *counter) info(w http.ResponseWriter, r *http.Request) {
	if c.token != "" && subtle.ConstantTimeCompare([]byte(c.token), []byte(r.Header.Get("dapr-api-token"))) != 1 {
		refuse(w, r, 401, "unauthorised", "this path wants the platform's token")
		return
	}
	answer(w, 200, map[string]any{"name": "carrier-sim", "version": version, "schema_version": schemaVersion})
}

type booking struct {
	OrderRef string         `json:"order_ref"`
	Address  map[string]any `json:"address"`
	WeightG  *int64         `json:"weight_g"`
	Service  string         `json:"service"`
}

func (b booking) fault() string {
	switch {
	case b.OrderRef == "" || len(b.OrderRef) > 64:
		return "/order_ref: expected 1 to 64 characters"
	case len(b.Address) == 0:
		return "/address: expected an object with the address"
	case b.WeightG == nil || *b.WeightG < 0:
		return "/weight_g: expected an integer of at least 0"
	case b.Service != "standard" && b.Service != "express":
		return "/service: expected standard or express"
	}
	return ""
}

func (c *counter) ship(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	var tooLarge *http.MaxBytesError
	if err != nil {
		if errors.As(err, &tooLarge) {
			refuse(w, r, 413, "too-large", "a body may have at most 256 KiB")
		}
		return // the client is gone, there is nobody to answer
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 255 {
		refuse(w, r, 400, "idempotency-key-missing", "send the header Idempotency-Key of at most 255 characters, the same one on every try")
		return
	}
	var b booking
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		refuse(w, r, 422, "validation", "the body cannot be understood: "+err.Error())
		return
	}
	if fault := b.fault(); fault != "" {
		refuse(w, r, 422, "validation", fault)
		return
	}
	line2, _ := b.Address["line2"].(string)
	sum := sha256.Sum256(body)
	s, fresh, err := c.book.enter(context.WithoutCancel(r.Context()), key, hex.EncodeToString(sum[:]), shipment{
		Tracking: newTracking(), OrderRef: b.OrderRef, Service: b.Service, WeightG: *b.WeightG,
		Quirk: quirkOf(line2), BookedAt: time.UnixMilli(time.Now().UnixMilli()), DeliverMS: c.deliverMS,
	})
	if errors.Is(err, errKeyReused) {
		refuse(w, r, 422, "idempotency-key-reused", err.Error())
		return
	}
	if err != nil {
		slog.Error("cannot book", "error", err.Error())
		refuse(w, r, 500, "internal", "the booking failed here; it is safe to repeat it with the same key")
		return
	}
	if fresh {
		slog.Info("booked", "order_id", s.OrderRef, "tracking", s.Tracking)
		c.postman.nudge()
		c.misbehave(r.Context(), s)
	} else {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	answer(w, 201, map[string]string{"tracking": s.Tracking})
}

// misbehave as the address asked for, after the booking is on disk.
func (c *counter) misbehave(ctx context.Context, s shipment) {
	switch s.Quirk {
	case quirkDrop:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case quirkSlow:
		select {
		case <-ctx.Done():
		case <-time.After(slowness):
		}
	}
}

func (c *counter) track(w http.ResponseWriter, r *http.Request) {
	found, err := c.book.look(r.Context(), "tracking", r.PathValue("tracking"))
	switch {
	case err != nil:
		slog.Error("cannot look up a shipment", "error", err.Error())
		refuse(w, r, 500, "internal", "the look-up failed here")
	case len(found) == 0:
		refuse(w, r, 404, "not-found", "no shipment has this tracking number")
	default:
		answer(w, 200, shown(found[0]))
	}
}

func (c *counter) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	column, value := "order_ref", query.Get("order_ref")
	if key := query.Get("idempotency_key"); key != "" {
		column, value = "idem_key", key
	}
	if value == "" {
		refuse(w, r, 422, "validation", "ask with ?order_ref= or ?idempotency_key=")
		return
	}
	found, err := c.book.look(r.Context(), column, value)
	if err != nil {
		slog.Error("cannot look up shipments", "error", err.Error())
		refuse(w, r, 500, "internal", "the look-up failed here")
		return
	}
	items := []view{}
	for _, s := range found {
		items = append(items, shown(s))
	}
	answer(w, 200, map[string]any{"items": items})
}

type view struct {
	Tracking string `json:"tracking"`
	Status   string `json:"status"`
	OrderRef string `json:"order_ref"`
	Service  string `json:"service"`
	WeightG  int64  `json:"weight_g"`
	BookedAt string `json:"booked_at"`
}

func shown(s shipment) view {
	return view{s.Tracking, s.status(time.Now()), s.OrderRef, s.Service, s.WeightG, stamp(s.BookedAt)}
}

func answer(w http.ResponseWriter, status int, value any) {
	write(w, "application/json", status, value)
}

func write(w http.ResponseWriter, contentType string, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		slog.Error("cannot write an answer as JSON", "error", err.Error())
		w.WriteHeader(500)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	p := map[string]any{
		"type": "urn:store:problem:" + code, "title": http.StatusText(status), "status": status,
		"detail": detail, "code": code, "retryable": status >= 500,
	}
	if parts := strings.Split(r.Header.Get("traceparent"), "-"); len(parts) == 4 && len(parts[1]) == 32 {
		p["trace_id"] = parts[1]
	}
	if status == 503 {
		p["retry_after_ms"] = 500
		w.Header().Set("Retry-After", "1")
	}
	write(w, "application/problem+json", status, p)
}

func databasePath(address string) (string, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:///"); ok && path != "" {
		return path, nil
	}
	return "", fmt.Errorf("DATABASE_URL is %q; expected sqlite:////absolute/path.db", address)
}
