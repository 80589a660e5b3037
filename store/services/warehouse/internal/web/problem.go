// Package web holds what the routes share: problems, bodies, traces, keys.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

const bodyMax = 256 << 10

// Problem is an error as a client reads it (RFC 9457).
type Problem struct {
	Type         string  `json:"type"`
	Title        string  `json:"title"`
	Status       int     `json:"status"`
	Detail       string  `json:"detail"`
	Code         string  `json:"code"`
	TraceID      string  `json:"trace_id,omitempty"`
	Retryable    bool    `json:"retryable"`
	RetryAfterMS int64   `json:"retry_after_ms,omitempty"`
	Errors       []Fault `json:"errors,omitempty"`
}

// Fault points at a wrong member of a body.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

type kind struct {
	status    int
	title     string
	retryable bool
}

var kinds = map[string]kind{
	"validation":              {422, "The request cannot be understood", false},
	"not-found":               {404, "No such thing", false},
	"method-not-allowed":      {405, "This method does not apply here", false},
	"too-large":               {413, "The body is too large", false},
	"unauthorised":            {401, "Not authorised", false},
	"idempotency-key-missing": {400, "An Idempotency-Key is needed", false},
	"idempotency-key-reused":  {422, "The Idempotency-Key was used for another request", false},
	"request-in-progress":     {409, "The same request is still running", true},
	"too-late-to-cancel":      {409, "Too late to cancel", false},
	"too-late":                {409, "Too late: the fulfilment was cancelled", false},
	"not-packed":              {409, "Not packed", true},
	"wrong-state":             {409, "This step is not next", false},
	"not-yet":                 {409, "An earlier fact is missing", true},
	"dependency-unavailable":  {503, "A neighbour does not answer", true},
	"overloaded":              {503, "Too much to do at once", true},
	"internal":                {500, "An error of this service", true},
}

// Fail makes a problem; code must be one of the known ones.
func Fail(code, format string, args ...any) *Problem {
	k, ok := kinds[code]
	if !ok {
		k, code = kinds["internal"], "internal"
	}
	p := &Problem{Type: "urn:store:problem:" + code, Title: k.title, Status: k.status,
		Detail: fmt.Sprintf(format, args...), Code: code, Retryable: k.retryable}
	if k.retryable {
		p.RetryAfterMS = 500
	}
	return p
}

// Invalid is a 422 that points at the members at fault.
func Invalid(faults ...Fault) *Problem {
	p := Fail("validation", "%s", "the body has members that cannot be accepted")
	if len(faults) > 0 {
		p.Detail = faults[0].Pointer + ": " + faults[0].Detail
	}
	p.Errors = faults
	return p
}

// WriteProblem answers with any error. What is not a problem is logged and
// becomes a 500 whose text tells the client nothing of our inside.
func WriteProblem(ctx context.Context, w http.ResponseWriter, err error) {
	var found *Problem
	if !errors.As(err, &found) {
		slog.ErrorContext(ctx, "a request failed", "error", err.Error())
		found = Fail("internal", "the request failed here; it is safe to repeat it with the same key")
	}
	p := *found
	p.TraceID = TraceOf(Trace(ctx))
	if p.RetryAfterMS > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt((p.RetryAfterMS+999)/1000, 10))
	}
	writeAs(w, "application/problem+json", p.Status, p)
}

// WriteJSON answers with a value.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	writeAs(w, "application/json", status, value)
}

func writeAs(w http.ResponseWriter, contentType string, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		slog.Error("cannot write an answer as JSON", "error", err.Error())
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	WriteBody(w, contentType, status, body)
}

// WriteBody answers with bytes.
func WriteBody(w http.ResponseWriter, contentType string, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// Body reads a request's body up to the limit.
func Body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, Fail("too-large", "a body may have at most %d bytes", bodyMax)
	case err != nil:
		return nil, Fail("validation", "the body did not arrive whole")
	}
	return body, nil
}

// Decode reads a command: unknown members and anything after the value are refused.
func Decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return invalidJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Fail("validation", "the body has something after its JSON value")
	}
	return nil
}

// DecodeOpen reads an event: unknown members are ignored.
func DecodeOpen(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return invalidJSON(err)
	}
	return nil
}

func invalidJSON(err error) error {
	var wrongType *json.UnmarshalTypeError
	const unknown = "json: unknown field "
	switch {
	case errors.As(err, &wrongType):
		return Invalid(Fault{"/" + strings.ReplaceAll(wrongType.Field, ".", "/"), "expected " + jsonName(wrongType.Type.Kind().String()) + ", got " + wrongType.Value})
	case strings.HasPrefix(err.Error(), unknown):
		return Invalid(Fault{"/" + strings.Trim(strings.TrimPrefix(err.Error(), unknown), `"`), "there is no such member here"})
	default:
		return Fail("validation", "the body is not JSON: %s", err)
	}
}

func jsonName(kind string) string {
	switch kind {
	case "struct", "map":
		return "an object"
	case "slice", "array":
		return "an array"
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	default:
		return "an integer"
	}
}
