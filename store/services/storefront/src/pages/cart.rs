//! The basket.

use std::collections::HashMap;

use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use store_kit::{Currency, Money, Outcome, Sku};

use crate::back::buying::{Cart, Line};
use crate::back::catalog::Variant;
use crate::layout::{Page, things};
use crate::pages::problem;
use crate::parts::{self, notice, picture};
use crate::visit::{Posted, Visit};

const QTY_MAX: u32 = 99;

#[derive(Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    pub(crate) said: String,
}

#[derive(Deserialize)]
pub(crate) struct Add {
    sku: Sku,
    qty: u32,
    #[serde(default)]
    seen_minor: i64,
    #[serde(default)]
    slug: String,
}

#[derive(Deserialize)]
pub(crate) struct Change {
    qty: Option<u32>,
    #[serde(default)]
    remove: Option<String>,
}

/// The visitor's open cart, looked up.
pub(crate) enum Basket {
    Full(Cart),
    Empty,
    Away,
}

/// Reads the visitor's cart and forgets one that is closed or gone.
pub(crate) async fn basket(visit: &mut Visit) -> Basket {
    let Some(id) = visit.session.cart.clone() else { return Basket::Empty };
    match visit.shop.back.cart.get(&id).await {
        Outcome::Ok(answer) if answer.body.is_open() => {
            visit.session.things = answer.body.things();
            if answer.body.lines.is_empty() { Basket::Empty } else { Basket::Full(answer.body) }
        }
        Outcome::Ok(_) | Outcome::Refused(_) => {
            visit.session.cart = None;
            visit.session.things = 0;
            Basket::Empty
        }
        Outcome::NoAnswer(_) => Basket::Away,
    }
}

pub(crate) async fn add(Posted { mut visit, form }: Posted<Add>) -> Response {
    let back = format!(
        "/p/{}",
        form.slug.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>()
    );
    let now = basket(&mut visit).await;
    let (had, id) = match (&now, &visit.session.cart) {
        (Basket::Away, _) => return busy(visit, &back).await,
        (Basket::Full(cart), _) => {
            let had = cart.lines.iter().find(|l| l.sku == form.sku).map_or(0, |l| l.qty);
            (had, cart.id.clone())
        }
        (Basket::Empty, Some(id)) => (0, id.clone()),
        (Basket::Empty, None) => {
            let owner = visit.session.member.as_ref().map(|m| &m.id);
            match visit.shop.back.cart.create(owner).await {
                Outcome::Ok(answer) => {
                    let had =
                        answer.body.lines.iter().find(|l| l.sku == form.sku).map_or(0, |l| l.qty);
                    (had, answer.body.id)
                }
                _ => return busy(visit, &back).await,
            }
        }
    };
    let qty = had.saturating_add(form.qty).clamp(1, QTY_MAX);
    let seen = (form.seen_minor > 0).then(|| Money::new(form.seen_minor, Currency::EUR));
    visit.session.cart = Some(id.clone());
    match visit.shop.back.cart.put(&id, &form.sku, qty, seen).await {
        Outcome::Ok(answer) => {
            visit.session.things = answer.body.things();
            visit.go("/cart?said=added")
        }
        Outcome::Refused(refusal) => {
            tracing::info!(detail = refusal.detail, sku = %form.sku, "the cart refused a line");
            visit.go("/cart?said=refused")
        }
        Outcome::NoAnswer(_) => busy(visit, &back).await,
    }
}

async fn busy(visit: Visit, back: &str) -> Response {
    let text = visit.t(
        "The basket is not answering, so nothing was put into it. Please try again in a moment.",
        "Le panier ne répond pas ; rien n’y a été mis. Réessayez dans un instant.",
    );
    problem::not_done(visit, back, text).await
}

pub(crate) async fn change(
    Path(sku): Path<Sku>,
    Posted { mut visit, form }: Posted<Change>,
) -> Response {
    let Some(id) = visit.session.cart.clone() else { return visit.go("/cart") };
    let qty = form.qty.unwrap_or(1).min(QTY_MAX);
    let done = if form.remove.is_some() || qty == 0 {
        visit.shop.back.cart.remove(&id, &sku).await.ok().is_some()
    } else {
        // No price goes along: the one that was seen stays the one to compare with.
        match visit.shop.back.cart.put(&id, &sku, qty, seen_before(&visit, &id, &sku).await).await {
            Outcome::Ok(answer) => {
                visit.session.things = answer.body.things();
                true
            }
            _ => false,
        }
    };
    if done { visit.go("/cart") } else { busy(visit, "/cart").await }
}

