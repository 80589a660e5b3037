package main

import (
	"strings"
	"time"
)

// A shipment's whole future is decided when it is booked: its status is a
// function of the time, and its webhooks are rows with the times they are due.
// So nothing has to be caught up after a crash but sending.

type shipment struct {
	Tracking  string
	OrderRef  string
	Service   string
	WeightG   int64
	Quirk     string
	BookedAt  time.Time
	DeliverMS int64
}

// Quirks are asked for by a word in the second line of the address, so that
// tests can see a carrier misbehave.
const (
	quirkException = "sim:exception" // the parcel meets trouble and is never delivered
	quirkDrop      = "sim:drop"      // books, then drops the connection instead of answering
	quirkSlow      = "sim:slow"      // books, then answers after five seconds
	quirkSilent    = "sim:silent"    // never sends a webhook
	quirkTwice     = "sim:twice"     // sends each webhook twice
)

var quirks = []string{quirkException, quirkDrop, quirkSlow, quirkSilent, quirkTwice}

func quirkOf(addressLine string) string {
	for _, q := range quirks {
		if strings.Contains(addressLine, q) {
			return q
		}
	}
	return ""
}

const (
	booked    = "booked"
	inTransit = "in_transit"
	delivered = "delivered"
	exception = "exception"
)

type milestone struct {
	status string
	at     time.Time
}

// milestones are what will happen, in order.
func (s shipment) milestones() []milestone {
	last := milestone{delivered, s.BookedAt.Add(time.Duration(s.DeliverMS) * time.Millisecond)}
	if s.Quirk == quirkException {
		last.status = exception
	}
	halfway := s.BookedAt.Add(time.Duration(s.DeliverMS/2) * time.Millisecond)
	return []milestone{{booked, s.BookedAt}, {inTransit, halfway}, last}
}

func (s shipment) status(now time.Time) string {
	status := booked
	for _, m := range s.milestones() {
		if !m.at.After(now) {
			status = m.status
		}
	}
	return status
}

// message is a webhook to be sent.
type message struct {
	milestone
	copies int
}

func (s shipment) messages() []message {
	if s.Quirk == quirkSilent {
		return nil
	}
	copies := 1
	if s.Quirk == quirkTwice {
		copies = 2
	}
	var out []message
	for _, m := range s.milestones()[1:] {
		out = append(out, message{m, copies})
	}
	return out
}
