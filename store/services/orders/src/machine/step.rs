//! The one function that moves an order.

use std::time::Duration;

use super::Status::*;
use super::{
    Action, Answer, Circumstances, Effect, Fulfilment, FulfilmentState, Input, MoneyState, Move,
    ParcelState, Payment, PaymentState, Reason, Saga, Status, Step, Verdict,
};

/// What becomes of an order by an input.
pub fn step(saga: &Saga, input: &Input, at: Circumstances<'_>) -> Step {
    let saga = saga.clone();
    let mut turn = Turn { saga, at, moves: Vec::new(), effects: Vec::new(), call: None };
    let verdict = match input {
        Input::Due => turn.due(),
        Input::Reply(action, answer) => turn.reply(*action, answer),
        Input::PaymentFact(payment) => turn.payment_fact(payment),
        Input::CaptureFailed => turn.capture_failed(),
        Input::FulfilmentFact(fulfilment) => turn.fulfilment_fact(fulfilment),
        Input::Cancel => turn.cancel(),
        Input::NewMethod => turn.new_method(),
        Input::RetryNow => turn.retry_now(),
    };
    let Turn { saga, moves, effects, call, .. } = turn;
    Step { saga, moves, effects, call, verdict }
}

struct Turn<'p> {
    saga: Saga,
    at: Circumstances<'p>,
    moves: Vec<Move>,
    effects: Vec<Effect>,
    call: Option<Action>,
}

