//! Where an order is, as a piece of a page.
//!
//! One renderer for the page and for the live stream: the stream sends this very piece again
//! after every change and the script puts it in the place of the old one.

use maud::{Markup, html};
use store_kit::{OrderId, Timestamp};

use crate::back::orders::{Action, Order, Step};
use crate::lang::Lang;
use crate::pages::checkout::payment::card_page;
use crate::parts::{icon, notice};
use crate::visit::Visit;

/// A step with its name, and a sentence for when it is reached.
struct Words {
    step: &'static str,
    name: (&'static str, &'static str),
    text: (&'static str, &'static str),
}

const fn words(
    step: &'static str,
    name: (&'static str, &'static str),
    text: (&'static str, &'static str),
) -> Words {
    Words { step, name, text }
}

/// A good day, in order.
const GOOD_DAY: [Words; 12] = [
    words(
        "received",
        ("Order received", "Commande reçue"),
        ("It is safely written down.", "Elle est bien notée."),
    ),
    words(
        "texted",
        ("Text message sent", "Message envoyé"),
        ("To your phone, so you know.", "Sur votre téléphone, pour que vous le sachiez."),
    ),
    words(
        "reserved",
        ("Set aside", "Mise de côté"),
        (
            "Everything you chose has your name on it.",
            "Tout ce que vous avez choisi porte votre nom.",
        ),
    ),
    words(
        "authorised",
        ("Payment approved", "Paiement autorisé"),
        (
            "Your bank holds the amount; nothing is charged yet.",
            "Votre banque réserve le montant ; rien n’est encore débité.",
        ),
    ),
    words(
        "confirmed",
        ("Confirmed", "Confirmée"),
        ("The warehouse has the list.", "L’entrepôt a la liste."),
    ),
    words(
        "packed",
        ("Packed", "Emballée"),
        ("Wrapped as if the ferry were rough.", "Emballée comme si le bac devait rouler."),
    ),
    words(
        "captured",
        ("Payment taken", "Paiement prélevé"),
        ("Charged now that the parcel is closed.", "Débité, maintenant que le colis est fermé."),
    ),
    words(
        "released",
        ("Cleared to leave", "Bon de sortie"),
        ("Paid for, so it may go.", "Payé, donc libre de partir."),
    ),
    words(
        "dispatched",
        ("On its way", "En route"),
        ("Handed to the carrier.", "Remis au transporteur."),
    ),
    words(
        "counted_down",
        ("Stock counted down", "Stock décompté"),
        ("The shelf says one parcel less.", "Le rayon compte un colis de moins."),
    ),
    words("delivered", ("Delivered", "Livrée"), ("At your door.", "À votre porte.")),
    words(
        "completed",
        ("All done", "Terminé"),
        ("Thank you. Put the kettle on.", "Merci. Mettez l’eau à chauffer."),
    ),
];

/// What happens on other days.
const OTHER_DAYS: [Words; 4] = [
    words(
        "action_required",
        ("Waiting for you", "En attente de vous"),
        (
            "Your bank, or we, need a word from you.",
            "Votre banque, ou nous, avons besoin d’un mot de vous.",
        ),
    ),
    words(
        "declined",
        ("Card declined", "Carte refusée"),
        ("The bank said no. Nothing was charged.", "La banque a refusé. Rien n’a été débité."),
    ),
    words(
        "cancelled",
        ("Cancelled", "Annulée"),
        ("Everything is back where it was.", "Tout est revenu à sa place."),
    ),
    words(
        "refunded",
        ("Refunded", "Remboursée"),
        ("The money is on its way back.", "L’argent est sur le chemin du retour."),
    ),
];

/// The five stations of the bar at the top, and the step that reaches each.
const STATIONS: [(&str, &str, (&str, &str)); 5] = [
    ("received", "check", ("Ordered", "Commandée")),
    ("confirmed", "card", ("Confirmed", "Confirmée")),
    ("packed", "parcel", ("Packed", "Emballée")),
    ("dispatched", "boat", ("On its way", "En route")),
    ("delivered", "home", ("Delivered", "Livrée")),
];

fn known(step: &str) -> Option<&'static Words> {
    GOOD_DAY.iter().chain(&OTHER_DAYS).find(|w| w.step == step)
}

