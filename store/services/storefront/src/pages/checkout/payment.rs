//! Step 3: the card. It is typed at the provider's page and never seen here; the browser comes
//! back with a token that stands for it.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use serde_json::json;
use store_kit::Outcome;

use super::{State, Step, again, away, bill, current, finish, page, state};
use crate::layout::NAME;
use crate::parts::{icon, notice};
use crate::visit::Visit;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    payment_token: String,
    /// Proves that the browser left from our page: nobody can put a card into another's checkout.
    #[serde(default)]
    state: String,
}

pub(crate) async fn show(mut visit: Visit, Query(asked): Query<Asked>) -> Response {
    let Some(checkout) = current(&visit) else { return visit.go("/checkout") };
    if !asked.payment_token.is_empty() {
        return back_with(visit, checkout, &asked).await;
    }
    match state(&visit, &checkout).await {
        State::Open(started) if started.address.is_none() => return visit.go("/checkout/address"),
        State::Open(_) => {}
        State::Sent => {
            let to = finish(&mut visit, &checkout);
            return visit.go(&to);
        }
        State::Gone => return again(visit),
        State::Away => return away(visit).await,
    }
    let quote = match visit.shop.back.checkout.quote(&checkout.id, visit.lang).await {
        Outcome::Ok(answer) => answer.body,
        Outcome::Refused(refusal) => {
            return super::review::refused(visit, &refusal, Step::Payment).await;
        }
        Outcome::NoAnswer(_) => return away(visit).await,
    };
    let total = quote.totals.total;
    let back = format!("/checkout/payment?state={}", visit.seal().token(&visit.session, "card"));
    let to = card_page(&visit, total.amount_minor, total.currency.as_str(), &back);
    let heading = visit.t("Which card?", "Quelle carte ?");
    let body = html! {
        @if asked.state == "again" {
            (notice("warn", html! { (visit.t("That card could not be matched to this basket. Please choose it once more.", "Cette carte n’a pu être associée à ce panier. Choisissez-la à nouveau.")) }))
        }
        div.payment {
            div.payment-mark { (icon("card")) }
            p.lead {
                (visit.t(
                    "You choose your card on the payment provider’s page. It never passes through this shop.",
                    "Vous choisissez votre carte sur la page du prestataire de paiement. Elle ne passe jamais par cette boutique.",
                ))
            }
            p {
                (visit.t("The amount is set aside when you order and charged only once your parcel is packed.", "Le montant est réservé à la commande et débité seulement une fois le colis emballé."))
            }
            p.forward {
                a.button href=(to) {
                    (icon("lock"))
                    @if checkout.card { (visit.t("Choose another card", "Choisir une autre carte")) }
                    @else { (visit.t("To the card page", "Vers la page de carte")) }
                }
                @if checkout.card {
                    a.button.quiet href="/checkout/review" { (visit.t("Keep the card you chose", "Garder la carte choisie")) }
                }
            }
        }
    };
    let aside = bill(&visit, &quote);
    page(visit, Step::Payment, heading, body, aside).await
}

/// The provider's page for an amount, coming back to `back`.
pub(crate) fn card_page(visit: &Visit, amount_minor: i64, currency: &str, back: &str) -> String {
    let amount = amount_minor.to_string();
    let label = format!("{NAME} – {}", visit.t("your order", "votre commande"));
    let pairs = [
        ("amount_minor", amount.as_str()),
        ("currency", currency),
        ("label", &label),
        ("return_url", back),
    ];
    let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
    format!("{}?{query}", visit.shop.places.pay)
}

async fn back_with(
    mut visit: Visit,
    mut checkout: crate::session::Checkout,
    asked: &Asked,
) -> Response {
    let token = asked.payment_token.as_str();
    let plain = token.len() <= 128
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !plain || !visit.seal().token_fits(&visit.session, "card", &asked.state) {
        return visit.go("/checkout/payment?state=again");
    }
    match visit.shop.back.checkout.patch(&checkout.id, &json!({ "payment_token": token })).await {
        Outcome::Ok(_) => {
            checkout.card = true;
            let next = if checkout.delivery { "/checkout/review" } else { "/checkout/delivery" };
            visit.session.checkout = Some(checkout);
            visit.go(next)
        }
        Outcome::Refused(refusal) if refusal.status == 422 => {
            visit.go("/checkout/payment?state=again")
        }
        Outcome::Refused(_) => again(visit),
        Outcome::NoAnswer(_) => away(visit).await,
    }
}
