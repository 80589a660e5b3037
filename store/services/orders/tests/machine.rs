//! The machine by exhaustion: every status, in every condition it can be in, meets every input.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use orders::machine::*;
use store_kit::Timestamp;

const NOW: i64 = 1_800_000_000_000;

fn at(policy: &Policy) -> Circumstances<'_> {
    Circumstances { now: Timestamp::from_millis(NOW), random: 1.0, policy }
}

/// Whether money must be with us, may be, or cannot be in a status.
fn payments_in(status: Status) -> &'static [PaymentState] {
    use PaymentState as P;
    match status {
        Status::Received => &[P::None],
        Status::Reserved => &[P::None, P::Pending],
        Status::AwaitingAction => &[P::RequiresAction],
        Status::AwaitingMethod => &[P::Declined],
        Status::Authorised | Status::Confirmed | Status::Packed => &[P::Authorised],
        Status::Captured
        | Status::Released
        | Status::Dispatched
        | Status::Delivered
        | Status::Completed => &[P::Captured],
        Status::CompWh | Status::CompPay => {
            &[P::None, P::Pending, P::Authorised, P::Declined, P::Captured]
        }
        Status::CompInv => &[P::None, P::Voided, P::Refunded],
        Status::Cancelled => &[P::None, P::Voided],
        Status::Refunded => &[P::Refunded],
    }
}

fn cancellable(status: Status) -> bool {
    use Status::{Authorised, AwaitingAction, AwaitingMethod, Confirmed, Received, Reserved};
    matches!(status, Received | Reserved | AwaitingAction | AwaitingMethod | Authorised | Confirmed)
}

/// Every condition that an order in `status` can be in, as far as the machine looks at it.
fn sagas(policy: &Policy) -> Vec<Saga> {
    let now = Timestamp::from_millis(NOW);
    let mut all = Vec::new();
    for &status in Status::ALL {
        for &payment in payments_in(status) {
            let undoing = matches!(
                status,
                Status::CompWh
                    | Status::CompPay
                    | Status::CompInv
                    | Status::Cancelled
                    | Status::Refunded
            );
            for bits in 0..16_u32 {
                for pay_attempt in 1..=policy.cards_max {
                    let captured =
                        payment == PaymentState::Captured || payment == PaymentState::Refunded;
                    let mut saga = Saga::received(now, policy);
                    saga.status = status;
                    saga.version = 7;
                    saga.payment = payment;
                    saga.pay_attempt = pay_attempt;
                    saga.looking = bits & 1 != 0;
                    saga.cancel_requested = bits & 2 != 0 && (cancellable(status) || undoing);
                    saga.hold_extended = bits & 4 != 0;
                    saga.attempt = if bits & 8 != 0 { 9 } else { 0 };
                    saga.capture_id = captured.then(|| "cap_1".to_owned());
                    saga.reason = undoing.then_some(Reason::ShortPick);
                    saga.deadline = policy.deadline(status, now);
                    saga.next_run_at = (!status.is_final()).then_some(now);
                    all.push(saga.clone());
                    if saga.deadline.is_some() {
                        saga.deadline = Some(now);
                        all.push(saga);
                    }
                }
            }
        }
    }
    all
}

fn payments() -> Vec<Payment> {
    let mut all = Vec::new();
    for &state in MoneyState::ALL {
        for attempt in 0..=4 {
            for known in [true, false] {
                let text = |text: &str| known.then(|| text.to_owned());
                all.push(Payment {
                    attempt,
                    state,
                    capture_id: text("cap_1"),
                    action_url: text("/psp/3ds/1"),
                });
            }
        }
    }
    all
}

fn fulfilments() -> Vec<Fulfilment> {
    let parcel = |&state: &ParcelState| {
        [Some("T1".to_owned()), None].map(|tracking| Fulfilment { state, tracking })
    };
    ParcelState::ALL.iter().flat_map(parcel).collect()
}

const CODES: [&str; 10] = [
    "out-of-stock",
    "payment-declined",
    "order-tombstoned",
    "not-packed",
    "too-late",
    "too-late-to-cancel",
    "capture-failed",
    "already-captured",
    "validation",
    "",
];

fn answers() -> Vec<Answer> {
    let mut all =
        vec![Answer::Done, Answer::Silent(None), Answer::Silent(Some(Duration::from_secs(3)))];
    all.extend(payments().into_iter().map(Answer::Payment));
    all.extend(fulfilments().into_iter().map(Answer::Fulfilment));
    all.extend(CODES.iter().map(|code| Answer::Refused((*code).to_owned())));
    all
}

