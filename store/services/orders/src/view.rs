//! An order as its customer sees it.

use rusqlite::Connection;
use serde::Serialize;
use store_kit::{Money, OrderId, Problem, Sku, Timestamp};

use crate::machine::{FulfilmentState, PaymentState, Reason, Status};
use crate::order::{Address, Order, Totals};

#[derive(Debug, Serialize)]
pub(crate) struct View {
    id: OrderId,
    status: Status,
    payment_state: PaymentState,
    fulfilment_state: FulfilmentState,
    created_at: Timestamp,
    totals: Totals,
    lines: Vec<LineView>,
    ship_to: Address,
    shipping_option: String,
    tracking: Option<String>,
    reason: Option<Reason>,
    cancellable: bool,
    action: Option<ActionView>,
    timeline: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct LineView {
    sku: Sku,
    title: String,
    qty: u32,
    unit: Money,
}

/// What the customer has to do.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ActionView {
    Authenticate { url: String },
    NewCard,
}

#[derive(Debug, Serialize)]
struct Entry {
    step: &'static str,
    at: Timestamp,
    text: &'static str,
}

/// The steps in the order of a good day, then the others.
const STEPS: [(&str, &str); 16] = [
    ("received", "We have your order."),
    ("texted", "We sent you a text message."),
    ("reserved", "Your goods are set aside."),
    ("authorised", "Your card was accepted. Nothing is charged yet."),
    ("confirmed", "Your order is confirmed."),
    ("packed", "Your parcel is packed."),
    ("captured", "Your payment was taken."),
    ("released", "Your parcel may leave."),
    ("dispatched", "Your parcel is on its way."),
    ("counted_down", "Our shelf was counted down."),
    ("delivered", "Your parcel was delivered."),
    ("completed", "Your order is complete."),
    ("action_required", "Your bank wants to see that it is you."),
    ("declined", "Your card was declined."),
    ("cancelled", "Your order was cancelled."),
    ("refunded", "Your money was returned and the order closed."),
];

fn entry(step: &str, at: Timestamp) -> Option<Entry> {
    STEPS.iter().find(|(name, _)| *name == step).map(|(step, text)| Entry { step, at, text })
}

fn rank(step: &str) -> usize {
    STEPS.iter().position(|(name, _)| *name == step).unwrap_or(STEPS.len())
}

impl View {
    pub(crate) fn of(conn: &Connection, order: Order) -> Result<Self, Problem> {
        let timeline = timeline(conn, &order)?;
        let Order { agreed, saga, created_at, .. } = order;
        let action = match (saga.status, &saga.action_url) {
            _ if saga.cancel_requested => None,
            (Status::AwaitingAction, Some(url)) => {
                Some(ActionView::Authenticate { url: url.clone() })
            }
            (Status::AwaitingMethod, _) => Some(ActionView::NewCard),
            _ => None,
        };
        let line = |l: crate::order::Line| LineView {
            sku: l.sku,
            title: l.title,
            qty: l.qty,
            unit: l.unit,
        };
        Ok(Self {
            cancellable: saga.is_cancellable(),
            id: agreed.id,
            status: saga.status,
            payment_state: saga.payment,
            fulfilment_state: saga.fulfilment,
            created_at,
            totals: agreed.totals,
            lines: agreed.lines.into_iter().map(line).collect(),
            ship_to: agreed.ship_to,
            shipping_option: agreed.shipping_option,
            tracking: saga.tracking,
            reason: saga.reason,
            action,
            timeline,
        })
    }
}

/// What happened, by time; of one moment, in the order of a good day.
fn timeline(conn: &Connection, order: &Order) -> Result<Vec<Entry>, Problem> {
    let mut entries: Vec<Entry> = Vec::new();
    for (status, at, _) in order.log(conn)? {
        let step = match status.as_str() {
            "AWAITING_ACTION" => "action_required".to_owned(),
            "AWAITING_METHOD" => "declined".to_owned(),
            other => other.to_ascii_lowercase(),
        };
        // A second card makes the goods no more reserved than they were; a second refusal of a
        // card is news.
        let news = matches!(step.as_str(), "action_required" | "declined");
        if news || entries.iter().all(|entry| entry.step != step) {
            entries.extend(entry(&step, at));
        }
    }
    entries.extend(order.texted_at.and_then(|at| entry("texted", at)));
    entries.extend(order.counted_down_at.and_then(|at| entry("counted_down", at)));
    entries.sort_by_key(|entry| (entry.at, rank(entry.step)));
    Ok(entries)
}
