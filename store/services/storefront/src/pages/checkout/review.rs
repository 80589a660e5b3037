//! Step 4: a last look, and one button.
//!
//! The form carries an idempotency key made of the checkout and the quote: a double click, a
//! reload or a second tab all send the same key, and the checkout makes one order of them.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use store_kit::{Money, Outcome, Refusal};

use super::{State, Step, again, away, bill, current, finish, page, state};
use crate::back::buying::Quote;
use crate::pages::cart::Said;
use crate::parts::{self, icon, notice};
use crate::visit::{Posted, Visit};

pub(crate) async fn show(mut visit: Visit, Query(Said { said }): Query<Said>) -> Response {
    let Some(checkout) = current(&visit) else { return visit.go("/checkout") };
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
    if !checkout.delivery {
        return visit.go("/checkout/delivery");
    }
    if !checkout.card {
        return visit.go("/checkout/payment");
    }
    let quote = match visit.shop.back.checkout.quote(&checkout.id, visit.lang).await {
        Outcome::Ok(answer) => answer.body,
        Outcome::Refused(refusal) => return refused(visit, &refusal, Step::Review).await,
        Outcome::NoAnswer(_) => return away(visit).await,
    };
    let key = format!("submit:{}:{}", checkout.id, quote.quote_hash);
    let heading = visit.t("One last look", "Un dernier regard");
    let body = html! {
        @match said.as_str() {
            "expired" => { (notice("warn", html! { (visit.t("The offer had run out and was made again. Please look at it once more.", "L’offre avait expiré et a été refaite. Regardez-la à nouveau.")) })) }
            "incomplete" => { (notice("warn", html! { (visit.t("Something was missing. Please go through the steps above.", "Il manquait quelque chose. Reprenez les étapes ci-dessus.")) })) }
            _ => {}
        }
        @if quote.degraded {
            (notice("quiet", html! { (visit.t("The warehouse is not answering; delivery is charged at its usual rate.", "L’entrepôt ne répond pas ; la livraison est au tarif habituel.")) }))
        }
        div.recap {
            section {
                h2 { (icon("home")) (visit.t("To", "Pour")) }
                @if let Some(address) = &started.address { (parts::address(visit.lang, address)) }
                a href="/checkout/address" { (visit.t("Change", "Modifier")) span.sr { " " (visit.t("the address", "l’adresse")) } }
            }
            section {
                h2 { (icon("boat")) (visit.t("By", "Par")) }
                p { (travel(&visit, &quote, started.shipping_option.as_deref())) }
                a href="/checkout/delivery" { (visit.t("Change", "Modifier")) span.sr { " " (visit.t("the delivery", "la livraison")) } }
            }
            section {
                h2 { (icon("card")) (visit.t("Paid with", "Payé avec")) }
                p { (visit.t("The card you chose", "La carte choisie")) }
                a href="/checkout/payment" { (visit.t("Change", "Modifier")) span.sr { " " (visit.t("the card", "la carte")) } }
            }
        }
        ul.lines.compact role="list" {
            @for line in &quote.lines {
                li.line {
                    div.what {
                        h3 { (line.title) }
                        p.sub { code { (line.sku) } }
                    }
                    p.unit { (line.qty) " × " (visit.money(line.unit)) }
                    p.line-total { (visit.money(line.line_total)) }
                }
            }
        }
        form.stack action="/checkout/submit" method="post" data-once {
            (visit.form_token())
            input type="hidden" name="quote_hash" value=(quote.quote_hash);
            input type="hidden" name="key" value=(key);
            p.forward {
                button.large type="submit" { (visit.t("Place the order", "Passer la commande")) " · " (visit.money(quote.totals.total)) }
            }
            p.fine { (visit.t("You can cancel until your parcel is packed.", "Vous pouvez annuler jusqu’à l’emballage du colis.")) }
        }
    };
    let aside = bill(&visit, &quote);
    page(visit, Step::Review, heading, body, aside).await
}

fn travel(visit: &Visit, quote: &Quote, chosen: Option<&str>) -> String {
    let option = quote.shipping_options.iter().find(|o| Some(o.id.as_str()) == chosen);
    match option {
        Some(o) => {
            let name = match o.id.as_str() {
                "standard" => "Standard",
                "express" => "Express",
                _ => &o.label,
            };
            format!("{name}, {}", super::delivery::days(visit, o))
        }
        None => visit.t("the delivery you chose", "la livraison choisie").to_owned(),
    }
}