async fn seen_before(visit: &Visit, id: &store_kit::CartId, sku: &Sku) -> Option<Money> {
    let cart = visit.shop.back.cart.get(id).await.ok()?;
    cart.lines.into_iter().find(|l| l.sku == *sku)?.seen_price
}

#[derive(Deserialize)]
pub(crate) struct Nothing {}

/// Agrees to today's prices: from now on they are the ones that were seen.
pub(crate) async fn accept_prices(
    Posted { mut visit, form: Nothing {} }: Posted<Nothing>,
) -> Response {
    let Basket::Full(cart) = basket(&mut visit).await else { return busy(visit, "/cart").await };
    let skus: Vec<&Sku> = cart.lines.iter().map(|l| &l.sku).collect();
    let found = visit.shop.back.catalog.variants(visit.lang, &skus).await;
    let Some(known) = found.value() else { return busy(visit, "/checkout/review").await };
    for line in &cart.lines {
        let Some(variant) = known.items.iter().find(|v| v.sku == line.sku) else { continue };
        if line.seen_price != Some(variant.price)
            && visit
                .shop
                .back
                .cart
                .put(&cart.id, &line.sku, line.qty, Some(variant.price))
                .await
                .ok()
                .is_none()
        {
            return busy(visit, "/checkout/review").await;
        }
    }
    visit.go("/checkout/review")
}

/// For the script: the number in the header, afresh.
pub(crate) async fn count(mut visit: Visit) -> Response {
    let n = match basket(&mut visit).await {
        Basket::Full(cart) => cart.things(),
        Basket::Empty => 0,
        Basket::Away => visit.session.things,
    };
    visit.session.things = n;
    let mut response =
        axum::Json(json!({"count": n, "words": things(visit.lang, n)})).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    // The session stays as it is: this answer may arrive after one that has a new cart in it.
    response
}

/// One line with what is known about it.
struct Shown<'a> {
    line: &'a Line,
    variant: Option<&'a Variant>,
    free: Option<i64>,
}

impl Shown<'_> {
    /// Today's price, or the one that was seen when the catalogue is away.
    fn unit(&self) -> Option<Money> {
        self.variant.map(|v| v.price).or(self.line.seen_price)
    }

    fn was(&self) -> Option<Money> {
        let (now, seen) = (self.variant?.price, self.line.seen_price?);
        (now != seen).then_some(seen)
    }
}

pub(crate) async fn show(mut visit: Visit, Query(Said { said }): Query<Said>) -> Response {
    let cart = match basket(&mut visit).await {
        Basket::Full(cart) => cart,
        Basket::Empty => return empty(visit, &said).await,
        Basket::Away => {
            let title =
                visit.t("Your basket is on the other side", "Votre panier est sur l’autre rive");
            let text = visit.t(
                "The service that keeps it does not answer. Nothing is lost; please look again in a moment.",
                "Le service qui le garde ne répond pas. Rien n’est perdu ; revenez dans un instant.",
            );
            return problem::away(visit, title, text).await;
        }
    };
    let skus: Vec<&Sku> = cart.lines.iter().map(|l| &l.sku).collect();
    let (found, free) = tokio::join!(
        visit.shop.back.catalog.variants(visit.lang, &skus),
        visit.shop.back.inventory.free(&skus)
    );
    let variants: HashMap<&Sku, &Variant> =
        found.value().map(|v| v.items.iter().map(|v| (&v.sku, v)).collect()).unwrap_or_default();
    let lines: Vec<Shown<'_>> = cart
        .lines
        .iter()
        .map(|line| Shown {
            line,
            variant: variants.get(&line.sku).copied(),
            free: free.get(&line.sku).copied(),
        })
        .collect();
    let subtotal = lines.iter().try_fold(Money::eur(0), |sum, shown| {
        sum.plus(shown.unit()?.times(shown.line.qty).ok()?).ok()
    });
    let short = lines.iter().any(|s| s.free.is_some_and(|free| free < i64::from(s.line.qty)));
    let body = html! {
        div.wrap {
            header.list-head { h1 { (visit.t("Your basket", "Votre panier")) } }
            (said_notice(&visit, &said))
            @if found.is_stale() { (parts::out_of_date(visit.lang)) }
            div.split {
                ul.lines role="list" { @for shown in &lines { (line(&visit, shown)) } }
                aside.summary aria-labelledby="sum" {
                    h2 #sum { (visit.t("So far", "Jusqu’ici")) }
                    dl.bill {
                        @if let Some(subtotal) = subtotal {
                            (parts::row(&visit, visit.t("Items", "Articles"), subtotal))
                        }
                        div { dt { (visit.t("Delivery", "Livraison")) } dd.muted { (visit.t("at the next step", "à l’étape suivante")) } }
                    }
                    @if short {
                        (notice("warn", html! { (visit.t("There is less on the shelf than you asked for. You can go on; we will tell you before anything is charged.", "Il y en a moins en rayon que demandé. Vous pouvez continuer ; nous vous préviendrons avant tout débit.")) }))
                    }
                    a.button.wide href="/checkout" { (visit.t("Check out", "Commander")) " " (parts::icon("arrow")) }
                    p.fine { (visit.t("Putting things in a basket does not reserve them.", "Mettre au panier ne réserve pas.")) }
                }
            }
        }
    };
    let title = visit.t("Your basket", "Votre panier");
    visit.page(Page::new(title, body)).await
}

