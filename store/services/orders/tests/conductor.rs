//! One order under way, without an engine: every happening in any order, twice, late or never,
//! and the same again as a replay would have it.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::time::Duration;

use orders::conductor::{Conductor, Signal, Work};
use orders::machine::*;
use store_kit::Timestamp;

const T0: i64 = 1_800_000_000_000;

fn taken() -> Conductor {
    let policy = Policy::default();
    let saga = Saga::received(Timestamp::from_millis(T0), &policy);
    Conductor::new("ord_1".to_owned(), saga, 0, policy)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(T0 + ms)
}

fn names(work: &[Work]) -> Vec<&'static str> {
    work.iter().map(|work| work.action.map_or("record", Action::name)).collect()
}

/// What the database holds of an order.
#[derive(Debug, Default, PartialEq)]
struct Row {
    revision: u32,
    version: u32,
    statuses: Vec<Status>,
    effects: Vec<Effect>,
}

impl Row {
    fn new() -> Self {
        Self { version: 1, statuses: vec![Status::Received], ..Self::default() }
    }

    /// As the service records: a revision once, transitions without a gap.
    fn record(&mut self, work: &Work) {
        if work.revision <= self.revision {
            return;
        }
        let known = self.version;
        for entry in work.entries.iter().filter(|entry| entry.version > known) {
            assert_eq!(entry.version, self.version + 1, "a gap in the log");
            assert_eq!(Some(&entry.from), self.statuses.last());
            self.version += 1;
            self.statuses.push(entry.to);
            self.effects.extend(&entry.effects);
        }
        assert_eq!(
            (self.version, self.statuses.last()),
            (work.saga.version, Some(&work.saga.status))
        );
        self.revision = work.revision;
    }
}

fn payment(state: MoneyState) -> Payment {
    Payment { attempt: 1, state, capture_id: Some("cap_1".to_owned()), action_url: None }
}

fn parcel(state: ParcelState) -> Fulfilment {
    Fulfilment { state, tracking: Some("T1".to_owned()) }
}

/// How everybody answers on a good day.
fn good(action: Action) -> Answer {
    match action {
        Action::Reserve | Action::ExtendHold | Action::Confirm | Action::FreeStock => Answer::Done,
        Action::Authorise { .. } | Action::LookAtPayment => {
            Answer::Payment(payment(MoneyState::Authorised))
        }
        Action::Capture => Answer::Payment(payment(MoneyState::Captured)),
        Action::Void => Answer::Payment(payment(MoneyState::Voided)),
        Action::Refund => Answer::Payment(payment(MoneyState::Refunded)),
        Action::LookAtFulfilment => Answer::Fulfilment(parcel(ParcelState::Picking)),
        Action::Release { .. } => Answer::Fulfilment(parcel(ParcelState::Dispatched)),
        Action::CancelFulfilment { .. } => Answer::Fulfilment(parcel(ParcelState::Cancelled)),
    }
}

#[test]
fn a_good_day_reads_like_the_table_of_the_saga() {
    let (mut order, mut row, mut history) = (taken(), Row::new(), Vec::new());
    let facts = [ParcelState::New, ParcelState::Packed, ParcelState::Delivered];
    let mut facts = (1..).zip(facts.map(parcel).map(Input::FulfilmentFact));
    while !order.is_done() {
        let work = order.next(at(0));
        history.extend(names(&work));
        if work.is_empty() {
            let (seq, input) = facts.next().expect("the order waits for what nobody will say");
            order.hear(&Signal { seq, input }, at(0));
        }
        for work in work {
            row.record(&work);
            match work.action {
                Some(action) => order.answered(Some(good(action)), at(0)),
                None => order.recording_ended(true, at(0)),
            }
        }
    }
    let table = [
        "reserve",
        "authorise",
        "confirm",
        "record",
        "record",
        "capture",
        "release",
        "record",
        "record",
    ];
    assert_eq!(history, table);
    assert_eq!(row.statuses.last(), Some(&Status::Completed));
    use Effect::*;
    assert_eq!(row.effects, [Confirmed, Dispatched, Delivered, Completed]);
}

#[test]
fn what_is_asked_is_recorded_before_and_what_is_waited_for_too() {
    let (mut order, mut row) = (taken(), Row::new());
    for expected in [Status::Received, Status::Reserved, Status::Authorised] {
        let work = order.next(at(0));
        row.record(&work[0]);
        assert_eq!((work.len(), *row.statuses.last().unwrap()), (1, expected));
        order.answered(Some(good(work[0].action.unwrap())), at(0));
    }
    // Nothing to ask, but the warehouse hears of the order only by the record.
    assert_eq!(names(&order.next(at(0))), ["record"]);
    assert_eq!(order.wake_at(), Some(at(30_000)), "and looks by itself, in case it hears nothing");
}

