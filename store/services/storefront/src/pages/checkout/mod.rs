//! Buying, in four steps: where to, how, with which card, and a last look.
//!
//! ```text
//! address → delivery → payment (the provider's page, and back with a token) → review → submit
//! ```
//!
//! Each step is a page with a form; each form changes the checkout and goes to the next. A step
//! that lacks an earlier one sends the browser there, so any of them can be opened directly.
//! No amount is ever sent: the checkout service asks catalog and warehouse itself.

pub(crate) mod address;
pub(crate) mod delivery;
pub(crate) mod payment;
pub(crate) mod review;

use axum::response::Response;
use maud::{Markup, html};
use store_kit::Outcome;

use crate::back::buying::{Quote, Started};
use crate::layout::Page;
use crate::pages::cart::{Basket, basket};
use crate::pages::problem;
use crate::parts::{icon, row};
use crate::session;
use crate::visit::Visit;

/// `/checkout`: to the first step that is not done.
pub(crate) async fn start(mut visit: Visit) -> Response {
    match basket(&mut visit).await {
        Basket::Empty => return visit.go("/cart"),
        Basket::Away => return away(visit).await,
        Basket::Full(_) => {}
    }
    let next = match &visit.session.checkout {
        Some(checkout) if Some(&checkout.cart) == visit.session.cart.as_ref() => {
            match (checkout.delivery, checkout.card) {
                (false, _) => "/checkout/delivery",
                (true, false) => "/checkout/payment",
                (true, true) => "/checkout/review",
            }
        }
        _ => "/checkout/address",
    };
    visit.go(next)
}

/// The checkout of the cart at hand, as the session knows it.
fn current(visit: &Visit) -> Option<session::Checkout> {
    visit
        .session
        .checkout
        .clone()
        .filter(|checkout| Some(&checkout.cart) == visit.session.cart.as_ref())
}

/// What became of the checkout while we were looking at something else.
enum State {
    Open(Box<Started>),
    /// It has become an order.
    Sent,
    /// Expired or unknown: start again.
    Gone,
    Away,
}

async fn state(visit: &Visit, checkout: &session::Checkout) -> State {
    match visit.shop.back.checkout.get(&checkout.id).await {
        Outcome::Ok(answer) => match answer.body.state.as_str() {
            "SUBMITTED" | "ORDERED" => State::Sent,
            "EXPIRED" => State::Gone,
            _ => State::Open(Box::new(answer.body)),
        },
        Outcome::Refused(_) => State::Gone,
        Outcome::NoAnswer(_) => State::Away,
    }
}

/// After the order is sent: nothing of the purchase is kept but the order itself.
fn finish(visit: &mut Visit, checkout: &session::Checkout) -> String {
    let now = visit.now();
    visit.session.remember_sent(checkout.order.clone(), Some(checkout.cart.clone()), now);
    visit.session.checkout = None;
    visit.session.cart = None;
    visit.session.things = 0;
    format!("/orders/{}", checkout.order)
}

async fn away(visit: Visit) -> Response {
    let title = visit.t("The till is closed for a moment", "La caisse est fermée un instant");
    let text = visit.t(
        "The part of the shop that takes orders does not answer. Your basket is safe and nothing was charged; please try again in a moment.",
        "La partie de la boutique qui prend les commandes ne répond pas. Votre panier est en sûreté et rien n’a été débité ; réessayez dans un instant.",
    );
    problem::away(visit, title, text).await
}

/// Starts over with the address.
fn again(mut visit: Visit) -> Response {
    visit.session.checkout = None;
    visit.go("/checkout/address?said=again")
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Address,
    Delivery,
    Payment,
    Review,
}

/// A page of the checkout: the steps, the form, and beside it what is being bought.
async fn page(visit: Visit, step: Step, heading: &str, form: Markup, aside: Markup) -> Response {
    let body = html! {
        div.wrap.checkout {
            (steps(&visit, step))
            div.split {
                section aria-labelledby="step" {
                    h1 #step { (heading) }
                    (form)
                }
                (aside)
            }
        }
    };
    let page = Page::new(heading, body).quiet();
    visit.page(page).await
}

fn steps(visit: &Visit, now: Step) -> Markup {
    let all = [
        (Step::Address, "/checkout/address", visit.t("Address", "Adresse")),
        (Step::Delivery, "/checkout/delivery", visit.t("Delivery", "Livraison")),
        (Step::Payment, "/checkout/payment", visit.t("Payment", "Paiement")),
        (Step::Review, "/checkout/review", visit.t("Review", "Vérification")),
    ];
    html! {
        nav.steps aria-label=(visit.t("Steps of your order", "Étapes de votre commande")) {
            ol {
                @for (i, (step, to, name)) in all.iter().enumerate() {
                    li.done[*step < now] aria-current=[(*step == now).then_some("step")] {
                        @if *step < now {
                            a href=(to) { span.n { (icon("check")) } (name) span.sr { " – " (visit.t("done, change", "fait, modifier")) } }
                        } @else {
                            span { span.n { (i + 1) } (name) }
                        }
                    }
                }
            }
        }
    }
}

/// The bill beside the form.
fn bill(visit: &Visit, quote: &Quote) -> Markup {
    let totals = &quote.totals;
    html! {
        aside.summary aria-labelledby="sum" {
            h2 #sum { (visit.t("Your order", "Votre commande")) }
            ul.short role="list" {
                @for line in &quote.lines {
                    li { span { (line.qty) " × " (line.title) } span.amount { (visit.money(line.line_total)) } }
                }
            }
            (sums(visit, totals))
        }
    }
}

pub(crate) fn sums(visit: &Visit, totals: &crate::back::buying::Totals) -> Markup {
    html! {
        dl.bill {
            (row(visit, visit.t("Items", "Articles"), totals.subtotal))
            @if totals.discount.amount_minor != 0 {
                (row(visit, visit.t("Discount", "Remise"), store_kit::Money::new(-totals.discount.amount_minor, totals.discount.currency)))
            }
            (row(visit, visit.t("Delivery", "Livraison"), totals.shipping))
            @if totals.tax.amount_minor != 0 { (row(visit, visit.t("Tax", "Taxe"), totals.tax)) }
            div.total { dt { (visit.t("Total", "Total")) } dd { (visit.money(totals.total)) } }
            @if let Some(included) = totals.tax_included.filter(|t| t.amount_minor != 0) {
                div.fine { dt { (visit.t("of which tax", "dont TVA")) } dd { (visit.money(included)) } }
            }
        }
    }
}