fn facts() -> Vec<Input> {
    let mut all: Vec<Input> = payments().into_iter().map(Input::PaymentFact).collect();
    all.extend(fulfilments().into_iter().map(Input::FulfilmentFact));
    all.push(Input::CaptureFailed);
    all
}

fn others() -> Vec<Input> {
    vec![Input::Due, Input::Cancel, Input::NewMethod, Input::RetryNow]
}

/// What must hold of any step from a state that can be.
fn check(before: &Saga, input: &Input, after: &Step) {
    let context = || format!("{before:#?}\nmet {input:?}\nand became {after:#?}");
    let (saga, now) = (&after.saga, Timestamp::from_millis(NOW));

    let mut from = before.status;
    for made in &after.moves {
        assert_eq!(made.from, from, "moves connect: {}", context());
        assert!(ALLOWED.contains(&(made.from, made.to)), "not in the table: {}", context());
        from = made.to;
    }
    assert_eq!(saga.status, from, "{}", context());
    assert_eq!(saga.version as usize, before.version as usize + after.moves.len(), "{}", context());

    if before.status.is_final() {
        assert!(
            after.moves.is_empty() && after.effects.is_empty() && after.call.is_none(),
            "{}",
            context()
        );
        assert!(saga.next_run_at.is_none() || saga == before, "{}", context());
        return;
    }
    if matches!(after.verdict, Verdict::NotYet(_) | Verdict::TooLate | Verdict::Impossible(_)) {
        assert_eq!(
            (saga, after.moves.len(), after.effects.len()),
            (before, 0, 0),
            "refused means untouched: {}",
            context()
        );
    }
    assert_eq!(
        saga.next_run_at.is_none(),
        saga.status.is_final(),
        "a live order is always due some day: {}",
        context()
    );
    if let (Some(next), Some(deadline)) = (saga.next_run_at, saga.deadline) {
        assert!(next <= deadline.max(now), "due before its deadline: {}", context());
    }

    let paid = saga.payment == PaymentState::Captured;
    let needs_money = [
        Status::Captured,
        Status::Released,
        Status::Dispatched,
        Status::Delivered,
        Status::Completed,
    ];
    if needs_money.contains(&saga.status) {
        assert!(paid && saga.capture_id.is_some(), "nothing leaves unpaid: {}", context());
    }
    let undone = matches!(
        saga.status,
        Status::CompWh | Status::CompPay | Status::CompInv | Status::Cancelled | Status::Refunded
    );
    assert_eq!(
        saga.reason.is_some(),
        undone,
        "undone exactly when there is a reason: {}",
        context()
    );
    for made in &after.moves {
        let effect = match made.to {
            Status::Confirmed => Effect::Confirmed,
            Status::AwaitingAction => Effect::AuthenticationNeeded,
            Status::AwaitingMethod => Effect::NewCardNeeded,
            Status::Dispatched => Effect::Dispatched,
            Status::Delivered => Effect::Delivered,
            Status::Completed => Effect::Completed,
            Status::Cancelled | Status::Refunded => Effect::Cancelled,
            _ => continue,
        };
        assert_eq!(
            after.effects.iter().filter(|e| **e == effect).count(),
            1,
            "{effect:?}: {}",
            context()
        );
    }
    let refunded =
        saga.payment == PaymentState::Refunded && before.payment != PaymentState::Refunded;
    assert_eq!(after.effects.contains(&Effect::Refunded), refunded, "{}", context());
    assert!(after.effects.len() <= after.moves.len(), "no word without a deed: {}", context());
    let called_off = before.cancel_requested && cancellable(before.status);
    if called_off && matches!(input, Input::Due | Input::Reply(..)) {
        assert_eq!(
            saga.status,
            Status::CompWh,
            "a granted wish is honoured at the next step: {}",
            context()
        );
    }
}