impl Turn<'_> {
    /// It is time: give up, go on by itself, or ask somebody.
    fn due(&mut self) -> Verdict {
        let status = self.saga.status;
        if self.is_called_off() {
            return self.undo(Reason::CancelledByCustomer);
        }
        if self.saga.deadline.is_some_and(|deadline| deadline <= self.at.now) {
            return self.undo(match status {
                Reserved => Reason::PaymentsUnavailable,
                AwaitingAction | AwaitingMethod => Reason::PaymentTimeout,
                _ => Reason::InventoryUnavailable,
            });
        }
        let generation = self.saga.generation;
        self.call = match status {
            Received => Some(Action::Reserve),
            Reserved | Packed | CompPay if self.saga.looking => Some(Action::LookAtPayment),
            Reserved => Some(Action::Authorise { attempt: self.saga.pay_attempt }),
            AwaitingAction => Some(Action::LookAtPayment),
            AwaitingMethod if !self.saga.hold_extended => Some(Action::ExtendHold),
            AwaitingMethod => {
                self.saga.next_run_at = self.saga.deadline;
                None
            }
            Authorised => Some(Action::Confirm),
            Packed => Some(Action::Capture),
            Captured => Some(Action::Release { generation }),
            Confirmed | Released | Dispatched => Some(Action::LookAtFulfilment),
            Delivered => {
                self.enter(Completed, "the return window is over");
                self.effects.push(Effect::Completed);
                None
            }
            CompWh => Some(Action::CancelFulfilment { generation }),
            CompPay if self.is_paid() => Some(Action::Refund),
            CompPay => Some(Action::Void),
            CompInv => Some(Action::FreeStock),
            Completed | Cancelled | Refunded => {
                self.saga.next_run_at = None;
                None
            }
        };
        Verdict::Taken
    }

    fn reply(&mut self, action: Action, answer: &Answer) -> Verdict {
        if self.is_called_off() {
            // Whatever it came to, undoing finds out and takes it back.
            return self.undo(Reason::CancelledByCustomer);
        }
        match (action, answer) {
            (Action::ExtendHold, answer) => self.hold_extended(answer),
            (_, Answer::Silent(asked)) => self.again(*asked),
            (Action::LookAtPayment | Action::LookAtFulfilment, Answer::Refused(_)) => {
                self.look_again()
            }
            (_, Answer::Payment(payment)) => self.payment_reply(payment),
            (_, Answer::Fulfilment(fulfilment)) => self.fulfilment_reply(fulfilment),
            (_, Answer::Done) => self.done(action),
            (_, Answer::Refused(code)) => self.refused(action, code),
        }
    }

    fn done(&mut self, action: Action) -> Verdict {
        match action {
            Action::Reserve => self.enter(Reserved, "the goods are held"),
            Action::Confirm => {
                self.enter(Confirmed, "the goods are promised");
                self.effects.push(Effect::Confirmed);
            }
            Action::FreeStock => return self.undone(),
            // The others answer with a payment or a fulfilment; without one we know nothing.
            _ => return self.again(None),
        }
        Verdict::Taken
    }

    fn refused(&mut self, action: Action, code: &str) -> Verdict {
        match (action, code) {
            (Action::Reserve, "out-of-stock") => {
                // Nothing was held and nothing charged: there is only the promise to take back.
                self.saga.reason = Some(Reason::OutOfStock);
                self.enter(CompInv, "inventory: out-of-stock");
                Verdict::Taken
            }
            (Action::Confirm, "out-of-stock") => self.undo(Reason::SoldOut),
            (Action::Authorise { .. }, "payment-declined") => self.declined(),
            (Action::Reserve | Action::Confirm | Action::Authorise { .. }, code) => {
                self.undo_because(Reason::StepRefused, format!("{action:?} refused: {code}"))
            }
            (Action::Capture, code) => {
                self.undo_because(Reason::CaptureFailed, format!("capture refused: {code}"))
            }
            (Action::Release { .. }, "too-late") => self.undo_because(
                Reason::WarehouseCancelled,
                "release refused: it was cancelled".to_owned(),
            ),
            // The goods are there and paid for: nothing else may stop them.
            (Action::Release { .. }, _) => self.again_under_a_new_key(),
            (Action::CancelFulfilment { .. }, "too-late-to-cancel" | "too-late")
                if self.is_paid() =>
            {
                self.saga.reason = None;
                self.enter(Captured, "the warehouse is letting the parcel go");
                self.again_under_a_new_key()
            }
            (Action::CancelFulfilment { .. }, _) => self.again_under_a_new_key(),
            (Action::Void, "already-captured") => {
                self.saga.payment = PaymentState::Captured;
                self.saga.next_run_at = Some(self.at.now);
                Verdict::Taken
            }
            // The rest must come to its end some day; the driver raises the alarm.
            _ => self.again(None),
        }
    }

    // ---- money ----

    fn payment_reply(&mut self, payment: &Payment) -> Verdict {
        match self.saga.status {
            CompPay => match payment.state {
                MoneyState::Voided | MoneyState::Declined | MoneyState::Expired => {
                    self.saga.payment = PaymentState::Voided;
                    self.money_is_back("the hold on the card is gone")
                }
                MoneyState::Refunded => {
                    self.saga.payment = PaymentState::Refunded;
                    self.effects.push(Effect::Refunded);
                    self.money_is_back("the money was returned")
                }
                MoneyState::Captured | MoneyState::PartiallyRefunded if !self.is_paid() => {
                    self.saga.payment = PaymentState::Captured;
                    self.saga.next_run_at = Some(self.at.now);
                    Verdict::Taken
                }
                _ => self.look_again(),
            },
            _ => {
                let before = self.moves.len();
                self.payment(payment);
                if self.moves.len() == before { self.look_again() } else { Verdict::Taken }
            }
        }
    }

    fn payment_fact(&mut self, payment: &Payment) -> Verdict {
        if payment.attempt > self.saga.pay_attempt {
            return Verdict::NotYet("that attempt was not made yet");
        }
        let early = matches!(
            self.saga.status,
            Received | Reserved | AwaitingAction | AwaitingMethod | Authorised | Confirmed
        );
        if payment.state == MoneyState::Captured && early {
            return Verdict::NotYet("the order is not packed yet");
        }
        if self.is_called_off() {
            return self.undo(Reason::CancelledByCustomer);
        }
        self.payment(payment);
        Verdict::Taken
    }

    fn capture_failed(&mut self) -> Verdict {
        if self.saga.status == Packed {
            return self.undo(Reason::CaptureFailed);
        }
        Verdict::Taken
    }

    /// What payments says moves the order the same way whether it is a reply, what we found when
    /// we looked, or an event. What does not concern the current status changes nothing.
    fn payment(&mut self, payment: &Payment) {
        if payment.attempt != self.saga.pay_attempt {
            return;
        }
        match (self.saga.status, payment.state) {
            (Reserved | AwaitingAction, MoneyState::Authorised) => {
                self.saga.payment = PaymentState::Authorised;
                self.enter(Authorised, "the card was authorised");
            }
            (Reserved, MoneyState::RequiresAction) if payment.action_url.is_some() => {
                self.saga.payment = PaymentState::RequiresAction;
                self.enter(AwaitingAction, "the bank wants to see the customer");
                self.saga.action_url.clone_from(&payment.action_url);
                self.effects.push(Effect::AuthenticationNeeded);
            }
            (
                Reserved,
                MoneyState::Created | MoneyState::Processing | MoneyState::RequiresAction,
            ) => {
                self.saga.payment = PaymentState::Pending;
            }
            (Reserved | AwaitingAction, MoneyState::Declined | MoneyState::Expired) => {
                self.declined();
            }
            (Reserved | AwaitingAction | Authorised | Confirmed, MoneyState::Voided)
            | (Authorised | Confirmed, MoneyState::Expired) => {
                self.undo(Reason::PaymentLost);
            }
            (Packed, MoneyState::Captured) => {
                if let Some(id) = &payment.capture_id {
                    self.saga.capture_id = Some(id.clone());
                    self.saga.payment = PaymentState::Captured;
                    self.enter(Captured, "the money was captured");
                }
            }
            (Packed, MoneyState::Voided | MoneyState::Expired | MoneyState::Declined) => {
                self.undo(Reason::CaptureFailed);
            }
            _ => {}
        }
    }

    /// The card was refused: another one, if there is a try left.
    fn declined(&mut self) -> Verdict {
        self.saga.payment = PaymentState::Declined;
        if self.saga.pay_attempt >= self.at.policy.cards_max {
            return self.undo(Reason::PaymentDeclined);
        }
        self.enter(AwaitingMethod, "the card was declined");
        self.effects.push(Effect::NewCardNeeded);
        Verdict::Taken
    }

    fn hold_extended(&mut self, answer: &Answer) -> Verdict {
        match answer {
            Answer::Refused(code) if code == "out-of-stock" => return self.undo(Reason::SoldOut),
            Answer::Silent(_) if self.saga.attempt + 1 < self.at.policy.quick_tries => {
                return self.again(None);
            }
            // A courtesy: without it the goods are taken again at the confirmation, if there.
            _ => self.saga.hold_extended = true,
        }
        self.saga.attempt = 0;
        self.saga.next_run_at = self.saga.deadline;
        Verdict::Taken
    }

    fn money_is_back(&mut self, why: &str) -> Verdict {
        self.enter(CompInv, why);
        Verdict::Taken
    }

    fn undone(&mut self) -> Verdict {
        let end = if self.saga.payment == PaymentState::Refunded { Refunded } else { Cancelled };
        self.enter(end, "the goods are free");
        self.effects.push(Effect::Cancelled);
        Verdict::Taken
    }

    fn is_paid(&self) -> bool {
        self.saga.payment == PaymentState::Captured
    }

    // ---- goods ----

    fn fulfilment_reply(&mut self, fulfilment: &Fulfilment) -> Verdict {
        match (self.saga.status, fulfilment.state) {
            (CompWh, ParcelState::Cancelled) => {
                self.saga.fulfilment = FulfilmentState::Cancelled;
                self.enter(CompPay, "nothing leaves the warehouse");
                Verdict::Taken
            }
            (CompWh, ParcelState::Dispatched | ParcelState::Delivered) if self.is_paid() => {
                self.dispatched(fulfilment.tracking.as_deref(), "the goods have left")
            }
            (CompWh, _) => self.again(None),
            (Captured, ParcelState::Cancelled | ParcelState::Short) => {
                self.undo(Reason::WarehouseCancelled)
            }
            (Captured, ParcelState::New | ParcelState::Picking | ParcelState::Packed) => {
                // Taken on, but not gone yet: the event says when.
                self.enter(Released, "the warehouse may ship");
                Verdict::Taken
            }
            _ => {
                let before = self.moves.len();
                // What we found by looking is early or odd at worst, and will be looked at again.
                let _ = self.fulfilment_fact(fulfilment);
                if self.moves.len() == before { self.look_again() } else { Verdict::Taken }
            }
        }
    }

    fn fulfilment_fact(&mut self, fulfilment: &Fulfilment) -> Verdict {
        let status = self.saga.status;
        let before_confirmed =
            matches!(status, Received | Reserved | AwaitingAction | AwaitingMethod | Authorised);
        match fulfilment.state {
            ParcelState::New | ParcelState::Picking => {
                if status == Confirmed {
                    self.saga.fulfilment = FulfilmentState::New;
                }
                Verdict::Taken
            }
            ParcelState::Packed | ParcelState::Short if before_confirmed => {
                Verdict::NotYet("the order is not confirmed yet")
            }
            ParcelState::Packed => self.packed(),
            ParcelState::Short | ParcelState::Cancelled => self.will_not_ship(fulfilment.state),
            ParcelState::Dispatched | ParcelState::Delivered
                if before_confirmed || matches!(status, Confirmed | Packed) =>
            {
                Verdict::NotYet("the order is not paid yet")
            }
            ParcelState::Dispatched | ParcelState::Delivered
                if matches!(status, CompPay | CompInv | Cancelled | Refunded) =>
            {
                Verdict::Impossible("the warehouse had confirmed that nothing leaves")
            }
            ParcelState::Dispatched => {
                self.dispatched(fulfilment.tracking.as_deref(), "the goods have left")
            }
            ParcelState::Delivered => self.delivered(fulfilment),
        }
    }

    fn packed(&mut self) -> Verdict {
        if self.saga.status != Confirmed {
            return Verdict::Taken;
        }
        self.saga.fulfilment = FulfilmentState::Packed;
        if self.saga.cancel_requested {
            return self.undo(Reason::CancelledByCustomer);
        }
        self.enter(Packed, "the goods are packed");
        Verdict::Taken
    }

    fn will_not_ship(&mut self, state: ParcelState) -> Verdict {
        if self.saga.status != Confirmed {
            return Verdict::Taken;
        }
        if state == ParcelState::Short {
            self.saga.fulfilment = FulfilmentState::Short;
            self.undo(Reason::ShortPick)
        } else {
            self.saga.fulfilment = FulfilmentState::Cancelled;
            self.undo(Reason::WarehouseCancelled)
        }
    }

    /// The goods are on their way. The word may come in the reply to the release, in an event
    /// before that reply, or when it is too late to undo.
    fn dispatched(&mut self, tracking: Option<&str>, why: &str) -> Verdict {
        match self.saga.status {
            Captured => {
                self.enter(Released, "the warehouse may ship");
                self.enter(Dispatched, why);
            }
            Released => self.enter(Dispatched, why),
            CompWh if self.is_paid() => {
                self.saga.reason = None;
                self.enter(Dispatched, why);
            }
            CompWh => return Verdict::Impossible("goods left that were not paid for"),
            // An event may know the tracking number that a refusal could not say.
            Dispatched if self.saga.tracking.is_none() => {
                self.saga.tracking = tracking.map(str::to_owned);
                return Verdict::Taken;
            }
            _ => return Verdict::Taken,
        }
        self.saga.tracking = tracking.map(str::to_owned).or(self.saga.tracking.take());
        self.saga.fulfilment = FulfilmentState::Dispatched;
        self.effects.push(Effect::Dispatched);
        Verdict::Taken
    }

    fn delivered(&mut self, fulfilment: &Fulfilment) -> Verdict {
        match self.saga.status {
            Dispatched if self.is_paid() => {
                if self.saga.tracking.is_none() {
                    self.saga.tracking.clone_from(&fulfilment.tracking);
                }
                self.saga.fulfilment = FulfilmentState::Delivered;
                self.enter(Delivered, "the carrier delivered");
                self.effects.push(Effect::Delivered);
                Verdict::Taken
            }
            Captured | Released | CompWh | Dispatched => {
                Verdict::NotYet("the goods have not left yet")
            }
            _ => Verdict::Taken,
        }
    }

    // ---- people ----

    fn cancel(&mut self) -> Verdict {
        if self.saga.cancel_requested
            || self.saga.status.is_undoing()
            || matches!(self.saga.status, Cancelled | Refunded)
        {
            return Verdict::Taken;
        }
        if !self.saga.status.honours_cancel() {
            return Verdict::TooLate;
        }
        // Honoured at the next boundary of a step: a request that is under way is not disturbed.
        self.saga.cancel_requested = true;
        self.saga.next_run_at = Some(self.at.now);
        Verdict::Taken
    }

    fn new_method(&mut self) -> Verdict {
        if self.saga.status != AwaitingMethod || self.saga.cancel_requested {
            return Verdict::TooLate;
        }
        self.saga.pay_attempt += 1;
        self.saga.payment = PaymentState::None;
        self.enter(Reserved, "the customer gave another card");
        Verdict::Taken
    }

    fn retry_now(&mut self) -> Verdict {
        if self.saga.status.is_final() {
            return Verdict::TooLate;
        }
        (self.saga.attempt, self.saga.looking) = (0, false);
        self.saga.next_run_at = Some(self.at.now);
        Verdict::Taken
    }

    // ---- moving ----

    /// The customer's wish comes first while it can be granted.
    fn is_called_off(&self) -> bool {
        self.saga.cancel_requested && self.saga.status.honours_cancel()
    }

    fn undo(&mut self, reason: Reason) -> Verdict {
        self.undo_because(reason, reason.as_str().to_owned())
    }

    fn undo_because(&mut self, reason: Reason, why: String) -> Verdict {
        self.saga.reason = Some(reason);
        self.enter(CompWh, why);
        Verdict::Taken
    }

    fn enter(&mut self, to: Status, why: impl Into<String>) {
        self.moves.push(Move { from: self.saga.status, to, why: why.into() });
        let (policy, now) = (self.at.policy, self.at.now);
        let saga = &mut self.saga;
        saga.status = to;
        saga.version += 1;
        saga.next_run_at = policy.first_run(to, now);
        saga.deadline = policy.deadline(to, now);
        (saga.attempt, saga.generation, saga.looking) = (0, 1, false);
        saga.action_url = None;
    }

    /// The step told us nothing: the same request again, later.
    fn again(&mut self, asked: Option<Duration>) -> Verdict {
        self.saga.attempt = self.saga.attempt.saturating_add(1);
        let wait = self.at.policy.wait(self.saga.attempt, asked, self.at.random);
        self.run_in(wait);
        Verdict::Taken
    }

    /// The refusal was about the moment. Asked under the same key it would be given again.
    fn again_under_a_new_key(&mut self) -> Verdict {
        self.saga.generation = self.saga.generation.saturating_add(1);
        self.saga.attempt = self.saga.attempt.max(self.at.policy.quick_tries);
        self.again(None)
    }

    /// Nothing new: look again later.
    fn look_again(&mut self) -> Verdict {
        let policy = self.at.policy;
        match self.saga.status {
            Confirmed | Released | Dispatched => self.run_in(policy.look_after),
            AwaitingAction => self.run_in(policy.look_at_payment),
            Reserved | Packed | CompPay => {
                // By turns, so that neither a lost look nor a stored answer keeps us for ever.
                self.saga.looking = !self.saga.looking;
                self.saga.attempt = self.saga.attempt.max(policy.quick_tries);
                return self.again(None);
            }
            _ => return self.again(None),
        }
        self.saga.attempt = 0;
        Verdict::Taken
    }

    fn run_in(&mut self, wait: Duration) {
        let at = self.at.now + wait;
        self.saga.next_run_at = Some(self.saga.deadline.map_or(at, |deadline| at.min(deadline)));
    }
}
