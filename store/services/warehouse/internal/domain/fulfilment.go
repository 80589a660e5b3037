// Package domain decides; it never reads a clock, a file or the network.
package domain

// State of a fulfilment.
type State string

// The way of a parcel: New, Picking, Packed, Dispatched, Delivered. Short and
// Cancelled leave it on the side, before anything has left the house.
const (
	New        State = "NEW"
	Picking    State = "PICKING"
	Packed     State = "PACKED"
	Short      State = "SHORT"
	Cancelled  State = "CANCELLED"
	Dispatched State = "DISPATCHED"
	Delivered  State = "DELIVERED"
)

// States in the order of the way, for checks of input.
var States = []State{New, Picking, Packed, Short, Cancelled, Dispatched, Delivered}

// Known says whether a word is a state.
func Known(s State) bool {
	for _, k := range States {
		if k == s {
			return true
		}
	}
	return false
}

// Line is one article of a parcel.
type Line struct {
	SKU     string `json:"sku"`
	Qty     int64  `json:"qty"`
	Title   string `json:"title"`
	WeightG int64  `json:"weight_g"`
}

// Fulfilment is the work on one order.
type Fulfilment struct {
	OrderID        string
	CustomerID     string
	State          State
	CaptureID      string // the payment that lets it go; set when a release begins
	Tracking       string
	Carrier        string
	ShippingOption string
	WeightG        int64
	Excepted       bool
	Traceparent    string
	CreatedAt      string
	UpdatedAt      string
	Lines          []Line
}

// Verdict on an action.
type Verdict int

// Do: make the change. Already: it has been made, answer the same, change
// nothing. The others refuse.
const (
	Do Verdict = iota
	Already
	NotPacked    // not ready to leave
	TooLate      // past the point where this could be done
	WrongState   // this step is not next
	OtherCapture // a release of this order quoted another payment
	NotYet       // an earlier fact is missing; come again
)

// Pick takes the articles from the shelves.
func Pick(f Fulfilment) Verdict {
	switch f.State {
	case New:
		return Do
	case Picking:
		return Already
	default:
		return WrongState
	}
}

// Pack closes the parcel.
func Pack(f Fulfilment) Verdict {
	switch f.State {
	case Picking:
		return Do
	case Packed:
		return Already
	default:
		return WrongState
	}
}

// GoShort reports that an article cannot be found.
func GoShort(f Fulfilment) Verdict {
	switch f.State {
	case New, Picking:
		return Do
	case Short:
		return Already
	default:
		return WrongState
	}
}

// Cancel stops the work. Once a release has begun the carrier may already hold
// the parcel, whether or not its answer reached us: then it is too late.
func Cancel(f Fulfilment) Verdict {
	switch f.State {
	case New, Picking, Short:
		return Do
	case Packed:
		if f.CaptureID != "" {
			return TooLate
		}
		return Do
	case Cancelled:
		return Already
	default:
		return TooLate
	}
}

// Release lets a packed parcel go, against a captured payment.
func Release(f Fulfilment, captureID string) Verdict {
	switch f.State {
	case Cancelled:
		return TooLate
	case Packed, Dispatched, Delivered:
		if f.CaptureID != "" && f.CaptureID != captureID {
			return OtherCapture
		}
		if f.State == Packed {
			return Do
		}
		return Already
	default:
		return NotPacked
	}
}

// CarrierStatus is what the carrier says of a parcel.
type CarrierStatus string

// The carrier's words.
const (
	Booked    CarrierStatus = "booked"
	InTransit CarrierStatus = "in_transit"
	Arrived   CarrierStatus = "delivered"
	Exception CarrierStatus = "exception"
)

// KnownStatus says whether a word is one of the carrier's.
func KnownStatus(s CarrierStatus) bool {
	return s == Booked || s == InTransit || s == Arrived || s == Exception
}

// Heard applies the carrier's word. Do means a change: Delivered for Arrived,
// Excepted for Exception. Words that add nothing are Already.
func Heard(f Fulfilment, s CarrierStatus) Verdict {
	switch {
	case f.State == Delivered:
		return Already
	case f.State != Dispatched:
		return NotYet
	case s == Arrived:
		return Do
	case s == Exception && !f.Excepted:
		return Do
	default:
		return Already
	}
}