/// The live part of an order's page.
pub(crate) fn piece(visit: &Visit, order: &Order) -> Markup {
    let latest = order.timeline.last().and_then(|s| known(&s.step));
    let says =
        latest.map(|w| format!("{}. {}", visit.t(w.name.0, w.name.1), visit.t(w.text.0, w.text.1)));
    html! {
        div.live-piece data-status=(order.status) data-over[order.is_over()] data-says=(says.unwrap_or_default()) {
            (headline(visit, order))
            @if !order.is_undone() { (stations(visit, order)) }
            (undone(visit, order))
            (action(visit, order))
            (list(visit, order))
            (cancel(visit, order))
        }
    }
}

fn headline(visit: &Visit, order: &Order) -> Markup {
    let (en, fr) = match order.status.as_str() {
        "RECEIVED" => ("We have your order", "Nous avons votre commande"),
        "RESERVED" => ("Your things are set aside", "Vos articles sont mis de côté"),
        "AUTHORISED" | "CONFIRMED" => ("It is being packed", "On l’emballe"),
        "PACKED" => ("Packed and taped", "Emballée et scotchée"),
        "CAPTURED" | "RELEASED" => ("Ready for the next boat", "Prête pour le prochain bac"),
        "DISPATCHED" => ("It is on the water", "Elle est sur l’eau"),
        "DELIVERED" | "COMPLETED" => ("It has arrived", "Elle est arrivée"),
        "AWAITING_ACTION" => ("Your bank has a question", "Votre banque a une question"),
        "AWAITING_METHOD" => ("Another card, please", "Une autre carte, s’il vous plaît"),
        "COMP_WH" | "COMP_PAY" | "COMP_INV" => ("We are undoing it", "Nous annulons tout"),
        "CANCELLED" => ("This order is cancelled", "Cette commande est annulée"),
        "REFUNDED" => ("This order is refunded", "Cette commande est remboursée"),
        _ => ("Your order", "Votre commande"),
    };
    html! { p.headline { (visit.t(en, fr)) } }
}

/// Why an order is undone, and the way back to the basket.
fn undone(visit: &Visit, order: &Order) -> Markup {
    if !order.is_undone() {
        return html! {};
    }
    let (en, fr) = match order.reason.as_deref().unwrap_or_default() {
        "out_of_stock" | "sold_out" => (
            "Somebody was quicker: there was not enough left on the shelf.",
            "Quelqu’un a été plus rapide : il n’en restait pas assez en rayon.",
        ),
        "short_pick" => (
            "When we packed it, something was missing on the shelf. We are sorry.",
            "En préparant le colis, il manquait un article en rayon. Nous en sommes désolés.",
        ),
        "payment_declined" | "payment_timeout" => {
            ("The payment did not go through in time.", "Le paiement n’a pas abouti à temps.")
        }
        "payment_lost" | "capture_failed" => (
            "Your bank took its promise back before the parcel left.",
            "Votre banque a retiré son accord avant le départ du colis.",
        ),
        "cancelled_by_customer" => ("You asked us to.", "Vous nous l’avez demandé."),
        _ => (
            "Something on our side went wrong. We are sorry.",
            "Quelque chose s’est mal passé de notre côté. Nous en sommes désolés.",
        ),
    };
    let cart = visit.session.sent.iter().any(|s| s.order == order.id && s.cart.is_some());
    html! {
        div.undone {
            p {
                (visit.t(en, fr)) " "
                @if order.status == "REFUNDED" {
                    (visit.t("Your money is on its way back to your card.", "Votre argent est en route vers votre carte."))
                } @else {
                    (visit.t("What was held on your card is released.", "Ce qui était réservé sur votre carte est libéré."))
                }
            }
            @if cart && order.status == "CANCELLED" && visit.session.cart.is_none() {
                form action={ "/orders/" (order.id) "/basket" } method="post" {
                    (visit.form_token())
                    button type="submit" { (visit.t("Put it all back in the basket", "Tout remettre au panier")) }
                }
            }
        }
    }
}

fn stations(visit: &Visit, order: &Order) -> Markup {
    let reached = STATIONS.iter().rposition(|(step, ..)| order.reached(step).is_some());
    html! {
        ol.stations {
            @for (i, (_, mark, name)) in STATIONS.iter().enumerate() {
                @let done = reached.is_some_and(|r| i <= r);
                @let now = reached == Some(i) && !order.is_over();
                li.done[done].now[now] {
                    span.mark { (icon(mark)) }
                    span.name { (visit.t(name.0, name.1)) }
                    @if done { span.sr { (visit.t(" – reached", " – fait")) } }
                }
            }
        }
    }
}

