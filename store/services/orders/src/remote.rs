//! Performs one action of the saga by HTTP.
//!
//! A party that does not answer several times in a row is taken as away: nobody waits for it
//! any more, until it answers a probe (`breaker`). So an outage of one party costs the orders
//! that do not need it nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store_kit::{Call, Callee, Env, NoAnswer, Outcome, StartError};
use tokio::sync::Notify;

use crate::machine::{Action, Answer, Fulfilment, Party, Payment};
use crate::order::Order;

/// So many calls without any answer, and a party is taken as away.
const SILENT_MAX: u32 = 5;

pub(crate) struct Remote {
    inventory: Line,
    payments: Line,
    warehouse: Line,
    /// A party went away.
    pub(crate) lost: Notify,
}

struct Line {
    callee: Callee,
    silent: AtomicU32,
}

impl Line {
    fn is_away(&self) -> bool {
        self.silent.load(Ordering::Relaxed) >= SILENT_MAX
    }
}

impl Remote {
    pub(crate) fn new(env: &Env) -> Result<Self, StartError> {
        let line = |name| {
            Ok::<_, StartError>(Line { callee: env.callee(name)?, silent: AtomicU32::new(0) })
        };
        Ok(Self {
            inventory: line("inventory")?,
            payments: line("payments")?,
            warehouse: line("warehouse")?,
            lost: Notify::new(),
        })
    }

    fn line(&self, party: Party) -> &Line {
        match party {
            Party::Inventory => &self.inventory,
            Party::Payments => &self.payments,
            Party::Warehouse => &self.warehouse,
        }
    }

    /// Asks for `action`, and says what is known afterwards. Safe to repeat: a repetition has
    /// the same key.
    pub(crate) async fn perform(
        &self,
        action: Action,
        order: &Order,
        timeout: Duration,
        hold: Duration,
    ) -> Answer {
        let line = self.line(action.party());
        if line.is_away() {
            return Answer::Silent(None);
        }
        let call = call(&line.callee, action, order, hold).timeout(timeout);
        let call = match action.key(order.agreed.id.as_str()) {
            Some(key) => call.key(key),
            None => call,
        };
        let (answer, silence) = match action.party() {
            Party::Inventory => conclude::<Value>(call, |_| Answer::Done).await,
            Party::Payments => conclude::<Payment>(call, Answer::Payment).await,
            Party::Warehouse => conclude::<Fulfilment>(call, Answer::Fulfilment).await,
        };
        match silence {
            // Whoever answers at all, be it with an error, is there.
            None | Some(NoAnswer { status: Some(_), .. }) => {
                line.silent.store(0, Ordering::Relaxed)
            }
            Some(NoAnswer { status: None, .. }) => self.note_silence(action.party()),
        }
        if let Some(silence) = silence {
            tracing::debug!(order_id = %order.agreed.id, ?action, why = silence.why, "no answer");
        }
        answer
    }

    fn note_silence(&self, party: Party) {
        if self.line(party).silent.fetch_add(1, Ordering::Relaxed) + 1 == SILENT_MAX {
            tracing::warn!(
                party = party.as_str(),
                "does not answer; asking its health until it does"
            );
            self.lost.notify_one();
        }
    }

    pub(crate) fn away(&self) -> Vec<Party> {
        Party::ALL.iter().copied().filter(|party| self.line(*party).is_away()).collect()
    }

    /// Whether a party that was away is back. It is asked again from then on.
    pub(crate) async fn is_back(&self, party: Party) -> bool {
        let line = self.line(party);
        let probe = line.callee.get("/healthz").timeout(Duration::from_millis(500)).send::<Value>();
        let back = match probe.await {
            Outcome::Ok(_) | Outcome::Refused(_) => true,
            Outcome::NoAnswer(silence) => silence.status.is_some(),
        };
        if back {
            line.silent.store(0, Ordering::Relaxed);
            tracing::info!(party = party.as_str(), "answers again");
        }
        back
    }
}

async fn conclude<T: DeserializeOwned>(
    call: Call,
    done: impl FnOnce(T) -> Answer,
) -> (Answer, Option<NoAnswer>) {
    match call.send::<T>().await {
        Outcome::Ok(answer) => (done(answer.body), None),
        Outcome::Refused(refusal) => (Answer::Refused(refusal.code), None),
        Outcome::NoAnswer(silence) => (Answer::Silent(silence.retry_after), Some(silence)),
    }
}

/// The request of an action, without its key.
fn call(callee: &Callee, action: Action, order: &Order, hold: Duration) -> Call {
    let agreed = &order.agreed;
    let (id, total) = (&agreed.id, agreed.totals.total);
    let reservation = format!("/v1/reservations/{id}");
    let payment = format!("/v1/orders/{id}/payment");
    let fulfilment = format!("/v1/fulfilments/{id}");
    match action {
        Action::Reserve => {
            let line = |line: &crate::order::Line| json!({"sku": line.sku, "qty": line.qty});
            let lines: Vec<Value> = agreed.lines.iter().map(line).collect();
            callee.put(reservation).json(&json!({"lines": lines, "ttl_s": hold.as_secs()}))
        }
        Action::ExtendHold => {
            callee.post(format!("{reservation}/extend")).json(&json!({"ttl_s": hold.as_secs()}))
        }
        Action::Confirm => callee.post(format!("{reservation}/confirm")),
        Action::FreeStock => callee.delete(reservation),
        Action::Authorise { attempt } => callee.post("/v1/payments").json(&json!({
            "order_id": id,
            "attempt": attempt,
            "amount": total,
            "method_token": order.method_token,
            "capture": "manual",
            "return_url": format!("/orders/{id}"),
        })),
        Action::LookAtPayment => callee.get(payment),
        Action::Capture => callee.post(format!("{payment}/capture")),
        Action::Void => callee.post(format!("{payment}/void")),
        Action::Refund => callee.post(format!("{payment}/refunds")).json(&json!({"amount": total})),
        Action::LookAtFulfilment => callee.get(fulfilment),
        Action::Release { .. } => callee
            .post(format!("{fulfilment}/release"))
            .json(&json!({"capture_id": order.saga.capture_id})),
        Action::CancelFulfilment { .. } => callee.post(format!("{fulfilment}/cancel")),
    }
}
