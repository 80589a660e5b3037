package test

import (
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"
)

// While neighbours send orders and releases and repeat what was not answered,
// the program is killed again and again. In the end each order has left exactly
// once, was booked exactly once, and its story was told exactly once.
func TestKilledAgainAndAgainNothingIsLostOrDoubled(t *testing.T) {
	const orders, kills = 120, 12
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	w := start(t, robot)

	var stop sync.WaitGroup
	numbers := make(chan int)
	for i := 0; i < 6; i++ {
		stop.Add(1)
		go func() {
			defer stop.Done()
			for n := range numbers {
				w.through(fmt.Sprintf("ord_%04d", n))
			}
		}()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; n < orders; n++ {
			numbers <- n
		}
		close(numbers)
		stop.Wait()
	}()
	killed := 0
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true
		case <-time.After(time.Duration(20+random.Intn(130)) * time.Millisecond): // a random moment of the work
			if killed < kills {
				killed++
				w.kill()
				w.launch()
			}
		}
	}
	if killed == 0 {
		t.Error("the work was done before the first kill; the test has shown nothing")
	}
	t.Logf("killed %d times", killed)

	count := map[string]int{}
	for _, f := range w.outbox() {
		count[f.Event.Subject+" "+f.Topic]++
	}
	for n := 0; n < orders; n++ {
		order := fmt.Sprintf("ord_%04d", n)
		for _, topic := range []string{"fulfilment.created", "fulfilment.packed", "shipment.dispatched", "shipment.delivered"} {
			if c := count[order+" "+topic]; c != 1 {
				t.Errorf("%s was told %d times of %s", topic, c, order)
			}
		}
	}
	if b := w.carrier.bookings(); b != orders {
		t.Errorf("%d parcels booked for %d orders", b, orders)
	}
}

// through takes one order to its door, repeating each step until it is answered.
func (w *world) through(order string) {
	insist := func(send func() (reply, error), good ...int) reply {
		deadline := time.Now().Add(60 * time.Second)
		for {
			r, err := send()
			if err == nil {
				for _, g := range good {
					if r.status == g {
						return r
					}
				}
			}
			if time.Now().After(deadline) {
				w.t.Errorf("%s: %v %d %s", order, err, r.status, r.body)
				return r
			}
			time.Sleep(3 * time.Millisecond) // between two tries
		}
	}
	insist(func() (reply, error) {
		return w.try("POST", "/_archipel/events", nil, confirmed("evt_"+order, order))
	}, 204)
	r := insist(func() (reply, error) {
		return w.try("POST", "/v1/fulfilments/"+order+"/release", key(order+":release:1"), `{"capture_id":"cap_`+order+`"}`)
	}, 200)
	tracking := r.text("tracking")
	insist(func() (reply, error) {
		body := fmt.Sprintf(`{"id":"c_%s","tracking":%q,"status":"delivered"}`, order, tracking)
		return w.try("POST", "/v1/webhooks/carrier", sign(secret, time.Now(), body), body)
	}, 204)
}
