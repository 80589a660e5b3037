package domain

import (
	"fmt"
	"math/rand"
	"testing"
)

// Whatever people, robots, carriers and sagas do in whatever order: nothing
// leaves without a capture, nothing that was cancelled leaves, and a parcel
// never changes the payment that let it go.
func TestNoOrderOfActionsLetsAParcelGoUnpaid(t *testing.T) {
	for seed := int64(0); seed < 2000; seed++ {
		random := rand.New(rand.NewSource(seed))
		f, cancelled, story := Fulfilment{State: New}, false, ""
		for step := 0; step < 12; step++ {
			was := f
			story += fmt.Sprintf(" %s", act(random, &f))
			cancelled = cancelled || f.State == Cancelled
			left := f.State == Dispatched || f.State == Delivered
			switch {
			case left && f.CaptureID == "":
				t.Fatalf("seed %d: left unpaid after%s", seed, story)
			case left && cancelled:
				t.Fatalf("seed %d: left after a cancel:%s", seed, story)
			case was.CaptureID != "" && was.CaptureID != f.CaptureID:
				t.Fatalf("seed %d: paid by another capture:%s", seed, story)
			case was.State == Delivered && f.State != Delivered:
				t.Fatalf("seed %d: came back:%s", seed, story)
			}
		}
	}
}

func act(random *rand.Rand, f *Fulfilment) string {
	become := func(name string, v Verdict, to State) string {
		if v == Do {
			f.State = to
		}
		return name
	}
	switch random.Intn(7) {
	case 0:
		return become("pick", Pick(*f), Picking)
	case 1:
		return become("pack", Pack(*f), Packed)
	case 2:
		return become("short", GoShort(*f), Short)
	case 3:
		return become("cancel", Cancel(*f), Cancelled)
	case 4: // the first half of a release, whose second half may never come
		capture := fmt.Sprint("cap_", random.Intn(2))
		if Release(*f, capture) == Do {
			f.CaptureID = capture
		}
		return "begin " + capture
	case 5:
		return become("end", Release(*f, f.CaptureID), stateAfter(*f))
	default:
		return become("arrived", Heard(*f, Arrived), Delivered)
	}
}

// stateAfter a release ended; the program only ends releases it began.
func stateAfter(f Fulfilment) State {
	if f.CaptureID == "" {
		return f.State
	}
	return Dispatched
}

func TestPricesGrowWithWeightAndSplitIntoParcels(t *testing.T) {
	for country := range zones {
		before := []int64{0, 0}
		for grams := int64(0); grams <= 95_000; grams += 250 {
			options, err := Quote(country, grams)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range options {
				if o.Amount.AmountMinor < before[i] || o.Amount.AmountMinor <= 0 {
					t.Errorf("%s %s: %d g costs %d, less than lighter ones", country, o.ID, grams, o.Amount.AmountMinor)
				}
				before[i] = o.Amount.AmountMinor
			}
			if options[0].Amount.AmountMinor >= options[1].Amount.AmountMinor {
				t.Errorf("%s: standard is not the cheaper one at %d g", country, grams)
			}
		}
	}
	check := func(grams, want int64) {
		t.Helper()
		options, _ := Quote("FR", grams)
		if got := options[0].Amount.AmountMinor; got != want {
			t.Errorf("%d g to FR: expected %d, got %d", grams, want, got)
		}
	}
	check(0, 490)
	check(1000, 490)
	check(1001, 570)
	check(30_000, 490+29*80)
	check(30_001, 490+29*80+490)
}