fn line(visit: &Visit, shown: &Shown<'_>) -> Markup {
    let (line, sku) = (shown.line, &shown.line.sku);
    let title = shown.variant.map_or(sku.as_str(), |v| v.title.as_str());
    let field = format!("qty-{sku}");
    html! {
        li.line {
            @if let Some(v) = shown.variant {
                a.frame.small href={ "/p/" (v.slug) "?v=" (sku) } tabindex="-1" aria-hidden="true" { (picture(&v.image, "", true)) }
            } @else {
                div.frame.small.blank { (parts::icon("parcel")) }
            }
            div.what {
                h2 {
                    @match shown.variant {
                        Some(v) => { a href={ "/p/" (v.slug) "?v=" (sku) } { (title) } }
                        None => { (title) }
                    }
                }
                @if let Some(v) = shown.variant {
                    @if !v.options.words().is_empty() { p.sub { (v.options.words()) } }
                }
                @if let Some(unit) = shown.unit() {
                    p.unit {
                        (visit.money(unit))
                        @if let Some(was) = shown.was() {
                            " " span.was { span.sr { (visit.t("before:", "avant :")) " " } s { (visit.money(was)) } }
                        }
                    }
                }
                (shortage(visit, shown))
            }
            form.qty action={ "/cart/lines/" (sku) } method="post" {
                (visit.form_token())
                label.sr for=(field) { (visit.t("Quantity of", "Quantité de")) " " (title) }
                input id=(field) type="number" name="qty" value=(line.qty) min="0" max="99" inputmode="numeric" data-auto;
                button.quiet.update type="submit" { (visit.t("Update", "Changer")) }
                button.plain type="submit" name="remove" value="1" {
                    (visit.t("Remove", "Retirer")) span.sr { " " (title) }
                }
            }
            p.line-total {
                @if let Some(total) = shown.unit().and_then(|unit| unit.times(line.qty).ok()) { (visit.money(total)) }
            }
        }
    }
}

fn shortage(visit: &Visit, shown: &Shown<'_>) -> Markup {
    match shown.free {
        Some(free) if free <= 0 => {
            html! { p.stock.out { (visit.t("Sold out in the meantime", "Épuisé entre-temps")) } }
        }
        Some(free) if free < i64::from(shown.line.qty) => {
            html! { p.stock.low { (visit.t("Only", "Plus que")) " " (free) " " (visit.t("left", "en rayon")) } }
        }
        _ => html! {},
    }
}

fn said_notice(visit: &Visit, said: &str) -> Markup {
    match said {
        "added" => {
            notice("good", html! { (visit.t("It is in your basket.", "C’est dans votre panier.")) })
        }
        "refused" => notice(
            "warn",
            html! { (visit.t("That could not be put into the basket: it takes fifty different things, and up to 99 of each.", "Impossible de l’ajouter : le panier prend cinquante articles différents, 99 de chaque au plus.")) },
        ),
        _ => html! {},
    }
}

async fn empty(visit: Visit, said: &str) -> Response {
    let body = html! {
        (said_notice(&visit, said))
        (problem::sorry(
            "basket",
            visit.t("Your basket is empty", "Votre panier est vide"),
            html! { p { (visit.t("It is a good basket. It would hold a lantern, for instance.", "C’est un bon panier. Il tiendrait une lanterne, par exemple.")) } },
            vec![("/", visit.t("Look around", "Se promener")), ("/c/lamps/lanterns", visit.t("Lanterns", "Lanternes"))],
        ))
    };
    let title = visit.t("Your basket", "Votre panier");
    visit.page(Page::new(title, body)).await
}
