package domain

import "fmt"

// Money in minor units.
type Money struct {
	AmountMinor int64  `json:"amount_minor"`
	Currency    string `json:"currency"`
}

// Option is one way to send a parcel.
type Option struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Amount  Money  `json:"amount"`
	DaysMin int    `json:"days_min"`
	DaysMax int    `json:"days_max"`
}

const (
	gramsPerStep   = 1_000
	gramsPerParcel = 30_000
	// WeightMaxG is the most that is quoted: beyond it freight is agreed by hand.
	WeightMaxG = 1_000_000
)

type rate struct {
	label            string
	parcelMinor      int64 // each parcel of up to 30 kg, its first kilogram included
	kilogramMinor    int64 // each further kilogram begun
	daysMin, daysMax int
}

type zone struct{ standard, express rate }

var zones = map[string]zone{
	"FR": {rate{"Standard delivery", 490, 80, 2, 4}, rate{"Express delivery", 990, 150, 1, 1}},
	"DE": {rate{"Standard delivery", 590, 90, 2, 5}, rate{"Express delivery", 1290, 180, 1, 2}},
	"GB": {rate{"Standard delivery", 890, 140, 3, 6}, rate{"Express delivery", 1790, 260, 1, 3}},
	"US": {rate{"Standard delivery", 1490, 390, 6, 12}, rate{"Express delivery", 2990, 690, 2, 4}},
}

// Quote prices the ways to send a weight to a country.
func Quote(country string, weightG int64) ([]Option, error) {
	z, ok := zones[country]
	if !ok {
		return nil, fmt.Errorf("the warehouse sends to FR, DE, GB and US")
	}
	return []Option{z.standard.option("standard", weightG), z.express.option("express", weightG)}, nil
}

func (r rate) option(id string, weightG int64) Option {
	amount := r.price(weightG)
	return Option{ID: id, Label: r.label, Amount: Money{amount, "EUR"}, DaysMin: r.daysMin, DaysMax: r.daysMax}
}

// price fills parcels one after the other: all full but the last.
func (r rate) price(weightG int64) int64 {
	full, rest := weightG/gramsPerParcel, weightG%gramsPerParcel
	total := full * r.parcel(gramsPerParcel)
	if rest > 0 || full == 0 {
		total += r.parcel(rest)
	}
	return total
}

func (r rate) parcel(grams int64) int64 {
	steps := (grams + gramsPerStep - 1) / gramsPerStep
	return r.parcelMinor + max(steps-1, 0)*r.kilogramMinor
}
