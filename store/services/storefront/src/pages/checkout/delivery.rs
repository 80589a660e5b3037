//! Step 2: how it travels.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use store_kit::Outcome;

use super::{State, Step, again, away, bill, current, finish, page, state};
use crate::back::buying::{Quote, ShippingOption};
use crate::pages::cart::Said;
use crate::parts::notice;
use crate::visit::{Posted, Visit};

#[derive(Deserialize)]
pub(crate) struct Form {
    #[serde(default)]
    shipping_option: String,
}

pub(crate) async fn show(mut visit: Visit, Query(Said { said }): Query<Said>) -> Response {
    let Some(checkout) = current(&visit) else { return visit.go("/checkout/address") };
    let started = match state(&visit, &checkout).await {
        State::Open(started) => started,
        State::Sent => {
            let to = finish(&mut visit, &checkout);
            return visit.go(&to);
        }
        State::Gone => return again(visit),
        State::Away => return away(visit).await,
    };
    if started.address.is_none() {
        return visit.go("/checkout/address");
    }
    match visit.shop.back.checkout.quote(&checkout.id, visit.lang).await {
        Outcome::Ok(answer) => {
            let quote = answer.body;
            let form = options(&visit, &quote, started.shipping_option.as_deref(), &said);
            let aside = bill(&visit, &quote);
            let heading = visit.t("How shall it travel?", "Comment doit-il voyager ?");
            page(visit, Step::Delivery, heading, form, aside).await
        }
        Outcome::Refused(refusal) => super::review::refused(visit, &refusal, Step::Delivery).await,
        Outcome::NoAnswer(_) => away(visit).await,
    }
}

fn options(visit: &Visit, quote: &Quote, chosen: Option<&str>, said: &str) -> Markup {
    let first = quote.shipping_options.first().map(|o| o.id.as_str());
    let chosen = chosen.filter(|id| quote.shipping_options.iter().any(|o| o.id == *id)).or(first);
    html! {
        @if said == "choose" {
            (notice("bad", html! { (visit.t("Please choose one of these.", "Choisissez l’une de ces options.")) }))
        }
        @if quote.degraded {
            (notice("quiet", html! { (visit.t("The warehouse is not answering; these are its usual rates, and they will be kept.", "L’entrepôt ne répond pas ; voici ses tarifs habituels, qui seront respectés.")) }))
        }
        form.stack action="/checkout/delivery" method="post" {
            (visit.form_token())
            fieldset.options {
                legend.sr { (visit.t("Delivery", "Livraison")) }
                @for option in &quote.shipping_options {
                    label.option {
                        input type="radio" name="shipping_option" value=(option.id) checked[Some(option.id.as_str()) == chosen] required;
                        span.name { (label(visit, option)) small { (days(visit, option)) } }
                        span.amount { (visit.money(option.amount)) }
                    }
                }
            }
            p.forward { button type="submit" { (visit.t("Continue to payment", "Continuer vers le paiement")) } }
        }
    }
}

/// The warehouse names its options in one language; ours are known by their ids.
fn label<'o>(visit: &Visit, option: &'o ShippingOption) -> &'o str {
    match option.id.as_str() {
        "standard" => visit.t("Standard", "Standard"),
        "express" => visit.t("Express", "Express"),
        _ => &option.label,
    }
}

pub(super) fn days(visit: &Visit, option: &ShippingOption) -> String {
    let word = visit.t("working days", "jours ouvrés");
    if option.days_min == option.days_max {
        let one = (visit.t("working day", word), visit.t("working day", "jour ouvré"));
        let word = if option.days_max == 1 { one.1 } else { word };
        return format!("{}\u{a0}{word}", option.days_max);
    }
    format!("{}–{}\u{a0}{word}", option.days_min, option.days_max)
}

pub(crate) async fn save(Posted { mut visit, form }: Posted<Form>) -> Response {
    let Some(mut checkout) = current(&visit) else { return visit.go("/checkout/address") };
    if form.shipping_option.is_empty() || form.shipping_option.len() > 40 {
        return visit.go("/checkout/delivery?said=choose");
    }
    let change = json!({ "shipping_option": form.shipping_option });
    match visit.shop.back.checkout.patch(&checkout.id, &change).await {
        Outcome::Ok(_) => {
            checkout.delivery = true;
            let next = if checkout.card { "/checkout/review" } else { "/checkout/payment" };
            visit.session.checkout = Some(checkout);
            visit.go(next)
        }
        Outcome::Refused(refusal) if refusal.status == 422 => {
            visit.go("/checkout/delivery?said=choose")
        }
        Outcome::Refused(_) => again(visit),
        Outcome::NoAnswer(_) => away(visit).await,
    }
}
