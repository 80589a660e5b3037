//! Carts and checkouts.

use serde::Deserialize;
use serde_json::{Value, json};
use store_kit::{Callee, CartId, CheckoutId, CustomerId, Money, OrderId, Outcome, Sku};

use super::ACTION;
use crate::lang::Lang;
use crate::shelf::Pulse;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cart {
    pub(crate) id: CartId,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) sku: Sku,
    pub(crate) qty: u32,
    #[serde(default)]
    pub(crate) seen_price: Option<Money>,
}

impl Cart {
    pub(crate) fn is_open(&self) -> bool {
        self.state == "OPEN"
    }

    pub(crate) fn things(&self) -> u32 {
        self.lines.iter().fold(0, |n, line| n.saturating_add(line.qty))
    }
}

pub(crate) struct Carts {
    pub(crate) callee: Callee,
    pub(crate) pulse: Pulse,
}

impl Carts {
    pub(crate) async fn create(&self, owner: Option<&CustomerId>) -> Outcome<Cart> {
        let body = owner.map_or_else(|| json!({}), |owner| json!({ "owner": owner }));
        self.callee.post("/v1/carts").timeout(ACTION).json(&body).send().await
    }

    pub(crate) async fn get(&self, id: &CartId) -> Outcome<Cart> {
        let outcome = self.callee.get(format!("/v1/carts/{id}")).send().await;
        match outcome {
            Outcome::NoAnswer(_) => self.pulse.bad(),
            _ => self.pulse.good(),
        }
        outcome
    }

    pub(crate) async fn put(
        &self,
        id: &CartId,
        sku: &Sku,
        qty: u32,
        seen: Option<Money>,
    ) -> Outcome<Cart> {
        let body = match seen {
            Some(seen) => json!({"qty": qty, "seen_price": seen}),
            None => json!({ "qty": qty }),
        };
        self.callee
            .put(format!("/v1/carts/{id}/lines/{sku}"))
            .timeout(ACTION)
            .json(&body)
            .send()
            .await
    }

    pub(crate) async fn remove(&self, id: &CartId, sku: &Sku) -> Outcome<Value> {
        self.callee.delete(format!("/v1/carts/{id}/lines/{sku}")).timeout(ACTION).send().await
    }

    /// Moves the lines of `from` into `id`.
    pub(crate) async fn merge(&self, id: &CartId, from: &CartId) -> Outcome<Cart> {
        let call = self.callee.post(format!("/v1/carts/{id}:merge")).timeout(ACTION);
        call.json(&json!({ "from": from })).send().await
    }
}

/// Of a checkout we show the address and look at little else.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Started {
    pub(crate) id: CheckoutId,
    pub(crate) order_id: OrderId,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) address: Option<Address>,
    #[serde(default)]
    pub(crate) shipping_option: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, serde::Serialize, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) line1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line2: Option<String>,
    pub(crate) postcode: String,
    pub(crate) city: String,
    pub(crate) country: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Quote {
    pub(crate) quote_hash: String,
    pub(crate) lines: Vec<QuoteLine>,
    #[serde(default)]
    pub(crate) shipping_options: Vec<ShippingOption>,
    pub(crate) totals: Totals,
    #[serde(default)]
    pub(crate) degraded: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct QuoteLine {
    pub(crate) sku: Sku,
    pub(crate) title: String,
    pub(crate) qty: u32,
    pub(crate) unit: Money,
    pub(crate) line_total: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShippingOption {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) amount: Money,
    pub(crate) days_min: i64,
    pub(crate) days_max: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Totals {
    pub(crate) subtotal: Money,
    pub(crate) discount: Money,
    pub(crate) shipping: Money,
    pub(crate) tax: Money,
    #[serde(default)]
    pub(crate) tax_included: Option<Money>,
    pub(crate) total: Money,
}

pub(crate) struct Checkouts {
    pub(crate) callee: Callee,
}

impl Checkouts {
    pub(crate) async fn create(&self, cart: &CartId, customer: &CustomerId) -> Outcome<Started> {
        let body = json!({"cart_id": cart, "customer_id": customer});
        self.callee.post("/v1/checkouts").timeout(ACTION).json(&body).send().await
    }

    pub(crate) async fn get(&self, id: &CheckoutId) -> Outcome<Started> {
        self.callee.get(format!("/v1/checkouts/{id}")).timeout(ACTION).send().await
    }

    pub(crate) async fn patch(&self, id: &CheckoutId, change: &Value) -> Outcome<Started> {
        self.callee.patch(format!("/v1/checkouts/{id}")).timeout(ACTION).json(change).send().await
    }

    pub(crate) async fn quote(&self, id: &CheckoutId, lang: Lang) -> Outcome<Quote> {
        let call = self
            .callee
            .post(format!("/v1/checkouts/{id}/quote"))
            .header("accept-language", lang.tag());
        // It asks three others in turn.
        call.timeout(ACTION * 2).send().await
    }

    pub(crate) async fn submit(
        &self,
        id: &CheckoutId,
        key: &str,
        quote_hash: &str,
    ) -> Outcome<Value> {
        let call = self.callee.post(format!("/v1/checkouts/{id}/submit")).key(key);
        call.timeout(ACTION * 2).json(&json!({ "quote_hash": quote_hash })).send().await
    }
}
