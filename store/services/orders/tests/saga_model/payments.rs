//! Payments and its provider, as simple as their contract allows.

use orders::machine::*;

use crate::{AMOUNT, Pay, Rule, World, payment, refused};

impl World {
    pub(crate) fn provider_authorise(&mut self, key: &str) -> MoneyState {
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

    pub(crate) fn customer_authenticates(&mut self, key: &str) {
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

    pub(crate) fn provider_end(&mut self, key: &str, capture: bool) -> MoneyState {
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

    pub(crate) fn set_pay(&mut self, key: &str, state: MoneyState) {
        let pay = self.payments.get_mut(key).unwrap();
        (pay.state, pay.known) = (state, true);
    }

    pub(crate) fn authorise(&mut self, order: usize, attempt: u32, key: &str) -> Answer {
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

    pub(crate) fn latest(&self, order: usize) -> Option<(String, Pay)> {
        let own = self.payments.iter().filter(|(_, pay)| pay.order == order);
        own.max_by_key(|(_, pay)| pay.attempt).map(|(key, pay)| (key.clone(), pay.clone()))
    }

    pub(crate) fn capture(&mut self, order: usize) -> Answer {
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
    pub(crate) fn void(&mut self, order: usize) -> Answer {
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

    pub(crate) fn refund(&mut self, order: usize) -> Answer {
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
}
