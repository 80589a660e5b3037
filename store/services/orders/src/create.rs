//! Taking an order: it is checked as a whole, written once, and its workflow is started for certain.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use store_kit::{
    CheckoutId, Currency, CustomerId, Money, OrderId, Problem, Reply, Tx, fingerprint,
};

use crate::App;
use crate::machine::Saga;
use crate::order::{Address, Agreed, Cart, Line, Order, Totals};
use crate::signal;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    order_id: OrderId,
    checkout_id: CheckoutId,
    customer_id: CustomerId,
    cart: Cart,
    lines: Vec<Line>,
    totals: Totals,
    ship_to: Address,
    shipping_option: String,
    payment_token: String,
}

impl NewOrder {
    /// # Errors
    /// 422 with every member that is wrong.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let mut wrong = Problem::validation("This order cannot be taken.");
        if !(1..=50).contains(&self.lines.len()) {
            wrong = wrong.field("/lines", "1 to 50 lines");
        }
        let mut seen = BTreeSet::new();
        for (at, line) in self.lines.iter().enumerate() {
            if !(1..=99).contains(&line.qty) {
                wrong = wrong.field(format!("/lines/{at}/qty"), "1 to 99");
            }
            if !is_text(&line.title, 300) {
                wrong = wrong.field(format!("/lines/{at}/title"), "1 to 300 characters");
            }
            if !seen.insert(&line.sku) {
                wrong = wrong.field(format!("/lines/{at}/sku"), "stands here twice");
            }
        }
        for (pointer, text) in [
            ("/ship_to/name", &self.ship_to.name),
            ("/ship_to/line1", &self.ship_to.line1),
            ("/ship_to/postcode", &self.ship_to.postcode),
            ("/ship_to/city", &self.ship_to.city),
            ("/ship_to/country", &self.ship_to.country),
            ("/shipping_option", &self.shipping_option),
            ("/payment_token", &self.payment_token),
        ] {
            if !is_text(text, 200) {
                wrong = wrong.field(pointer, "1 to 200 characters");
            }
        }
        let wrong = self.check_amounts(wrong);
        if wrong.has_fields() { Err(wrong) } else { Ok(()) }
    }

    /// The total must be its parts, to the cent: nobody has to trust anybody's addition.
    fn check_amounts(&self, mut wrong: Problem) -> Problem {
        let Totals { subtotal, discount, shipping, tax, total } = self.totals;
        let named = [
            ("subtotal", subtotal),
            ("discount", discount),
            ("shipping", shipping),
            ("tax", tax),
            ("total", total),
        ];
        let units = self
            .lines
            .iter()
            .enumerate()
            .map(|(at, line)| (format!("/lines/{at}/unit"), line.unit));
        for (pointer, money) in
            named.map(|(name, money)| (format!("/totals/{name}"), money)).into_iter().chain(units)
        {
            if money.amount_minor < 0 {
                wrong = wrong.field(pointer, "below zero");
            } else if money.currency != Currency::EUR {
                wrong = wrong.field(pointer, "the store sells in EUR");
            }
        }
        let lines = self
            .lines
            .iter()
            .try_fold(Money::eur(0), |sum, line| sum.plus(line.unit.times(line.qty)?));
        match lines {
            Ok(sum) if sum == subtotal => {}
            Ok(sum) => wrong = wrong.field("/totals/subtotal", format!("the lines are {sum}")),
            Err(error) => wrong = wrong.field("/totals/subtotal", error.to_string()),
        }
        let parts = subtotal
            .minus(discount)
            .and_then(|sum| sum.plus(shipping))
            .and_then(|sum| sum.plus(tax));
        match parts {
            Ok(sum) if sum == total && total.amount_minor > 0 => wrong,
            Ok(sum) if sum == total => wrong.field("/totals/total", "there is nothing to pay"),
            Ok(sum) => wrong.field("/totals/total", format!("the parts are {sum}")),
            Err(error) => wrong.field("/totals/total", error.to_string()),
        }
    }
}

fn is_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.trim().chars().count()) && text.chars().count() <= max
}

/// Takes the order: 201, or 200 when we have it already.
///
/// # Errors
/// 409 `order-differs` when we have another one under this id, or one of the same checkout.
pub(crate) fn take(app: &App, tx: &Tx<'_>, new: NewOrder) -> Result<Reply, Problem> {
    let print = fingerprint("order", serde_json::to_value(&new)?);
    if let Some(known) = Order::find(tx, &new.order_id)? {
        let same: String = tx
            .prepare_cached("SELECT fingerprint FROM orders WHERE id = ?")?
            .query_row([&new.order_id], |row| row.get(0))?;
        if same != print {
            return Err(differs(format!("{} was taken with other content.", new.order_id)));
        }
        return reply(200, &known.agreed.id, &known.saga);
    }
    if tx
        .prepare_cached("SELECT 1 FROM orders WHERE checkout_id = ?")?
        .exists([&new.checkout_id])?
    {
        return Err(differs(format!("{} has an order of another id.", new.checkout_id)));
    }
    let NewOrder {
        order_id,
        checkout_id,
        customer_id,
        cart,
        lines,
        totals,
        ship_to,
        shipping_option,
        payment_token,
    } = new;
    let agreed = Agreed {
        id: order_id,
        checkout_id,
        customer_id,
        cart,
        lines,
        totals,
        ship_to,
        shipping_option,
    };
    let saga = Saga::received(tx.now(), &app.policy);
    Order::insert(tx, &agreed, &saga, &payment_token, &print)?;
    signal::begin(app, tx, &agreed.id)?;
    reply(201, &agreed.id, &saga)
}

fn differs(detail: String) -> Problem {
    Problem::new(409, "order-differs", "There is another order").detail(detail)
}

fn reply(status: u16, id: &OrderId, saga: &Saga) -> Result<Reply, Problem> {
    Reply::json(
        status,
        &json!({"order_id": id, "status": saga.status, "status_url": format!("/orders/{id}")}),
    )
}
