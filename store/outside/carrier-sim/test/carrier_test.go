package test

import (
	"bufio"
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

const secret = "between the warehouse and the carrier"

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "carrier")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "carrier-sim")
	build := exec.Command("go", "build", "-o", program, ".")
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

type world struct {
	t       *testing.T
	env     []string
	base    string
	process *exec.Cmd
	desk    *desk
}

// desk is the warehouse's, where webhooks arrive.
type desk struct {
	*httptest.Server
	mu     sync.Mutex
	refuse int
	heard  []string // "<tracking> <status>"
	ids    map[string]int
}

func start(t *testing.T, more ...string) *world {
	t.Helper()
	d := &desk{ids: map[string]int{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.take(t, w, r) }))
	t.Cleanup(d.Close)
	w := &world{t: t, desk: d, env: append([]string{"PORT=0", "DATABASE_URL=sqlite:///" + filepath.Join(t.TempDir(), "c.db"),
		"WAREHOUSE_URL=" + d.URL, "CARRIER_WEBHOOK_SECRET=" + secret, "DELIVER_AFTER_MS=20"}, more...)}
	w.launch()
	t.Cleanup(w.kill)
	return w
}

func (d *desk) take(t *testing.T, w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if d.refuse > 0 {
		d.refuse--
		w.WriteHeader(409)
		return
	}
	contract.validate(t, "urn:openapi#/components/schemas/Moved", body)
	var stamp, signature string
	for _, part := range strings.Split(r.Header.Get("carrier-signature"), ",") {
		if strings.HasPrefix(part, "t=") {
			stamp = part[2:]
		}
		if strings.HasPrefix(part, "v1=") {
			signature = part[3:]
		}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	if want := hex.EncodeToString(mac.Sum(nil)); want != signature || r.URL.Path != "/v1/webhooks/carrier" {
		t.Errorf("a wrong signature or path: %s %s", r.URL.Path, r.Header.Get("carrier-signature"))
	}
	var m struct{ ID, Tracking, Status string }
	_ = json.Unmarshal(body, &m)
	d.ids[m.ID]++
	d.heard = append(d.heard, m.Tracking+" "+m.Status)
	w.WriteHeader(204)
}

func (d *desk) count(words string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.heard {
		if h == words {
			n++
		}
	}
	return n
}

func (w *world) launch() {
	w.t.Helper()
	w.process = exec.Command(program)
	w.process.Env = w.env
	w.process.Stderr = os.Stderr
	out, err := w.process.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.process.Start(); err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line struct{ Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			w.t.Fatalf("not JSON: %s", lines.Text())
		}
		if line.Address != "" {
			w.base = "http://" + line.Address
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	w.t.Fatal("the program did not open")
}

func (w *world) kill() {
	_ = w.process.Process.Signal(syscall.SIGKILL)
	_ = w.process.Wait()
}

func (w *world) try(method, path, key, body string) (status int, replayed bool, content []byte, err error) {
	request, err := http.NewRequest(method, w.base+path, strings.NewReader(body))
	if err != nil {
		return 0, false, nil, err
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	// A fresh connection each time: on a used one, net/http by itself repeats a
	// request that has a key when the connection breaks.
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err = io.ReadAll(answer.Body)
	contract.check(w.t, method, path, answer.StatusCode, answer.Header.Get("Content-Type"), content)
	return answer.StatusCode, answer.Header.Get("Idempotency-Replayed") == "true", content, err
}

func parcel(order, line2 string) string {
	return fmt.Sprintf(`{"order_ref":%q,"address":{"name":"A","line1":"1 Quay","line2":%q,"country":"FR"},"weight_g":100,"service":"standard"}`, order, line2)
}

func (w *world) book(key, body string) string {
	w.t.Helper()
	status, _, content, err := w.try("POST", "/v1/shipments", key, body)
	var answer struct{ Tracking string }
	_ = json.Unmarshal(content, &answer)
	if err != nil || status != 201 {
		w.t.Fatalf("%v %d %s", err, status, content)
	}
	return answer.Tracking
}

func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !look(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at a level
	}
}

func (w *world) hears(words string) {
	w.t.Helper()
	eventually(w.t, words, func() bool { return w.desk.count(words) > 0 })
}

func TestAParcelTravelsAndTheWarehouseHearsOfIt(t *testing.T) {
	w := start(t)
	tracking := w.book("ord_1:ship", parcel("ord_1", ""))
	if again := w.book("ord_1:ship", parcel("ord_1", "")); again != tracking {
		t.Errorf("booked twice: %s and %s", tracking, again)
	}
	w.hears(tracking + " in_transit")
	w.hears(tracking + " delivered")
	_, _, content, _ := w.try("GET", "/v1/shipments/"+tracking, "", "")
	if !strings.Contains(string(content), `"status":"delivered"`) {
		t.Errorf("%s", content)
	}
	_, _, content, _ = w.try("GET", "/v1/shipments?order_ref=ord_1", "", "")
	if strings.Count(string(content), "tracking") != 1 {
		t.Errorf("%s", content)
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := start(t)
	w.book("k", parcel("ord_1", ""))
	check := func(want int, key, body string) {
		t.Helper()
		if status, _, content, err := w.try("POST", "/v1/shipments", key, body); err != nil || status != want {
			t.Errorf("expected %d, got %v %d %s", want, err, status, content)
		}
	}
	check(422, "k", parcel("ord_2", ""))
	check(400, "", parcel("ord_1", ""))
	for _, body := range []string{``, `{`, `[]`, `{}`, `{"order_ref":"o","address":{},"weight_g":1,"service":"standard"}`,
		`{"order_ref":"o","address":{"a":1},"weight_g":-1,"service":"standard"}`, `{"order_ref":"o","address":{"a":1},"weight_g":1,"service":"rocket"}`,
		`{"order_ref":"o","address":{"a":1},"weight_g":1,"service":"standard","x":1}`} {
		check(422, "other", body)
	}
	check(413, "other", strings.Repeat(" ", 300_000))
	if status, _, _, _ := w.try("GET", "/v1/shipments/none", "", ""); status != 404 {
		t.Errorf("unknown tracking: %d", status)
	}
}

func TestQuirks(t *testing.T) {
	w := start(t)
	broken := w.book("a", parcel("ord_a", "sim:exception"))
	twice := w.book("b", parcel("ord_b", "near sim:twice"))
	silent := w.book("c", parcel("ord_c", "sim:silent"))
	if _, _, _, err := w.try("POST", "/v1/shipments", "d", parcel("ord_d", "sim:drop")); err == nil {
		t.Error("the answer was not dropped")
	}
	dropped := w.book("d", parcel("ord_d", "sim:drop"))
	w.hears(broken + " exception")
	w.hears(dropped + " delivered")
	eventually(t, "a doubled webhook", func() bool { return w.desk.count(twice+" delivered") == 2 })
	eventually(t, "a silent delivery", func() bool {
		_, _, content, _ := w.try("GET", "/v1/shipments/"+silent, "", "")
		return strings.Contains(string(content), `"delivered"`)
	})
	if w.desk.count(silent+" delivered") != 0 || w.desk.count(broken+" delivered") != 0 {
		t.Errorf("heard %v", w.desk.heard)
	}
}

func TestARefusedWebhookComesAgain(t *testing.T) {
	w := start(t)
	w.desk.mu.Lock()
	w.desk.refuse = 2
	w.desk.mu.Unlock()
	tracking := w.book("k", parcel("ord_1", ""))
	w.hears(tracking + " in_transit")
	w.hears(tracking + " delivered")
}

func TestKilledItKeepsEveryBookingAndSendsEveryWebhook(t *testing.T) {
	w := start(t, "DELIVER_AFTER_MS=60")
	booked := map[string]string{}
	for i := 0; i < 60; i++ {
		key := fmt.Sprint("ord_", i, ":ship")
		booked[key] = w.book(key, parcel(fmt.Sprint("ord_", i), ""))
		if i%10 == 9 {
			w.kill()
			w.launch()
		}
	}
	for key, tracking := range booked {
		if again := w.book(key, parcel(strings.TrimSuffix(key, ":ship"), "")); again != tracking {
			t.Errorf("%s was %s and is %s", key, tracking, again)
		}
		w.hears(tracking + " in_transit")
		w.hears(tracking + " delivered")
	}
}

func TestATermSignalIsAnEnd(t *testing.T) {
	w := start(t)
	_ = w.process.Process.Signal(syscall.SIGTERM)
	if err := w.process.Wait(); err != nil {
		t.Error(err)
	}
}
