//! Orders: the list, one of them live, cancelling, another card.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use store_kit::{OrderId, Outcome};

use crate::back::orders::Order;
use crate::layout::{Page, encode_pair};
use crate::pages::cart::Said;
use crate::pages::problem;
use crate::parts::{self, icon, notice};
use crate::timeline;
use crate::visit::{Pass, Posted, Visit};

/// So long after it was sent, an order that orders does not know is still on its way there.
const HANDING_OVER_S: i64 = 600;

/// Sent from this browser, so recently that it may not have arrived.
pub(crate) fn just_sent(visit: &Visit, id: &OrderId) -> bool {
    let now = visit.now().millis() / 1000;
    visit.session.sent.iter().any(|s| s.order == *id && now - s.at < HANDING_OVER_S)
}

pub(crate) async fn list(mut visit: Visit) -> Response {
    let title = visit.t("Your orders", "Vos commandes");
    let token = match visit.pass().await {
        Pass::Token(token) => token,
        Pass::Nobody | Pass::Ended => return sign_in_first(visit, "/orders").await,
    };
    let orders = match visit.shop.back.orders.list(&token).await {
        Outcome::Ok(answer) => answer.body,
        Outcome::Refused(refusal) if refusal.status == 401 => {
            return sign_in_first(visit, "/orders").await;
        }
        _ => {
            let title = visit.t("Your orders are out of sight", "Vos commandes sont hors de vue");
            let text = visit.t(
                "The service that keeps them does not answer. They go on without this page; please look again in a moment.",
                "Le service qui les garde ne répond pas. Elles avancent sans cette page ; revenez dans un instant.",
            );
            return problem::away(visit, title, text).await;
        }
    };
    let body = html! {
        div.wrap {
            header.list-head { h1 { (title) } }
            @if orders.is_empty() {
                div.none {
                    p { (visit.t("There are none yet.", "Il n’y en a pas encore.")) }
                    p { a.button href="/" { (visit.t("Look around", "Se promener")) } }
                }
            } @else {
                ul.orders role="list" { @for order in &orders { (row(&visit, order)) } }
            }
        }
    };
    visit.page(Page::new(title, body)).await
}

pub(crate) fn row(visit: &Visit, order: &Order) -> Markup {
    let (kind, words) = state(visit, order);
    let n: u32 = order.lines.iter().fold(0, |n, l| n.saturating_add(l.qty));
    html! {
        li {
            a.order-row href={ "/orders/" (order.id) } {
                span.when { (visit.lang.date(order.created_at)) }
                span.what {
                    @if let Some(first) = order.lines.first() { (first.title) }
                    @if order.lines.len() > 1 { " " (visit.t("and more", "et plus")) }
                    @if n > 0 { small { (crate::layout::things(visit.lang, n)) } }
                }
                span.state.(kind) { (words) }
                span.amount { (visit.money(order.totals.total)) }
                (icon("arrow"))
            }
        }
    }
}

fn state(visit: &Visit, order: &Order) -> (&'static str, &'static str) {
    match order.status.as_str() {
        "AWAITING_ACTION" | "AWAITING_METHOD" => {
            ("warn", visit.t("Waiting for you", "En attente de vous"))
        }
        "CANCELLED" => ("quiet", visit.t("Cancelled", "Annulée")),
        "REFUNDED" => ("quiet", visit.t("Refunded", "Remboursée")),
        "COMP_WH" | "COMP_PAY" | "COMP_INV" => ("quiet", visit.t("Being undone", "En annulation")),
        "DISPATCHED" => ("good", visit.t("On its way", "En route")),
        "DELIVERED" | "COMPLETED" => ("good", visit.t("Delivered", "Livrée")),
        _ => ("good", visit.t("In hand", "En cours")),
    }
}

async fn sign_in_first(visit: Visit, back: &str) -> Response {
    let to = format!("/account/sign-in?{}", encode_pair("back", back));
    visit.go(&to)
}

/// What we know of an order for its page.
enum Known {
    Order(Box<Order>),
    /// Sent, and not known to orders yet, or orders is away.
    OnItsWay,
    Away,
    Nothing,
}

