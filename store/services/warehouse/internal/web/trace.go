package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"regexp"
	"time"
)

type traceKey struct{}

var traceparentForm = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

const (
	noTrace = "00000000000000000000000000000000"
	noSpan  = "0000000000000000"
)

// TraceOf gives the trace id inside a traceparent, or "" when it is malformed.
func TraceOf(traceparent string) string {
	parts := traceparentForm.FindStringSubmatch(traceparent)
	if parts == nil || traceparent[:2] == "ff" || parts[1] == noTrace || parts[2] == noSpan {
		return ""
	}
	return parts[1]
}

// WithTrace puts a traceparent into ctx; a malformed one is replaced by a new one.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if TraceOf(traceparent) == "" {
		traceparent = newTraceparent()
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// Trace is the traceparent of ctx, "" outside a request.
func Trace(ctx context.Context) string {
	traceparent, _ := ctx.Value(traceKey{}).(string)
	return traceparent
}

func newTraceparent() string {
	var b [24]byte
	_, _ = rand.Read(b[:])
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-01"
}

// LogHandler adds trace_id to lines logged with a context and writes the
// members every service of the store writes: time, level, msg.
type LogHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := TraceOf(Trace(ctx)); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// LogMembers renames and reshapes slog's own members.
func LogMembers(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("time", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("level", levelName(level))
	}
	if d, ok := a.Value.Any().(time.Duration); ok {
		return slog.Int64(a.Key+"_ms", d.Milliseconds())
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	default:
		return "debug"
	}
}