#[test]
fn whatever_comes_the_rules_hold() {
    let policy = Policy::default();
    let (sagas, facts, others, answers) = (sagas(&policy), facts(), others(), answers());
    let mut reached = BTreeSet::new();
    let mut met = 0_u64;
    for saga in &sagas {
        let mut meet = |input: Input| {
            let after = step(saga, &input, at(&policy));
            check(saga, &input, &after);
            reached.extend(after.moves.iter().map(|m| (m.from, m.to)));
            met += 1;
            after
        };
        for input in facts.iter().chain(&others) {
            meet(input.clone());
        }
        // Any answer, also one that its callee should never give.
        let Some(action) = meet(Input::Due).call else { continue };
        for answer in &answers {
            let input = Input::Reply(action, answer.clone());
            let after = meet(input.clone());
            let told_nothing = after.moves.is_empty() && after.saga.payment == saga.payment;
            if told_nothing && after.saga.next_run_at <= Some(at(&policy).now) {
                assert!(
                    after.saga.attempt > saga.attempt && after.saga.attempt < policy.quick_tries,
                    "no answer makes it ask for ever without a pause: {saga:#?} {input:?} {after:#?}"
                );
            }
        }
    }
    let missing: Vec<_> = ALLOWED.iter().filter(|pair| !reached.contains(pair)).collect();
    assert!(missing.is_empty(), "in the table, but nothing leads there: {missing:?}");
    println!("{} conditions met {met} inputs", sagas.len());
}

#[test]
fn the_same_fact_again_changes_nothing() {
    let policy = Policy::default();
    for saga in sagas(&policy) {
        for fact in facts() {
            let once = step(&saga, &fact, at(&policy));
            let twice = step(&once.saga, &fact, at(&policy));
            assert!(
                twice.moves.is_empty() && twice.effects.is_empty(),
                "{saga:#?} {fact:?} {twice:#?}"
            );
        }
    }
}

/// One order, led by hand.
struct Order {
    saga: Saga,
    policy: Policy,
    effects: Vec<Effect>,
    now: Timestamp,
}

impl Order {
    fn new() -> Self {
        let (policy, now) = (Policy::default(), Timestamp::from_millis(NOW));
        Self { saga: Saga::received(now, &policy), policy, effects: Vec::new(), now }
    }

    fn meet(&mut self, input: Input) -> Step {
        let after = step(
            &self.saga,
            &input,
            Circumstances { now: self.now, random: 1.0, policy: &self.policy },
        );
        self.saga = after.saga.clone();
        self.effects.extend(&after.effects);
        after
    }

    /// Waits until it is due, expects it to ask for `action`, and answers.
    fn answer(&mut self, action: Action, answer: Answer) -> Status {
        self.now = self.now.max(self.saga.next_run_at.unwrap());
        assert_eq!(self.meet(Input::Due).call, Some(action), "{:#?}", self.saga);
        self.meet(Input::Reply(action, answer));
        self.saga.status
    }

    fn paid(&self, state: MoneyState) -> Payment {
        let capture_id = (state == MoneyState::Captured).then(|| "cap_1".to_owned());
        Payment {
            attempt: self.saga.pay_attempt,
            state,
            capture_id,
            action_url: Some("/3ds".into()),
        }
    }

    fn money(&self, state: MoneyState) -> Answer {
        Answer::Payment(self.paid(state))
    }
}

fn parcel(state: ParcelState) -> Fulfilment {
    Fulfilment { state, tracking: Some("T1".into()) }
}

fn confirmed() -> Order {
    let mut order = Order::new();
    assert_eq!(order.answer(Action::Reserve, Answer::Done), Status::Reserved);
    let money = order.money(MoneyState::Authorised);
    assert_eq!(order.answer(Action::Authorise { attempt: 1 }, money), Status::Authorised);
    assert_eq!(order.answer(Action::Confirm, Answer::Done), Status::Confirmed);
    order
}

fn captured() -> Order {
    let mut order = confirmed();
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Packed)));
    assert_eq!(order.saga.status, Status::Packed);
    let money = order.money(MoneyState::Captured);
    assert_eq!(order.answer(Action::Capture, money), Status::Captured);
    order
}

#[test]
fn a_good_day() {
    let mut order = captured();
    let gone = Answer::Fulfilment(parcel(ParcelState::Dispatched));
    assert_eq!(order.answer(Action::Release { generation: 1 }, gone), Status::Dispatched);
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Delivered)));
    assert_eq!(order.saga.status, Status::Delivered);
    order.meet(Input::Due);
    assert_eq!((order.saga.status, order.saga.next_run_at), (Status::Completed, None));
    assert_eq!(
        order.effects,
        [Effect::Confirmed, Effect::Dispatched, Effect::Delivered, Effect::Completed]
    );
    assert_eq!(order.saga.version, 10, "ten statuses, one after the other");
    assert_eq!(order.saga.tracking.as_deref(), Some("T1"));
}