fn action(visit: &Visit, order: &Order) -> Markup {
    match &order.action {
        Some(Action::Authenticate { url }) => notice(
            "warn",
            html! {
                p { strong { (visit.t("Your bank wants to know that it is you.", "Votre banque veut s’assurer que c’est vous.")) } }
                p { (visit.t("Your things stay set aside meanwhile.", "Vos articles restent de côté pendant ce temps.")) }
                p { a.button href=(bank_page(url)) { (visit.t("Answer your bank", "Répondre à votre banque")) } }
            },
        ),
        Some(Action::NewCard) => {
            let back = format!("/orders/{}/card?state={}", order.id, card_state(visit, &order.id));
            let to = card_page(
                visit,
                order.totals.total.amount_minor,
                order.totals.total.currency.as_str(),
                &back,
            );
            notice(
                "warn",
                html! {
                    p { strong { (visit.t("Your bank declined that card. Nothing was charged.", "Votre banque a refusé cette carte. Rien n’a été débité.")) } }
                    p { (visit.t("Choose another and the order goes on.", "Choisissez-en une autre et la commande continue.")) }
                    p { a.button href=(to) { (visit.t("Choose another card", "Choisir une autre carte")) } }
                },
            )
        }
        Some(Action::Unknown) => notice(
            "warn",
            html! { (visit.t("This order needs something that this page does not know yet.", "Cette commande demande quelque chose que cette page ne connaît pas encore.")) },
        ),
        None => html! {},
    }
}

/// A page of the bank: below our own address or on the web, never a script.
fn bank_page(url: &str) -> &str {
    let fine = url.starts_with("https://")
        || url.starts_with("http://")
        || crate::visit::own_path(url) == url;
    if fine { url } else { "#" }
}

/// Proves at the return from the card page that the browser left from here.
pub(crate) fn card_state(visit: &Visit, order: &OrderId) -> String {
    visit.seal().token(&visit.session, &format!("card of {order}"))
}

fn list(visit: &Visit, order: &Order) -> Markup {
    // What happened, then (while all is well) what is still to come.
    let ahead: Vec<&Words> = if order.is_undone() || order.is_over() {
        Vec::new()
    } else {
        GOOD_DAY
            .iter()
            .filter(|w| w.step != "completed" && order.reached(w.step).is_none())
            .collect()
    };
    let mut done: Vec<&Step> = order.timeline.iter().filter(|s| known(&s.step).is_some()).collect();
    done.sort_by_key(|s| s.at);
    let waiting = order.action.is_some();
    html! {
        ol.timeline {
            @for step in done { (reached(visit, order, step)) }
            @for (i, words) in ahead.iter().enumerate() {
                li.ahead.next[i == 0 && !waiting] {
                    span.mark {}
                    div { p.name { (visit.t(words.name.0, words.name.1)) } }
                }
            }
        }
    }
}

fn reached(visit: &Visit, order: &Order, step: &Step) -> Markup {
    let Some(words) = known(&step.step) else { return html! {} };
    let kind = match step.step.as_str() {
        "declined" | "cancelled" => "bad",
        "action_required" => "warn",
        _ => "good",
    };
    let mark = match kind {
        "bad" => "cross",
        "warn" => "warn",
        _ => "check",
    };
    html! {
        li.(kind) {
            span.mark { (icon(mark)) }
            div {
                p.name { (visit.t(words.name.0, words.name.1)) " " (time(visit.lang, step.at)) }
                p.text {
                    (visit.t(words.text.0, words.text.1))
                    @if step.step == "texted" {
                        " " a href={ (visit.shop.places.phone) "/?order=" (order.id) } { (visit.t("Read it", "Le lire")) }
                    }
                    @if step.step == "dispatched" {
                        @if let Some(tracking) = &order.tracking { " " (visit.t("Tracking", "Suivi")) " " code { (tracking) } }
                    }
                }
            }
        }
    }
}

/// In UTC; the script turns it into the reader's own time.
pub(crate) fn time(lang: Lang, at: Timestamp) -> Markup {
    html! { time datetime=(at) data-local { (lang.time(at)) " UTC" } }
}

fn cancel(visit: &Visit, order: &Order) -> Markup {
    if !order.cancellable {
        return html! {};
    }
    html! {
        form.cancel action={ "/orders/" (order.id) "/cancel" } method="post" {
            (visit.form_token())
            button.quiet type="submit" { (visit.t("Cancel this order", "Annuler cette commande")) }
            p.fine { (visit.t("Possible until the parcel is packed and paid.", "Possible jusqu’à ce que le colis soit emballé et payé.")) }
        }
    }
}
