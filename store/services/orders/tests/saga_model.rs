//! The machine in a world that loses requests and replies, delays them past the caller's
//! patience, doubles and reorders everything, declines cards, picks short, and kills orders at
//! any moment: by seed, in virtual time.
//!
//! The other services are as simple as their contract allows and follow its rules; each rule can
//! be switched off. Without one of them some invariant must break: that is the proof that these
//! checks can see.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use orders::machine::*;
use store_kit::Timestamp;

/// A rule of the contract that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    SameKeyOnEachTry,
    InboxDedupe,
    Tombstones,
    ReserveAgainstFree,
    ConfirmBeforePromise,
    ReleaseGate,
}

#[derive(Debug, Clone)]
struct Faults {
    lost_request: f64,
    lost_reply: f64,
    late_request: f64,
    doubled_request: f64,
    doubled_fact: f64,
    /// Of those to orders.
    lost_fact: f64,
    declined: f64,
    authenticate: f64,
    cancelled: f64,
    short: f64,
    /// An operator stops a packed parcel.
    stopped: f64,
    capture_fails: f64,
    crashes: u32,
    hold: Duration,
    stock: i64,
}

const NORMAL: Faults = Faults {
    lost_request: 0.06,
    lost_reply: 0.06,
    late_request: 0.05,
    doubled_request: 0.05,
    doubled_fact: 0.25,
    lost_fact: 0.0,
    declined: 0.08,
    authenticate: 0.1,
    cancelled: 0.12,
    short: 0.04,
    stopped: 0.03,
    capture_fails: 0.02,
    crashes: 4,
    hold: Duration::from_secs(1200),
    stock: 40,
};

/// More than half of what is asked does not arrive in time, and holds lapse under way.
fn hard() -> Faults {
    Faults {
        lost_request: 0.15,
        lost_reply: 0.15,
        late_request: 0.28,
        cancelled: 0.3,
        crashes: 20,
        hold: Duration::from_secs(60),
        stock: 30,
        ..NORMAL
    }
}

const ORDERS: usize = 40;
const AMOUNT: i64 = 100;
const PATIENCE_S: f64 = 2.0;
const END_S: f64 = 40_000.0;

type Todo = Box<dyn FnOnce(&mut World)>;

struct Reservation {
    qty: i64,
    state: &'static str,
    expires: f64,
}

/// At payments: one per key, that is, per card.
#[derive(Clone)]
struct Pay {
    order: usize,
    attempt: u32,
    state: MoneyState,
    known: bool,
}

struct Fulfil {
    state: ParcelState,
    paid: bool,
}

struct OrderRow {
    saga: Saga,
    qty: i64,
    /// A request of it is under way in the current life of orders.
    led: bool,
}