#[test]
fn silence_is_met_with_three_quick_tries_and_then_patience_until_the_deadline() {
    let mut order = Order::new();
    let mut waits = Vec::new();
    while order.saga.status == Status::Received {
        let before = order.now;
        if order.meet(Input::Due).call.is_some() {
            order.meet(Input::Reply(Action::Reserve, Answer::Silent(None)));
            order.now = order.saga.next_run_at.unwrap();
            waits.push(order.now.since(before).as_millis());
        }
    }
    assert_eq!(waits[..10], [0, 0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    assert_eq!(
        (order.saga.status, order.saga.reason),
        (Status::CompWh, Some(Reason::InventoryUnavailable))
    );
    let waited = order.now.since(Timestamp::from_millis(NOW));
    assert_eq!(waited, order.policy.reserve_max, "given up at the deadline, not after it");
}

#[test]
fn out_of_stock_only_gives_the_promise_back() {
    let mut order = Order::new();
    assert_eq!(
        order.answer(Action::Reserve, Answer::Refused("out-of-stock".into())),
        Status::CompInv
    );
    assert_eq!(order.answer(Action::FreeStock, Answer::Done), Status::Cancelled);
    assert_eq!(
        (order.effects.as_slice(), order.saga.reason),
        ([Effect::Cancelled].as_slice(), Some(Reason::OutOfStock))
    );
}

#[test]
fn three_cards_and_no_more() {
    let mut order = Order::new();
    order.answer(Action::Reserve, Answer::Done);
    for attempt in 1..=2 {
        let declined = Answer::Refused("payment-declined".into());
        assert_eq!(order.answer(Action::Authorise { attempt }, declined), Status::AwaitingMethod);
        if attempt == 1 {
            order.answer(Action::ExtendHold, Answer::Done);
        }
        assert_eq!(order.meet(Input::NewMethod).verdict, Verdict::Taken);
        assert_eq!(order.saga.status, Status::Reserved);
    }
    let declined = Answer::Refused("payment-declined".into());
    assert_eq!(order.answer(Action::Authorise { attempt: 3 }, declined), Status::CompWh);
    assert_eq!(order.saga.reason, Some(Reason::PaymentDeclined));
    assert_eq!(order.effects, [Effect::NewCardNeeded, Effect::NewCardNeeded]);
}

#[test]
fn a_customer_who_does_not_come_back_frees_the_goods() {
    let mut order = Order::new();
    order.answer(Action::Reserve, Answer::Done);
    let ask = order.money(MoneyState::RequiresAction);
    assert_eq!(order.answer(Action::Authorise { attempt: 1 }, ask), Status::AwaitingAction);
    assert_eq!(order.saga.action_url.as_deref(), Some("/3ds"));
    while order.saga.status == Status::AwaitingAction {
        order.now = order.saga.next_run_at.unwrap();
        if order.meet(Input::Due).call == Some(Action::LookAtPayment) {
            let still = order.money(MoneyState::RequiresAction);
            order.meet(Input::Reply(Action::LookAtPayment, still));
        }
    }
    assert_eq!(
        (order.saga.status, order.saga.reason),
        (Status::CompWh, Some(Reason::PaymentTimeout))
    );
    assert_eq!(order.now.since(Timestamp::from_millis(NOW)), order.policy.customer_max);
    // The late word of the bank finds the order being undone.
    let late = order.paid(MoneyState::Authorised);
    assert_eq!(order.meet(Input::PaymentFact(late)).moves, []);
}

#[test]
fn undoing_goes_warehouse_money_stock() {
    let mut order = confirmed();
    assert_eq!(order.meet(Input::Cancel).verdict, Verdict::Taken);
    order.meet(Input::Due);
    let cancelled = Answer::Fulfilment(parcel(ParcelState::Cancelled));
    assert_eq!(
        order.answer(Action::CancelFulfilment { generation: 1 }, cancelled),
        Status::CompPay
    );
    let void = order.money(MoneyState::Voided);
    assert_eq!(order.answer(Action::Void, void), Status::CompInv);
    assert_eq!(order.answer(Action::FreeStock, Answer::Done), Status::Cancelled);
    assert_eq!(order.effects, [Effect::Confirmed, Effect::Cancelled]);
}

#[test]
fn money_that_was_taken_is_returned() {
    let mut order = captured();
    let refused = Answer::Refused("too-late".into());
    assert_eq!(order.answer(Action::Release { generation: 1 }, refused), Status::CompWh);
    let cancelled = Answer::Fulfilment(parcel(ParcelState::Cancelled));
    order.answer(Action::CancelFulfilment { generation: 1 }, cancelled);
    let going_on = order.money(MoneyState::Captured);
    assert_eq!(order.answer(Action::Refund, going_on), Status::CompPay);
    let back = order.money(MoneyState::Refunded);
    assert_eq!(order.answer(Action::LookAtPayment, back), Status::CompInv);
    assert_eq!(order.answer(Action::FreeStock, Answer::Done), Status::Refunded);
    assert_eq!(order.effects, [Effect::Confirmed, Effect::Refunded, Effect::Cancelled]);
}

#[test]
fn a_lost_capture_is_found_when_undoing() {
    let mut order = confirmed();
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Packed)));
    order.answer(Action::Capture, Answer::Refused("capture-failed".into()));
    order.answer(
        Action::CancelFulfilment { generation: 1 },
        Answer::Fulfilment(parcel(ParcelState::Cancelled)),
    );
    assert_eq!(
        order.answer(Action::Void, Answer::Refused("already-captured".into())),
        Status::CompPay
    );
    let back = order.money(MoneyState::Refunded);
    assert_eq!(order.answer(Action::Refund, back), Status::CompInv);
}