#[derive(Deserialize)]
pub(crate) struct Form {
    quote_hash: String,
    key: String,
}

pub(crate) async fn submit(Posted { mut visit, form }: Posted<Form>) -> Response {
    let Some(checkout) = visit.session.checkout.clone() else {
        // The second click of two, after the first has gone through.
        let to = visit.session.sent.first().map(|s| format!("/orders/{}", s.order));
        return visit.go(to.as_deref().unwrap_or("/cart"));
    };
    let fits =
        form.key == format!("submit:{}:{}", checkout.id, form.quote_hash) && form.key.len() <= 255;
    if !fits {
        return visit.go("/checkout/review?said=expired");
    }
    match visit.shop.back.checkout.submit(&checkout.id, &form.key, &form.quote_hash).await {
        Outcome::Ok(_) => {
            let to = finish(&mut visit, &checkout);
            visit.go(&to)
        }
        Outcome::Refused(refusal) => match refusal.code.as_str() {
            "quote-expired" => visit.go("/checkout/review?said=expired"),
            "price-changed" | "cart-empty" | "cart-closed" => {
                refused(visit, &refusal, Step::Review).await
            }
            _ if refusal.status == 422 => visit.go("/checkout/review?said=incomplete"),
            _ => again(visit),
        },
        Outcome::NoAnswer(_) => unsure(visit).await,
    }
}

/// We do not know whether it went through. The same button with the same key finds out and can
/// do no harm.
async fn unsure(mut visit: Visit) -> Response {
    visit.here = "/checkout/review".into();
    let title = visit.t("No answer yet", "Pas encore de réponse");
    let text = visit.t(
        "We sent your order and did not hear back in time. Trying again is safe: it can only become one order, and you will land on it if it went through.",
        "Nous avons envoyé votre commande sans recevoir de réponse à temps. Réessayer est sans risque : elle ne peut devenir qu’une seule commande, et vous y arriverez si elle est passée.",
    );
    crate::pages::problem::away(visit, title, text).await
}

/// The checkout says no: changed prices can be agreed to, an empty cart leads back.
pub(crate) async fn refused(visit: Visit, refusal: &Refusal, step: Step) -> Response {
    match refusal.code.as_str() {
        "price-changed" => changed_prices(visit, refusal, step).await,
        "cart-empty" | "cart-closed" => visit.go("/cart"),
        _ if refusal.status == 422 => visit.go("/checkout/address"),
        _ => {
            tracing::warn!(
                status = refusal.status,
                code = refusal.code,
                detail = refusal.detail,
                "no quote"
            );
            again(visit)
        }
    }
}

async fn changed_prices(visit: Visit, refusal: &Refusal, step: Step) -> Response {
    let changes = refusal.body["changes"].as_array().cloned().unwrap_or_default();
    let skus: Vec<store_kit::Sku> =
        changes.iter().filter_map(|c| c["sku"].as_str()?.parse().ok()).collect();
    let known =
        visit.shop.back.catalog.variants(visit.lang, &skus.iter().collect::<Vec<_>>()).await;
    let money = |value: &serde_json::Value| serde_json::from_value::<Money>(value.clone()).ok();
    let heading = visit.t("Prices have changed", "Des prix ont changé");
    let rows: Vec<Markup> = changes
        .iter()
        .map(|change| {
            let sku = change["sku"].as_str().unwrap_or_default();
            let variant = known.value().and_then(|v| v.items.iter().find(|v| v.sku.as_str() == sku));
            let title = variant.map_or(sku.to_owned(), |v| format!("{} {}", v.title, v.options.words()));
            html! {
                li.line {
                    div.what { h3 { (title) } }
                    p.unit { @if let Some(was) = money(&change["was"]) { s { (visit.money(was)) } } }
                    p.line-total { @if let Some(now) = money(&change["now"]) { (visit.money(now)) } }
                }
            }
        })
        .collect();
    let body = html! {
        p.lead { (visit.t("Since you put them into your basket, these are priced differently:", "Depuis leur mise au panier, ceux-ci ont un autre prix :")) }
        ul.lines.compact role="list" { @for row in &rows { (row) } }
        form.stack action="/cart/prices" method="post" {
            (visit.form_token())
            p.forward {
                button type="submit" { (visit.t("Go on with the new prices", "Continuer aux nouveaux prix")) }
                a.button.quiet href="/cart" { (visit.t("Back to the basket", "Retour au panier")) }
            }
        }
    };
    page(visit, step, heading, body, html! {}).await
}
