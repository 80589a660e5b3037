//! Orders: what the service does around the machine, killed at any moment.

use orders::machine::*;

use crate::{OrderRow, PATIENCE_S, Rule, World, parcel, payment, refused};

impl World {
    pub(crate) fn place(&mut self, order: usize) {
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
    pub(crate) fn meet(&mut self, order: usize, version: Option<u32>, input: &Input) -> Verdict {
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
    pub(crate) fn lead(&mut self, order: usize) {
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

    pub(crate) fn run_step(&mut self, order: usize) {
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
    pub(crate) fn serve(
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
    pub(crate) fn crash(&mut self) {
        self.life += 1;
        let all: Vec<usize> = self.orders.keys().copied().collect();
        for order in all {
            self.orders.get_mut(&order).unwrap().led = false;
            self.lead(order);
        }
    }
}
