package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const secret = "a secret between the carrier and us"

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "warehouse")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "warehouse")
	build := exec.Command("go", "build", "-o", program, "./cmd/warehouse")
	build.Dir = root
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot build the program under test")
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is the program with fakes around it.
type world struct {
	t        *testing.T
	orders   *fakeOrders
	carrier  *fakeCarrier
	database string
	env      []string

	mu      sync.Mutex
	process *exec.Cmd
	base    string
}

// start begins a world; more are settings as NAME=value.
func start(t *testing.T, more ...string) *world {
	t.Helper()
	w := &world{t: t, orders: newOrders(t), carrier: newCarrier(t), database: filepath.Join(t.TempDir(), "data", "warehouse.db")}
	w.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOST=127.0.0.1", "PORT=0", "DATABASE_URL=sqlite:///" + w.database,
		"ORDERS_URL=" + w.orders.URL, "CARRIER_SIM_URL=" + w.carrier.URL,
		"CARRIER_WEBHOOK_SECRET=" + secret, "ROBOT_DELAY_MS=0", "CARRIER_POLL_MS=600000",
	}, more...)
	w.launch()
	t.Cleanup(w.kill)
	return w
}

func (w *world) launch() {
	w.t.Helper()
	process := exec.Command(program)
	process.Env = w.env
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var seen []string
	for lines.Scan() {
		var line struct{ Level, Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			w.t.Errorf("a log line is not JSON: %s", lines.Text())
		}
		seen = append(seen, lines.Text())
		if line.Address != "" {
			go func() {
				for lines.Scan() {
					var line struct{ Level, Msg string }
					if json.Unmarshal(lines.Bytes(), &line) != nil || line.Level == "error" {
						w.t.Errorf("unexpected log line: %s", lines.Text())
					}
				}
			}()
			w.mu.Lock()
			w.process, w.base = process, "http://"+line.Address
			w.mu.Unlock()
			return
		}
	}
	w.t.Fatalf("the program did not open: %v", seen)
}

func (w *world) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.process.Process.Signal(syscall.SIGKILL)
	_ = w.process.Wait()
}

func (w *world) url(path string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.base + path
}

type reply struct {
	status   int
	replayed bool
	header   http.Header
	body     []byte
}

func (r reply) text(member string) string {
	var object map[string]any
	_ = json.Unmarshal(r.body, &object)
	text, _ := object[member].(string)
	return text
}

// try sends one request and checks the answer against the contract; an error
// means that the program was not there.
func (w *world) try(method, path string, headers map[string]string, body string) (reply, error) {
	request, err := http.NewRequest(method, w.url(path), strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return reply{}, err
	}
	contract.check(w.t, method, path, answer.StatusCode, answer.Header.Get("Content-Type"), content)
	return reply{answer.StatusCode, answer.Header.Get("Idempotency-Replayed") == "true", answer.Header, content}, nil
}