#[test]
fn a_number_is_heard_once_and_an_early_fact_when_its_time_has_come() {
    let mut order = taken();
    let packed = Signal { seq: 5, input: Input::FulfilmentFact(parcel(ParcelState::Packed)) };
    let asked = order.next(at(0));
    order.hear(&packed, at(0));
    order.hear(&Signal { seq: 4, input: Input::Cancel }, at(0));
    assert!(!order.saga().cancel_requested, "an older number comes again, and is not heard");
    order.answered(Some(good(asked[0].action.unwrap())), at(0));
    for _ in 0..2 {
        let work = order.next(at(0));
        order.answered(Some(good(work[0].action.unwrap())), at(0));
    }
    assert_eq!(order.saga().status, Status::Packed);
    assert_eq!(names(&order.next(at(0))), ["capture"]);
}

#[test]
fn a_wish_is_recorded_at_once_and_honoured_when_the_request_under_way_has_ended() {
    let mut order = taken();
    assert_eq!(names(&order.next(at(0))), ["reserve"]);
    order.hear(&Signal { seq: 1, input: Input::Cancel }, at(0));
    let work = order.next(at(0));
    assert_eq!(names(&work), ["record"]);
    assert!(work[0].saga.cancel_requested);
    order.recording_ended(true, at(0));
    assert!(order.next(at(0)).is_empty());
    order.answered(Some(Answer::Done), at(0));
    assert_eq!(names(&order.next(at(0))), ["cancel-fulfilment"]);
}

#[test]
fn silence_is_an_answer_and_a_record_that_failed_is_made_again() {
    let mut order = taken();
    for _ in 0..3 {
        assert_eq!(names(&order.next(at(0))), ["reserve"]);
        order.answered(None, at(0));
    }
    let wait = order.wake_at().unwrap().since(at(0));
    assert!(order.next(at(0)).is_empty() && wait <= Duration::from_millis(500), "{wait:?}");
    let again = at(0) + wait;
    for _ in 0..3 {
        let work = order.next(again);
        order.answered(Some(good(work[0].action.unwrap())), again);
    }
    assert_eq!(names(&order.next(again)), ["record"]);
    order.recording_ended(false, again);
    let later = order.wake_at().unwrap();
    assert!(later > again && order.next(again).is_empty());
    assert_eq!(names(&order.next(later)), ["record"]);
}

/// Draws numbers by a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

/// One order through a bad world. With `carried`, it is written down and taken up from there
/// whenever nothing is under way: that is how a workflow begins a new history.
fn bad_day(seed: u64, carried: bool) -> (Row, Conductor) {
    let mut dice = Dice(seed);
    let (mut order, mut row, mut now, mut seq) = (taken(), Row::new(), 0_i64, 0);
    let (mut under_way, mut old): (Vec<Work>, Vec<Work>) = (Vec::new(), Vec::new());
    for _ in 0..5_000 {
        if order.is_done() {
            return (row, order);
        }
        if carried && order.is_idle() {
            order = serde_json::from_str(&serde_json::to_string(&order).unwrap()).unwrap();
        }
        under_way.extend(order.next(at(now)));
        assert!(under_way.iter().filter(|work| work.action.is_some()).count() <= 1);
        match dice.roll(8) {
            0..=3 if !under_way.is_empty() => {
                let work = under_way.swap_remove(dice.roll(under_way.len() as u64) as usize);
                let lost = dice.roll(6) == 0;
                if !lost || dice.roll(2) == 0 {
                    row.record(&work);
                }
                match work.action {
                    Some(_) if lost => order.answered(None, at(now)),
                    Some(_) if dice.roll(6) == 0 => {
                        order.answered(Some(Answer::Silent(None)), at(now));
                    }
                    Some(action) => order.answered(Some(good(action)), at(now)),
                    None => order.recording_ended(!lost, at(now)),
                }
                old.push(work);
            }
            // An engine that lost the answer has it done again, however late.
            4 if !old.is_empty() => row.record(&old[dice.roll(old.len() as u64) as usize]),
            5 => {
                seq += 1;
                let states = [ParcelState::New, ParcelState::Packed, ParcelState::Delivered];
                let input = match dice.roll(40) {
                    0 => Input::Cancel,
                    1 => Input::RetryNow,
                    n => Input::FulfilmentFact(parcel(states[n as usize % 3])),
                };
                let signal = Signal { seq, input };
                order.hear(&signal, at(now));
                order.hear(&signal, at(now));
            }
            _ => {
                let wake = order.wake_at().map_or(now, |wake| wake.millis() - T0);
                now = if under_way.is_empty() { now.max(wake) } else { now + 1 };
            }
        }
    }
    panic!("seed {seed}: the order does not end: {order:?}");
}

#[test]
fn in_a_bad_world_the_record_is_whole_and_a_new_history_goes_on_like_the_old_one() {
    for seed in 0..200 {
        let (row, order) = bad_day(seed, false);
        assert_eq!(row.statuses.last(), Some(&order.saga().status), "seed {seed}");
        let ends =
            row.effects.iter().filter(|e| matches!(e, Effect::Completed | Effect::Cancelled));
        assert_eq!(ends.count(), 1, "seed {seed}: told once how it ended");
        let path = row.statuses.windows(2).all(|two| ALLOWED.contains(&(two[0], two[1])));
        assert!(path, "seed {seed}: {:?}", row.statuses);
        assert_eq!(bad_day(seed, true), (row, order), "seed {seed}");
    }
}