async fn known(visit: &mut Visit, id: &OrderId) -> Known {
    let token = match visit.pass().await {
        Pass::Token(token) => token,
        Pass::Nobody | Pass::Ended => return Known::Nothing,
    };
    let mut outcome = visit.shop.back.orders.get(&token, id).await;
    // Bought as a guest, signed in since: the guest's order is still this person's.
    if matches!(&outcome, Outcome::Refused(r) if r.status == 404)
        && visit.session.member.is_some()
        && let Some(guest) = &visit.session.guest
    {
        outcome = visit.shop.back.orders.get(&guest.token, id).await;
    }
    match outcome {
        Outcome::Ok(answer) => Known::Order(Box::new(answer.body)),
        _ if just_sent(visit, id) => Known::OnItsWay,
        Outcome::Refused(_) => Known::Nothing,
        Outcome::NoAnswer(_) => Known::Away,
    }
}

pub(crate) async fn show(
    mut visit: Visit,
    Path(id): Path<OrderId>,
    Query(Said { said }): Query<Said>,
) -> Response {
    let known = known(&mut visit, &id).await;
    let (piece, order) = match known {
        Known::Order(order) => (timeline::piece(&visit, &order), Some(order)),
        Known::OnItsWay => (handing_over(&visit), None),
        Known::Nothing => {
            if visit.session.customer().is_none() {
                let back = format!("/orders/{id}");
                return sign_in_first(visit, &back).await;
            }
            return problem::not_found(visit).await;
        }
        Known::Away => {
            let title = visit.t("This order is out of sight", "Cette commande est hors de vue");
            let text = visit.t(
                "The service that follows it does not answer. The order goes on without this page, and you still get a text at every turn.",
                "Le service qui la suit ne répond pas. La commande avance sans cette page, et vous recevez toujours un message à chaque étape.",
            );
            return problem::away(visit, title, text).await;
        }
    };
    let over = order.as_ref().is_some_and(|o| o.is_over());
    let title = visit.t("Your order", "Votre commande");
    let short = id.as_str().get(id.as_str().len() - 8..).unwrap_or_default().to_uppercase();
    let body = html! {
        div.wrap.order {
            header.list-head {
                p.eyebrow { (visit.t("Order", "Commande")) " " span title=(id) { "…" (short) } }
                h1 { (title) }
            }
            (said_notice(&visit, &said))
            div.split {
                section aria-label=(visit.t("Where it is", "Où elle en est")) {
                    p.sr role="status" aria-live="polite" data-live-says {}
                    p.live-note hidden data-live-note {}
                    div data-live=[(!over).then(|| format!("/orders/{id}/live"))] { (piece) }
                }
                aside.summary aria-labelledby="sum" {
                    h2 #sum { (visit.t("What is in it", "Ce qu’elle contient")) }
                    @match &order {
                        Some(order) => { (contents(&visit, order)) }
                        None => { p.muted { (visit.t("The list follows in a moment.", "La liste suit dans un instant.")) } }
                    }
                    p { a.button.quiet.wide href={ (visit.shop.places.phone) "/?order=" (id) } { (icon("phone")) (visit.t("Read your text messages", "Lire vos messages")) } }
                }
            }
        }
    };
    let mut page = Page::new(title, body);
    if !over {
        page.head = html! { noscript { meta http-equiv="refresh" content="4"; } };
    }
    visit.page(page).await
}

/// Before orders has it.
fn handing_over(visit: &Visit) -> Markup {
    html! {
        div.live-piece data-status="SENT" data-says="" {
            p.headline { (visit.t("We have your order", "Nous avons votre commande")) }
            ol.timeline {
                li.good {
                    span.mark { (icon("check")) }
                    div {
                        p.name { (visit.t("Order taken", "Commande prise")) }
                        p.text { (visit.t("It is written down and being handed over. This page follows by itself.", "Elle est notée et en cours de transmission. Cette page suit toute seule.")) }
                    }
                }
            }
        }
    }
}