struct World {
    random: u64,
    now: f64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    todo: HashMap<u64, Todo>,
    count: u64,
    faults: Faults,
    without: Option<Rule>,
    policy: Policy,
    // inventory
    on_hand: i64,
    reserved: i64,
    reservations: BTreeMap<usize, Reservation>,
    closed_stock: BTreeSet<usize>,
    // the provider, and payments' own books
    provider: BTreeMap<String, (i64, MoneyState)>,
    cards: i64,
    held: i64,
    merchant: i64,
    payments: BTreeMap<String, Pay>,
    closed_money: BTreeSet<usize>,
    fulfilments: BTreeMap<usize, Fulfil>,
    orders: BTreeMap<usize, OrderRow>,
    /// How often orders was killed: what an earlier life waits for never arrives.
    life: u32,
    inbox: BTreeSet<(&'static str, u64)>,
    broken: BTreeMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64, faults: Faults, without: Option<Rule>) -> Self {
        let policy = Policy { hold: faults.hold, ..Policy::default() };
        let (on_hand, cards) = (faults.stock, 1_000_000);
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 0.0,
            queue: BinaryHeap::new(),
            todo: HashMap::new(),
            count: 0,
            faults,
            without,
            policy,
            on_hand,
            reserved: 0,
            reservations: BTreeMap::new(),
            closed_stock: BTreeSet::new(),
            provider: BTreeMap::new(),
            cards,
            held: 0,
            merchant: 0,
            payments: BTreeMap::new(),
            closed_money: BTreeSet::new(),
            fulfilments: BTreeMap::new(),
            orders: BTreeMap::new(),
            life: 0,
            inbox: BTreeSet::new(),
            broken: BTreeMap::new(),
        }
    }

    fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// In 0..1.
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.chance() * (high - low)
    }

    fn after(&mut self, wait: f64, todo: impl FnOnce(&mut Self) + 'static) {
        self.count += 1;
        self.queue.push(Reverse((((self.now + wait) * 1000.0) as u64, self.count)));
        self.todo.insert(self.count, Box::new(todo));
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + (self.now * 1000.0) as i64)
    }

    fn breaks(&mut self, invariant: &'static str) {
        *self.broken.entry(invariant).or_default() += 1;
    }

    // ---- the network ----

    /// Sends a request that `work` serves. `None`: the caller heard nothing in time.
    fn ask<T: 'static>(
        &mut self,
        work: impl Fn(&mut Self) -> Option<T> + Clone + 'static,
    ) -> Option<T> {
        let faults = self.faults.clone();
        let dice = self.chance();
        let lost = faults.lost_request;
        let reply_lost = lost + faults.lost_reply;
        if dice < lost {
            return None;
        }
        if dice < reply_lost {
            work(self);
            return None;
        }
        if dice < reply_lost + faults.late_request {
            let wait = self.between(5.0, 200.0);
            self.after(wait, move |world| drop(work(world)));
            return None;
        }
        if self.chance() < faults.doubled_request {
            let (wait, again) = (self.between(0.0, 80.0), work.clone());
            self.after(wait, move |world| drop(again(world)));
        }
        work(self)
    }

    /// Publishes a fact: it arrives at least once, at some time.
    fn publish(&mut self, to: &'static str, take: impl Fn(&mut Self) -> bool + Clone + 'static) {
        self.count += 1;
        let id = self.count;
        let copies = 1 + usize::from(self.chance() < self.faults.doubled_fact);
        for _ in 0..copies {
            let (wait, take) = (self.between(0.0, 40.0), take.clone());
            self.after(wait, move |world| world.deliver(to, id, take));
        }
    }

    /// The receiver's inbox: once, and again later if it was too early.
    fn deliver(
        &mut self,
        to: &'static str,
        id: u64,
        take: impl Fn(&mut Self) -> bool + Clone + 'static,
    ) {
        if self.has(Rule::InboxDedupe) && self.inbox.contains(&(to, id)) {
            return;
        }
        let lost = to == "orders" && self.chance() < self.faults.lost_fact;
        if lost || take(self) {
            self.inbox.insert((to, id));
        } else {
            self.after(10.0, move |world| world.deliver(to, id, take));
        }
    }

    fn tell_orders(&mut self, order: usize, fact: Input) {
        self.publish("orders", move |world| {
            let verdict = world.meet(order, None, &fact);
            if matches!(verdict, Verdict::Impossible(_)) {
                world.breaks("a fact contradicts what is certain");
            }
            !matches!(verdict, Verdict::NotYet(_))
        });
    }

    // ---- inventory ----

    fn reserve(&mut self, order: usize, qty: i64) -> Answer {
        if self.closed_stock.contains(&order) {
            return refused("order-tombstoned");
        }
        let free = if self.has(Rule::ReserveAgainstFree) {
            self.on_hand - self.reserved
        } else {
            self.on_hand
        };
        match self.reservations.get(&order).map(|r| r.state) {
            Some("RELEASED") => return refused("order-tombstoned"),
            Some("HELD" | "CONFIRMED" | "SHIPPED") => return Answer::Done,
            _ if free < qty => return refused("out-of-stock"),
            _ => {}
        }
        self.reserved += qty;
        let expires = self.now + self.faults.hold.as_secs_f64();
        self.reservations.insert(order, Reservation { qty, state: "HELD", expires });
        self.after(self.faults.hold.as_secs_f64() + 0.01, move |world| world.expire(order));
        Answer::Done
    }

    fn expire(&mut self, order: usize) {
        let now = self.now;
        let reservation = self.reservations.get_mut(&order).unwrap();
        if reservation.state == "HELD" && reservation.expires <= now {
            reservation.state = "EXPIRED";
            self.reserved -= reservation.qty;
        }
    }

    fn confirm(&mut self, order: usize) -> Answer {
        let free = self.on_hand - self.reserved;
        let Some(reservation) = self.reservations.get_mut(&order) else {
            return refused("not-found");
        };
        match reservation.state {
            "HELD" => reservation.state = "CONFIRMED",
            "EXPIRED" if free >= reservation.qty => {
                self.reserved += reservation.qty;
                reservation.state = "CONFIRMED";
            }
            "EXPIRED" => return refused("out-of-stock"),
            "RELEASED" => return refused("order-tombstoned"),
            _ => {}
        }
        Answer::Done
    }

    fn free(&mut self, order: usize) -> Answer {
        let Some(reservation) = self.reservations.get_mut(&order) else {
            if self.has(Rule::Tombstones) {
                self.closed_stock.insert(order);
            }
            return Answer::Done;
        };
        match reservation.state {
            "HELD" | "CONFIRMED" => self.reserved -= reservation.qty,
            "SHIPPED" => return refused("too-late-to-cancel"),
            _ => {}
        }
        reservation.state = "RELEASED";
        Answer::Done
    }

    fn count_down(&mut self, order: usize) -> bool {
        let once = self.has(Rule::InboxDedupe);
        let Some(reservation) = self.reservations.get_mut(&order) else { return false };
        if reservation.state == "CONFIRMED" || (!once && reservation.state == "SHIPPED") {
            reservation.state = "SHIPPED";
            self.on_hand -= reservation.qty;
            self.reserved -= reservation.qty;
        }
        true
    }

    // ---- payments and its provider ----

    fn provider_authorise(&mut self, key: &str) -> MoneyState {
        if let Some((_, state)) = self.provider.get(key) {
            return *state;
        }
        let dice = self.chance();
        let state = if dice < self.faults.declined {
            MoneyState::Declined
        } else if dice < self.faults.declined + self.faults.authenticate {
            let (wait, key) = (self.between(1.0, 1500.0), key.to_owned());
            self.after(wait, move |world| world.customer_authenticates(&key));
            MoneyState::RequiresAction
        } else {
            self.cards -= AMOUNT;
            self.held += AMOUNT;
            MoneyState::Authorised
        };
        self.provider.insert(key.to_owned(), (AMOUNT, state));
        state
    }

    fn customer_authenticates(&mut self, key: &str) {
        let Some((_, state @ MoneyState::RequiresAction)) = self.provider.get_mut(key) else {
            return;
        };
        *state = MoneyState::Authorised;
        self.cards -= AMOUNT;
        self.held += AMOUNT;
        // The provider's webhook, at least once; payments takes it if it still can.
        let key = key.to_owned();
        self.publish("payments", move |world| {
            let closed = |world: &World, order| world.closed_money.contains(&order);
            let Some(pay) = world.payments.get(&key).cloned() else { return true };
            if pay.state == MoneyState::RequiresAction && !closed(world, pay.order) {
                world.set_pay(&key, MoneyState::Authorised);
                let payment = Payment {
                    attempt: pay.attempt,
                    state: MoneyState::Authorised,
                    capture_id: None,
                    action_url: None,
                };
                world.tell_orders(pay.order, Input::PaymentFact(payment));
            }
            true
        });
    }

    fn provider_end(&mut self, key: &str, capture: bool) -> MoneyState {
        let fails = capture && self.chance() < self.faults.capture_fails;
        let Some((amount, state)) = self.provider.get(key).copied() else {
            if self.has(Rule::Tombstones) {
                self.provider.insert(key.to_owned(), (0, MoneyState::Voided));
            }
            return MoneyState::Voided;
        };
        let end = match state {
            MoneyState::Authorised if capture && !fails => {
                self.held -= amount;
                self.merchant += amount;
                MoneyState::Captured
            }
            MoneyState::Authorised => {
                self.held -= amount;
                self.cards += amount;
                MoneyState::Voided
            }
            MoneyState::RequiresAction => MoneyState::Voided,
            other => other,
        };
        self.provider.insert(key.to_owned(), (amount, end));
        end
    }

    fn set_pay(&mut self, key: &str, state: MoneyState) {
        let pay = self.payments.get_mut(key).unwrap();
        (pay.state, pay.known) = (state, true);
    }

    fn authorise(&mut self, order: usize, attempt: u32, key: &str) -> Answer {
        if self.closed_money.contains(&order) {
            return refused("order-tombstoned");
        }
        let new = Pay { order, attempt, state: MoneyState::Created, known: false };
        if !self.payments.entry(key.to_owned()).or_insert(new).known {
            let its = key.to_owned();
            let Some(state) = self.ask(move |world| Some(world.provider_authorise(&its))) else {
                return Answer::Silent(None);
            };
            if !self.payments[key].known {
                self.set_pay(key, state);
            }
        }
        match self.payments[key].state {
            MoneyState::Declined => refused("payment-declined"),
            state => Answer::Payment(payment(attempt, state)),
        }
    }

    fn latest(&self, order: usize) -> Option<(String, Pay)> {
        let own = self.payments.iter().filter(|(_, pay)| pay.order == order);
        own.max_by_key(|(_, pay)| pay.attempt).map(|(key, pay)| (key.clone(), pay.clone()))
    }

    fn capture(&mut self, order: usize) -> Answer {
        let Some((key, pay)) = self.latest(order) else { return refused("not-found") };
        if pay.state == MoneyState::Authorised {
            let its = key.clone();
            let Some(state) = self.ask(move |world| Some(world.provider_end(&its, true))) else {
                return Answer::Silent(None);
            };
            self.set_pay(&key, state);
        }
        match self.payments[&key].state {
            MoneyState::Captured => Answer::Payment(payment(pay.attempt, MoneyState::Captured)),
            _ => refused("capture-failed"),
        }
    }

    /// Ends every hold of the order, those of lost requests too.
    fn void(&mut self, order: usize) -> Answer {
        if self.has(Rule::Tombstones) {
            self.closed_money.insert(order);
        }
        let own: Vec<String> = self
            .payments
            .iter()
            .filter(|(_, pay)| pay.order == order)
            .map(|(key, _)| key.clone())
            .collect();
        for key in own {
            let pay = &self.payments[&key];
            if pay.state == MoneyState::Captured {
                return refused("already-captured");
            }
            let open = matches!(
                pay.state,
                MoneyState::Created | MoneyState::RequiresAction | MoneyState::Authorised
            );
            if open {
                let its = key.clone();
                let Some(state) = self.ask(move |world| Some(world.provider_end(&its, false)))
                else {
                    return Answer::Silent(None);
                };
                self.set_pay(&key, state);
            }
        }
        Answer::Payment(payment(0, MoneyState::Voided))
    }

    fn refund(&mut self, order: usize) -> Answer {
        let Some((key, pay)) = self.latest(order) else { return refused("not-found") };
        if pay.state == MoneyState::Captured {
            let its = key.clone();
            let refunded = self.ask(move |world| {
                if let Some((amount, state @ MoneyState::Captured)) = world.provider.get_mut(&its) {
                    *state = MoneyState::Refunded;
                    world.merchant -= *amount;
                    world.cards += *amount;
                }
                Some(())
            });
            if refunded.is_none() {
                return Answer::Silent(None);
            }
            self.set_pay(&key, MoneyState::Refunded);
        }
        Answer::Payment(payment(pay.attempt, self.payments[&key].state))
    }

    // ---- warehouse ----

    fn begin_fulfilment(&mut self, order: usize) -> bool {
        if self.fulfilments.contains_key(&order) {
            return true;
        }
        self.fulfilments.insert(order, Fulfil { state: ParcelState::Picking, paid: false });
        let wait = self.between(1.0, 30.0);
        self.after(wait, move |world| world.pack(order));
        true
    }

    fn pack(&mut self, order: usize) {
        let short = self.chance() < self.faults.short;
        let fulfilment = self.fulfilments.get_mut(&order).unwrap();
        if fulfilment.state != ParcelState::Picking {
            return;
        }
        fulfilment.state = if short { ParcelState::Short } else { ParcelState::Packed };
        let state = fulfilment.state;
        self.tell_orders(order, Input::FulfilmentFact(parcel(state)));
        if self.chance() < self.faults.stopped {
            let wait = self.between(0.0, 40.0);
            self.after(wait, move |world| world.stop_parcel(order));
        }
        if !self.has(Rule::ReleaseGate) && state == ParcelState::Packed {
            self.dispatch(order);
        }
    }

    fn stop_parcel(&mut self, order: usize) {
        let fulfilment = self.fulfilments.get_mut(&order).unwrap();
        if matches!(fulfilment.state, ParcelState::Packed | ParcelState::Short) {
            fulfilment.state = ParcelState::Cancelled;
            self.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Cancelled)));
        }
    }

    fn release(&mut self, order: usize, capture: Option<&str>) -> Answer {
        let Some(fulfilment) = self.fulfilments.get_mut(&order) else {
            return refused("not-packed");
        };
        match fulfilment.state {
            ParcelState::Packed => {
                fulfilment.paid = capture.is_some();
                self.dispatch(order);
            }
            ParcelState::Dispatched | ParcelState::Delivered => {}
            _ => return refused("too-late"),
        }
        Answer::Fulfilment(parcel(self.fulfilments[&order].state))
    }

    fn dispatch(&mut self, order: usize) {
        self.fulfilments.get_mut(&order).unwrap().state = ParcelState::Dispatched;
        self.publish("inventory", move |world| world.count_down(order));
        self.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Dispatched)));
        let wait = self.between(5.0, 60.0);
        self.after(wait, move |world| {
            world.fulfilments.get_mut(&order).unwrap().state = ParcelState::Delivered;
            world.tell_orders(order, Input::FulfilmentFact(parcel(ParcelState::Delivered)));
        });
    }

    fn cancel_fulfilment(&mut self, order: usize) -> Answer {
        let new = Fulfil { state: ParcelState::Cancelled, paid: false };
        let fulfilment = self.fulfilments.entry(order).or_insert(new);
        if matches!(fulfilment.state, ParcelState::Dispatched | ParcelState::Delivered) {
            return refused("too-late-to-cancel");
        }
        fulfilment.state = ParcelState::Cancelled;
        Answer::Fulfilment(parcel(ParcelState::Cancelled))
    }

    // ---- orders ----

    fn place(&mut self, order: usize) {
        let qty = if self.chance() < 0.25 { 2 } else { 1 };
        let saga = Saga::received(self.time(), &self.policy);
        self.orders.insert(order, OrderRow { saga, qty, led: false });
        self.lead(order);
        if self.chance() < self.faults.cancelled {
            let wait = self.between(0.0, 120.0);
            self.after(wait, move |world| {
                world.meet(order, None, &Input::Cancel);
            });
        }
    }

    /// One input, one transaction: the row, and what is published with it.
    fn meet(&mut self, order: usize, version: Option<u32>, input: &Input) -> Verdict {
        let random = self.chance();
        let row = &self.orders[&order];
        if version.is_some_and(|version| version != row.saga.version) {
            self.lead(order);
            return Verdict::Taken;
        }
        let at = Circumstances { now: self.time(), random, policy: &self.policy };
        let after = step(&row.saga, input, at);
        for made in &after.moves {
            assert!(ALLOWED.contains(&(made.from, made.to)), "{made:?}");
        }
        self.orders.get_mut(&order).unwrap().saga = after.saga;
        for effect in after.effects {
            match effect {
                Effect::Confirmed => {
                    self.publish("warehouse", move |world| world.begin_fulfilment(order))
                }
                Effect::NewCardNeeded => {
                    // The customer comes back with another card, or does not.
                    let wait = self.between(1.0, 1200.0);
                    self.after(wait, move |world| {
                        world.meet(order, None, &Input::NewMethod);
                    });
                }
                _ => {}
            }
        }
        self.lead(order);
        after.verdict
    }

    /// Takes the order up when it is due, unless it is being led.
    fn lead(&mut self, order: usize) {
        let now = self.time();
        let Some(next) = self.orders[&order].saga.next_run_at else { return };
        // A millisecond later than due, so that no rounding makes it early.
        let (wait, life) = (next.since(now).as_secs_f64() + 0.001, self.life);
        self.after(wait, move |world| {
            let now = world.time();
            let due = world.orders[&order].saga.next_run_at.is_some_and(|next| next <= now);
            if world.life == life && due && !world.orders[&order].led {
                world.run_step(order);
            }
        });
    }

    fn run_step(&mut self, order: usize) {
        let at = Circumstances { now: self.time(), random: 0.5, policy: &self.policy };
        let row = &self.orders[&order];
        let (version, qty, capture) = (row.saga.version, row.qty, row.saga.capture_id.clone());
        let Some(action) = step(&row.saga, &Input::Due, at).call else {
            self.meet(order, Some(version), &Input::Due);
            return;
        };
        self.orders.get_mut(&order).unwrap().led = true;
        let mut key = action.key(&format!("o{order}")).unwrap_or_default();
        if !self.has(Rule::SameKeyOnEachTry) {
            self.count += 1;
            key = format!("{key}:{}", self.count);
        }
        let answer =
            self.ask(move |world| Some(world.serve(order, qty, action, &key, capture.as_deref())));
        let (wait, answer) = match answer {
            Some(answer) => (self.between(0.001, 0.5), answer),
            None => (PATIENCE_S, Answer::Silent(None)),
        };
        let life = self.life;
        self.after(wait, move |world| {
            // A reply to an earlier life of orders arrives nowhere.
            if world.life == life {
                world.orders.get_mut(&order).unwrap().led = false;
                world.meet(order, Some(version), &Input::Reply(action, answer));
            }
        });
    }

    /// What the other services make of a request.
    fn serve(
        &mut self,
        order: usize,
        qty: i64,
        action: Action,
        key: &str,
        capture: Option<&str>,
    ) -> Answer {
        match action {
            Action::Reserve => self.reserve(order, qty),
            Action::ExtendHold => Answer::Done,
            Action::Confirm if !self.has(Rule::ConfirmBeforePromise) => Answer::Done,
            Action::Confirm => self.confirm(order),
            Action::FreeStock => self.free(order),
            Action::Authorise { attempt } => self.authorise(order, attempt, key),
            Action::LookAtPayment => match self.latest(order) {
                Some((_, pay)) => Answer::Payment(payment(pay.attempt, pay.state)),
                None => refused("not-found"),
            },
            Action::Capture => self.capture(order),
            Action::Void => self.void(order),
            Action::Refund => self.refund(order),
            Action::LookAtFulfilment => match self.fulfilments.get(&order) {
                Some(fulfilment) => Answer::Fulfilment(parcel(fulfilment.state)),
                None => refused("not-found"),
            },
            Action::Release { .. } => self.release(order, capture),
            Action::CancelFulfilment { .. } => self.cancel_fulfilment(order),
        }
    }

    /// kill -9 and a new start: only the rows are left.
    fn crash(&mut self) {
        self.life += 1;
        let all: Vec<usize> = self.orders.keys().copied().collect();
        for order in all {
            self.orders.get_mut(&order).unwrap().led = false;
            self.lead(order);
        }
    }

    // ---- what must hold ----

    fn check_always(&mut self) {
        if self.reserved < 0 || self.reserved > self.on_hand {
            self.breaks("0 <= reserved <= on_hand");
        }
        if self.cards + self.held + self.merchant != 1_000_000 {
            self.breaks("the world's money is constant");
        }
        let captured =
            |order| self.latest(order).is_some_and(|(_, pay)| pay.state == MoneyState::Captured);
        let gone = |state| matches!(state, ParcelState::Dispatched | ParcelState::Delivered);
        let unpaid = self
            .fulfilments
            .iter()
            .filter(|(_, f)| gone(f.state))
            .any(|(order, f)| !f.paid || !captured(*order));
        if unpaid {
            self.breaks("nothing leaves unpaid");
        }
    }

    fn check_at_rest(&mut self) {
        self.check_always();
        let mut broken = Vec::new();
        let mut open: HashMap<usize, u32> = HashMap::new();
        for (key, (_, state)) in &self.provider {
            let order: usize = key[1..].split(':').next().unwrap().parse().unwrap();
            let status = self.orders[&order].saga.status;
            match state {
                MoneyState::Authorised => broken.push("no hold stays open"),
                MoneyState::Captured if status != Status::Completed => {
                    broken.push("captured only for completed orders")
                }
                _ => {}
            }
            if matches!(state, MoneyState::Authorised | MoneyState::Captured) {
                *open.entry(order).or_default() += 1;
            }
        }
        if open.values().any(|n| *n > 1) {
            broken.push("nobody pays twice");
        }
        let (mut delivered, mut promised) = (0, 0);
        for (order, row) in &self.orders {
            let stock = self.reservations.get(order).map_or("", |reservation| reservation.state);
            let parcel = self.fulfilments.get(order).map(|fulfilment| fulfilment.state);
            match row.saga.status {
                Status::Completed
                    if parcel != Some(ParcelState::Delivered) || stock != "SHIPPED" =>
                {
                    broken.push("completed means delivered and counted down");
                }
                Status::Completed => delivered += row.qty,
                Status::Cancelled | Status::Refunded if matches!(stock, "HELD" | "CONFIRMED") => {
                    broken.push("a cancelled order holds no stock");
                }
                Status::Cancelled | Status::Refunded => {}
                _ => broken.push("every order ends"),
            }
            if matches!(stock, "HELD" | "CONFIRMED") {
                promised += row.qty;
            }
        }
        if self.on_hand != self.faults.stock - delivered {
            broken.push("the shelf is what was not delivered");
        }
        if self.reserved != promised {
            broken.push("reserved is what is promised");
        }
        broken.into_iter().for_each(|invariant| self.breaks(invariant));
    }

    fn run(mut self) -> Self {
        for order in 0..ORDERS {
            let wait = self.between(0.0, 200.0);
            self.after(wait, move |world| world.place(order));
        }
        for _ in 0..self.faults.crashes {
            let wait = self.between(0.0, 2000.0);
            self.after(wait, Self::crash);
        }
        while let Some(Reverse((at, id))) = self.queue.pop() {
            self.now = at as f64 / 1000.0;
            if self.now > END_S {
                break;
            }
            if let Some(todo) = self.todo.remove(&id) {
                todo(&mut self);
            }
            if id % 5 == 0 {
                self.check_always();
            }
        }
        self.check_at_rest();
        self
    }
}