func (w *world) ask(method, path string, headers map[string]string, body string) reply {
	w.t.Helper()
	r, err := w.try(method, path, headers, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) want(r reply, status int, code string) reply {
	w.t.Helper()
	if r.status != status || (code != "" && r.text("code") != code) {
		w.t.Fatalf("expected %d %s, got %d %s", status, code, r.status, r.body)
	}
	return r
}

func key(k string) map[string]string { return map[string]string{"Idempotency-Key": k} }

func (w *world) event(id, order string) reply {
	w.t.Helper()
	return w.ask("POST", "/_archipel/events", map[string]string{"Content-Type": "application/cloudevents+json"}, confirmed(id, order))
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func confirmed(id, order string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/store/orders","type":"store.order.confirmed.v1","subject":%q,
"time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json","traceparent":%q,"future":1,
"data":{"order_id":%q,"customer_id":"cus_1","shipping_option":"express","future":{},
"lines":[{"sku":"LAMP-1","qty":2,"title":"Lamp","weight_g":700},{"sku":"ROPE-1","qty":1,"title":"Rope","weight_g":300}]}}`, id, order, traceparent, order)
}

func (w *world) release(order, captureID, k string) reply {
	w.t.Helper()
	return w.ask("POST", "/v1/fulfilments/"+order+"/release", key(k), `{"capture_id":"`+captureID+`"}`)
}

func (w *world) state(order string) string {
	w.t.Helper()
	return w.ask("GET", "/v1/fulfilments/"+order, nil, "").text("state")
}

func (w *world) becomes(order, state string) {
	w.t.Helper()
	eventually(w.t, func() (bool, string) { s := w.state(order); return s == state, order + " is " + s })
}

func eventually(t *testing.T, look func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		good, seen := look()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain; last seen: %s", seen)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at a level
	}
}

type fact struct {
	Seq   int64
	Topic string
	Event struct {
		ID, Type, Subject, Traceparent, CorrelationID, PartitionKey string
		Data                                                        json.RawMessage
	}
}

// outbox reads all events and holds each against its schema.
func (w *world) outbox() []fact {
	w.t.Helper()
	var all []fact
	for after := int64(0); ; {
		r := w.want(w.ask("GET", fmt.Sprintf("/_archipel/outbox?after=%d&limit=100", after), nil, ""), 200, "")
		var page struct {
			Events  []fact
			LastSeq int64 `json:"last_seq"`
		}
		if err := json.Unmarshal(r.body, &page); err != nil {
			w.t.Fatal(err)
		}
		for _, f := range page.Events {
			if f.Seq <= after {
				w.t.Fatalf("positions go back: %d after %d", f.Seq, after)
			}
			after = f.Seq
			contract.checkEvent(w.t, f.Topic, f.Event.Data)
			if f.Event.Type != "store."+f.Topic+".v1" || f.Event.PartitionKey != f.Event.Subject || f.Event.CorrelationID != f.Event.Subject {
				w.t.Errorf("a wrong envelope: %+v", f)
			}
			all = append(all, f)
		}
		if len(page.Events) == 0 {
			if page.LastSeq != after {
				w.t.Errorf("last_seq is %d, the last event has %d", page.LastSeq, after)
			}
			return all
		}
	}
}

func (w *world) topics(order string) string {
	w.t.Helper()
	var topics []string
	for _, f := range w.outbox() {
		if f.Event.Subject == order {
			topics = append(topics, f.Topic)
		}
	}
	return strings.Join(topics, " ")
}

func (w *world) wantTopics(order, topics string) {
	w.t.Helper()
	if got := w.topics(order); got != topics {
		w.t.Errorf("events of %s: expected %q, got %q", order, topics, got)
	}
}

func sign(secret string, at time.Time, body string) map[string]string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return map[string]string{"carrier-signature": fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))}
}

func (w *world) carrierSays(id, tracking, status string) reply {
	w.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"tracking":%q,"status":%q,"at":"2026-01-01T00:00:00.000Z"}`, id, tracking, status)
	return w.ask("POST", "/v1/webhooks/carrier", sign(secret, time.Now(), body), body)
}

// fakeOrders knows everybody's address.
type fakeOrders struct {
	*httptest.Server
	mu    sync.Mutex
	away  bool
	trace string
}

func newOrders(t *testing.T) *fakeOrders {
	o := &fakeOrders{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.trace = r.Header.Get("traceparent")
		if o.away || !strings.HasSuffix(r.URL.Path, "/ship-to") {
			w.WriteHeader(503)
			return
		}
		_, _ = io.WriteString(w, `{"name":"A. Islander","line1":"1 Quay","postcode":"75001","city":"Paris","country":"FR"}`)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *fakeOrders) set(away bool) { o.mu.Lock(); o.away = away; o.mu.Unlock() }

// fakeCarrier books by key and can lose its own answers.
type fakeCarrier struct {
	*httptest.Server
	mu      sync.Mutex
	away    bool
	lose    int // so many answers are lost after the booking is made
	asked   int
	booked  map[string]string // key to tracking
	statuss map[string]string
	last    map[string]any
}

func newCarrier(t *testing.T) *fakeCarrier {
	c := &fakeCarrier{booked: map[string]string{}, statuss: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *fakeCarrier) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		w.WriteHeader(503)
		return
	}
	if r.Method == http.MethodGet {
		tracking := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		status := c.statuss[tracking]
		if status == "" {
			status = "in_transit"
		}
		fmt.Fprintf(w, `{"tracking":%q,"status":%q}`, tracking, status)
		return
	}
	c.asked++
	k := r.Header.Get("Idempotency-Key")
	body, _ := io.ReadAll(r.Body)
	_ = json.NewDecoder(bytes.NewReader(body)).Decode(&c.last)
	if c.booked[k] == "" {
		c.booked[k] = fmt.Sprintf("CS%04d", len(c.booked)+1)
	}
	if c.lose > 0 {
		c.lose--
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(201)
	fmt.Fprintf(w, `{"tracking":%q}`, c.booked[k])
}

func (c *fakeCarrier) set(change func(*fakeCarrier)) { c.mu.Lock(); defer c.mu.Unlock(); change(c) }

func (c *fakeCarrier) bookings() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.booked) }

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
