//! Orders and where they are.

use axum::http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use store_kit::{Callee, Money, NoAnswer, OrderId, Outcome, Sku, Timestamp};

use super::ACTION;
use super::buying::Address;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
    pub(crate) totals: OrderTotals,
    #[serde(default)]
    pub(crate) lines: Vec<OrderLine>,
    #[serde(default)]
    pub(crate) ship_to: Option<Address>,
    #[serde(default)]
    pub(crate) tracking: Option<String>,
    /// Why it is undone.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) cancellable: bool,
    #[serde(default)]
    pub(crate) action: Option<Action>,
    #[serde(default)]
    pub(crate) timeline: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrderTotals {
    pub(crate) subtotal: Money,
    pub(crate) discount: Money,
    pub(crate) shipping: Money,
    pub(crate) tax: Money,
    pub(crate) total: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrderLine {
    pub(crate) sku: Sku,
    pub(crate) title: String,
    pub(crate) qty: u32,
    pub(crate) unit: Money,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Action {
    Authenticate {
        url: String,
    },
    NewCard,
    /// Something that this version of the shop has not heard of.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) at: Timestamp,
}

impl Order {
    /// Nothing more will happen to it.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "COMPLETED" | "CANCELLED" | "REFUNDED")
    }

    pub(crate) fn is_undone(&self) -> bool {
        matches!(
            self.status.as_str(),
            "COMP_WH" | "COMP_PAY" | "COMP_INV" | "CANCELLED" | "REFUNDED"
        )
    }

    pub(crate) fn reached(&self, step: &str) -> Option<&Step> {
        self.timeline.iter().rev().find(|s| s.step == step)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OrderList {
    Items { items: Vec<Order> },
    Bare(Vec<Order>),
}

pub(crate) struct Orders {
    pub(crate) callee: Callee,
}

impl Orders {
    pub(crate) async fn get(&self, token: &str, id: &OrderId) -> Outcome<Order> {
        self.callee.get(format!("/v1/orders/{id}")).bearer(token).send().await
    }

    pub(crate) async fn list(&self, token: &str) -> Outcome<Vec<Order>> {
        let outcome = self.callee.get("/v1/orders").bearer(token).send::<OrderList>().await;
        match outcome {
            Outcome::Ok(answer) => Outcome::Ok(store_kit::Answer {
                status: answer.status,
                headers: answer.headers,
                body: match answer.body {
                    OrderList::Items { items } | OrderList::Bare(items) => items,
                },
            }),
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::NoAnswer(silence) => Outcome::NoAnswer(silence),
        }
    }

    /// The stream of its changes.
    pub(crate) async fn events(
        &self,
        token: &str,
        id: &OrderId,
    ) -> Result<Response<axum::body::Body>, NoAnswer> {
        self.callee
            .get(format!("/v1/orders/{id}/events"))
            .bearer(token)
            .header("accept", "text/event-stream")
            .stream()
            .await
    }

    pub(crate) async fn cancel(&self, token: &str, id: &OrderId) -> Outcome<Value> {
        self.callee
            .post(format!("/v1/orders/{id}/cancel"))
            .bearer(token)
            .timeout(ACTION)
            .send()
            .await
    }

    pub(crate) async fn new_card(&self, token: &str, id: &OrderId, card: &str) -> Outcome<Value> {
        let call = self
            .callee
            .post(format!("/v1/orders/{id}/payment-method"))
            .bearer(token)
            .timeout(ACTION);
        call.json(&json!({ "payment_token": card })).send().await
    }
}