fn payment(attempt: u32, state: MoneyState) -> Payment {
    let capture_id = (state == MoneyState::Captured).then(|| "cap_1".to_owned());
    Payment { attempt, state, capture_id, action_url: Some("/3ds".to_owned()) }
}

fn parcel(state: ParcelState) -> Fulfilment {
    Fulfilment { state, tracking: Some("T".to_owned()) }
}

fn refused(code: &str) -> Answer {
    Answer::Refused(code.to_owned())
}

/// Runs `seeds` worlds. Says in how many something broke, what, and how the orders ended.
fn batch(
    seeds: u64,
    faults: &Faults,
    without: Option<Rule>,
) -> (u32, BTreeMap<&'static str, u32>, BTreeMap<Status, u32>) {
    let from: u64 = std::env::var("SAGA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut bad, mut broken, mut ends) = (0, BTreeMap::new(), BTreeMap::new());
    for seed in from..from + seeds {
        let world = World::new(seed, faults.clone(), without).run();
        if !world.broken.is_empty() {
            bad += 1;
            if without.is_none() {
                println!("seed {seed}: {:?} (again: SAGA_SEED={seed})", world.broken);
            }
        }
        for (invariant, _) in world.broken {
            *broken.entry(invariant).or_default() += 1;
        }
        for row in world.orders.values() {
            *ends.entry(row.saga.status).or_default() += 1;
        }
    }
    println!(
        "{}: {bad} of {seeds} worlds broken {broken:?}; {ends:?}",
        without.map_or("all rules".into(), |rule| format!("without {rule:?}"))
    );
    (bad, broken, ends)
}

#[test]
fn nothing_breaks_in_a_bad_world() {
    let (bad, _, ends) = batch(150, &NORMAL, None);
    assert_eq!(bad, 0);
    assert!(ends[&Status::Completed] > 2000, "most orders are good: {ends:?}");
}

#[test]
fn nothing_breaks_in_a_terrible_world() {
    let (bad, _, ends) = batch(100, &hard(), None);
    assert_eq!(bad, 0);
    assert!(
        ends.contains_key(&Status::Refunded) && ends.contains_key(&Status::Cancelled),
        "{ends:?}"
    );
}

/// Events are not the only way to know: what nobody told is found by looking.
#[test]
fn facts_that_never_arrive_are_found_by_looking() {
    let (bad, _, ends) = batch(40, &Faults { lost_fact: 0.7, ..NORMAL }, None);
    assert_eq!(bad, 0);
    assert!(ends[&Status::Completed] > 500, "{ends:?}");
}

#[test]
fn the_checks_see_every_rule_that_is_missing() {
    // The tombstone is only missed by a request that arrives after the undo: rare, so more worlds.
    for (rule, faults, worlds, at_least) in [
        (Rule::SameKeyOnEachTry, &NORMAL, 40, 30),
        (Rule::InboxDedupe, &NORMAL, 40, 30),
        (Rule::Tombstones, &hard(), 100, 3),
        (Rule::ReserveAgainstFree, &Faults { stock: 15, ..NORMAL }, 40, 30),
        (Rule::ConfirmBeforePromise, &NORMAL, 40, 30),
        (Rule::ReleaseGate, &NORMAL, 40, 30),
    ] {
        let (bad, ..) = batch(worlds, faults, Some(rule));
        assert!(
            bad >= at_least,
            "only {bad} of {worlds} worlds without {rule:?} were found broken"
        );
    }
}

#[test]
fn a_seed_says_everything() {
    let life = |seed| {
        let world = World::new(seed, hard(), None).run();
        (world.count, world.random, world.merchant, world.on_hand)
    };
    assert_eq!(life(7), life(7));
    assert_ne!(life(7), life(8));
}