#[test]
fn goods_that_are_leaving_cannot_be_called_back() {
    let mut order = captured();
    order.answer(Action::Release { generation: 1 }, Answer::Refused("too-late".into()));
    let late = Answer::Refused("too-late-to-cancel".into());
    assert_eq!(order.answer(Action::CancelFulfilment { generation: 1 }, late), Status::Captured);
    assert_eq!(order.saga.reason, None);
    let gone = Answer::Fulfilment(parcel(ParcelState::Dispatched));
    assert_eq!(order.answer(Action::Release { generation: 2 }, gone), Status::Dispatched);

    // Or the event says so first.
    let mut order = captured();
    order.answer(Action::Release { generation: 1 }, Answer::Refused("too-late".into()));
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Dispatched)));
    assert_eq!((order.saga.status, order.saga.reason), (Status::Dispatched, None));
}

#[test]
fn facts_out_of_order_wait_for_their_turn() {
    let mut order = Order::new();
    for state in [ParcelState::Packed, ParcelState::Dispatched, ParcelState::Delivered] {
        assert!(matches!(
            order.meet(Input::FulfilmentFact(parcel(state))).verdict,
            Verdict::NotYet(_)
        ));
    }
    let captured_early = order.paid(MoneyState::Captured);
    assert!(matches!(order.meet(Input::PaymentFact(captured_early)).verdict, Verdict::NotYet(_)));
    let mut order = captured();
    assert!(matches!(
        order.meet(Input::FulfilmentFact(parcel(ParcelState::Delivered))).verdict,
        Verdict::NotYet(_)
    ));
    // The event overtakes the reply to the release.
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Dispatched)));
    assert_eq!(order.saga.status, Status::Dispatched);
}

#[test]
fn a_refusal_about_the_moment_is_asked_again_under_a_new_key() {
    let mut order = captured();
    order.answer(Action::Release { generation: 1 }, Answer::Refused("not-packed".into()));
    let gone = Answer::Fulfilment(parcel(ParcelState::Dispatched));
    assert_eq!(order.answer(Action::Release { generation: 2 }, gone), Status::Dispatched);
    assert_eq!(Action::Release { generation: 2 }.key("ord_x").unwrap(), "ord_x:release:2");
    assert_eq!(Action::Reserve.key("ord_x").unwrap(), "ord_x:reserve:1");
    assert_eq!(Action::Authorise { attempt: 3 }.key("ord_x").unwrap(), "ord_x:auth:3");
    assert_eq!(Action::Capture.key("ord_x").unwrap(), "ord_x:capture:1");
}

#[test]
fn a_packed_order_can_no_longer_be_called_off() {
    let mut order = confirmed();
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Packed)));
    assert_eq!(order.meet(Input::Cancel).verdict, Verdict::TooLate);
    // But a wish that was granted before the goods were packed is kept.
    let mut order = confirmed();
    order.meet(Input::Cancel);
    order.meet(Input::FulfilmentFact(parcel(ParcelState::Packed)));
    assert_eq!(
        (order.saga.status, order.saga.reason),
        (Status::CompWh, Some(Reason::CancelledByCustomer))
    );
}