fn contents(visit: &Visit, order: &Order) -> Markup {
    let totals = &order.totals;
    html! {
        ul.short role="list" {
            @for line in &order.lines {
                li { span { (line.qty) " × " (line.title) span.sr { " " (line.sku) } }
                    span.amount { @if let Ok(total) = line.unit.times(line.qty) { (visit.money(total)) } } }
            }
        }
        dl.bill {
            (parts::row(visit, visit.t("Items", "Articles"), totals.subtotal))
            @if totals.discount.amount_minor != 0 { (parts::row(visit, visit.t("Discount", "Remise"), store_kit::Money::new(-totals.discount.amount_minor, totals.discount.currency))) }
            (parts::row(visit, visit.t("Delivery", "Livraison"), totals.shipping))
            @if totals.tax.amount_minor != 0 { (parts::row(visit, visit.t("Tax", "Taxe"), totals.tax)) }
            div.total { dt { (visit.t("Total", "Total")) } dd { (visit.money(totals.total)) } }
        }
        @if let Some(to) = &order.ship_to {
            h3 { (visit.t("Going to", "Destination")) }
            (parts::address(visit.lang, to))
        }
        p.fine { (visit.t("Ordered on", "Commandée le")) " " (visit.lang.date(order.created_at)) ", " (timeline::time(visit.lang, order.created_at)) }
    }
}

fn said_notice(visit: &Visit, said: &str) -> Markup {
    match said {
        "cancelling" => notice(
            "good",
            html! { (visit.t("We are cancelling it. Nothing more will be charged.", "Nous l’annulons. Rien d’autre ne sera débité.")) },
        ),
        "too-late" => notice(
            "warn",
            html! { (visit.t("It is too late to cancel: the parcel is packed and paid.", "Il est trop tard pour annuler : le colis est emballé et payé.")) },
        ),
        "card" => notice(
            "good",
            html! { (visit.t("Thank you, we are trying the new card.", "Merci, nous essayons la nouvelle carte.")) },
        ),
        "card-refused" => notice(
            "warn",
            html! { (visit.t("That card was not needed or not accepted.", "Cette carte n’était pas nécessaire ou n’a pas été acceptée.")) },
        ),
        "not-done" => notice(
            "bad",
            html! { (visit.t("That did not go through. Please try again in a moment.", "Cela n’a pas abouti. Réessayez dans un instant.")) },
        ),
        _ => html! {},
    }
}

pub(crate) async fn cancel(
    Path(id): Path<OrderId>,
    Posted { mut visit, form: crate::pages::cart::Nothing {} }: Posted<crate::pages::cart::Nothing>,
) -> Response {
    let Pass::Token(token) = visit.pass().await else { return visit.go(&format!("/orders/{id}")) };
    let said = match visit.shop.back.orders.cancel(&token, &id).await {
        Outcome::Ok(_) => "cancelling",
        Outcome::Refused(refusal) if refusal.status == 409 => "too-late",
        Outcome::Refused(_) | Outcome::NoAnswer(_) => "not-done",
    };
    visit.go(&format!("/orders/{id}?said={said}"))
}

/// A cancelled order gives its cart back; this takes it up again.
pub(crate) async fn basket(
    Path(id): Path<OrderId>,
    Posted { mut visit, form: crate::pages::cart::Nothing {} }: Posted<crate::pages::cart::Nothing>,
) -> Response {
    let sent = visit.session.sent.iter().find(|s| s.order == id).and_then(|s| s.cart.clone());
    if let Some(cart) = sent.filter(|_| visit.session.cart.is_none()) {
        visit.session.cart = Some(cart);
    }
    // A cart that is not open again is forgotten there.
    visit.go("/cart")
}

#[derive(Deserialize)]
pub(crate) struct Card {
    #[serde(default)]
    payment_token: String,
    #[serde(default)]
    state: String,
}

/// Back from the card page with another card for an order whose card was declined.
pub(crate) async fn new_card(
    mut visit: Visit,
    Path(id): Path<OrderId>,
    Query(card): Query<Card>,
) -> Response {
    let to = |said: &str| {
        if said.is_empty() { format!("/orders/{id}") } else { format!("/orders/{id}?said={said}") }
    };
    if card.payment_token.is_empty() {
        return visit.go(&to(""));
    }
    let token = &card.payment_token;
    let plain = token.len() <= 128
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !plain || !visit.seal().token_fits(&visit.session, &format!("card of {id}"), &card.state) {
        return visit.go(&to("card-refused"));
    }
    let Pass::Token(pass) = visit.pass().await else { return visit.go(&to("")) };
    let said = match visit.shop.back.orders.new_card(&pass, &id, token).await {
        Outcome::Ok(_) => "card",
        Outcome::Refused(_) => "card-refused",
        Outcome::NoAnswer(_) => "not-done",
    };
    visit.go(&to(said))
}
