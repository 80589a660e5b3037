package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"math/rand"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	lettersAtOnce = 8
	letterMax     = 3 * time.Second
	backoffMin    = 500 * time.Millisecond
	backoffMax    = 30 * time.Second
	giveUpAfter   = 24 * time.Hour
)

// postman sends webhooks until they are taken, in no promised order. A letter
// is forgotten only after it was taken, so a crash can double one and lose none.
type postman struct {
	book   *book
	url    string
	secret string
	client *http.Client
	wake   chan struct{} // holds one token when something new may be due
}

func newPostman(b *book, url, secret string) *postman {
	return &postman{book: b, url: url, secret: secret, client: &http.Client{Timeout: letterMax}, wake: make(chan struct{}, 1)}
}

func (p *postman) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *postman) run(ctx context.Context) {
	for ctx.Err() == nil {
		due, next, err := p.book.dueLetters(ctx, time.Now(), lettersAtOnce)
		if err != nil {
			if ctx.Err() == nil {
				slog.Error("cannot read the webhooks", "error", err.Error())
			}
			next = time.Second
		}
		var carriers sync.WaitGroup
		for _, l := range due {
			carriers.Add(1)
			go func() {
				defer carriers.Done()
				p.deliver(ctx, l)
			}()
		}
		carriers.Wait()
		if len(due) > 0 {
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p *postman) deliver(ctx context.Context, l letter) {
	taken, why := p.post(ctx, l)
	var err error
	switch {
	case taken:
		err = p.book.sent(ctx, l)
	case ctx.Err() != nil:
		return
	case time.Since(l.At) > giveUpAfter:
		slog.Warn("a webhook was never taken; giving it up", "tracking", l.Tracking, "status", l.Status, "error", why)
		err = p.book.sent(ctx, l)
	default:
		slog.Debug("a webhook was not taken", "tracking", l.Tracking, "status", l.Status, "attempts", l.Attempts+1, "error", why)
		err = p.book.later(ctx, l, time.Now().Add(backoff(l.Attempts)))
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("cannot note the outcome of a webhook", "tracking", l.Tracking, "error", err.Error())
	}
}

// backoff doubles from half a second to half a minute, between half and all of it.
func backoff(attempts int) time.Duration {
	full := backoffMin << min(attempts, 10)
	full = min(full, backoffMax)
	return full/2 + time.Duration(rand.Int63n(int64(full/2)+1))
}

func (p *postman) post(ctx context.Context, l letter) (taken bool, why string) {
	body, err := json.Marshal(map[string]string{"id": l.ID, "tracking": l.Tracking, "status": l.Status, "at": stamp(l.At)})
	if err != nil {
		return false, err.Error()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("carrier-signature", sign(p.secret, body, time.Now()))
	answer, err := p.client.Do(request)
	if err != nil {
		return false, err.Error()
	}
	_ = answer.Body.Close()
	return answer.StatusCode >= 200 && answer.StatusCode <= 299, answer.Status
}

// sign is made anew on each try, because the receiver refuses old signatures.
func sign(secret string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
