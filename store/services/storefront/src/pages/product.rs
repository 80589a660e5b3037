//! `/p/{slug}`: one product. Colours and sizes are links, so choosing works without a script and
//! every choice has an address.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use store_kit::Sku;

use crate::back::catalog::{Badge, Choice, Options, Product, Wanted};
use crate::layout::Page;
use crate::pages::{list, problem};
use crate::parts::{self, picture};
use crate::shelf::Found;
use crate::visit::Visit;

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// The sku of the chosen variant.
    #[serde(default)]
    v: String,
}

/// What is left of the chosen variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Plenty,
    Few(i64),
    None,
    /// Inventory does not answer: nothing is said, and the basket may be tried.
    Unknown,
}

impl Left {
    fn of(free: Option<i64>) -> Self {
        match free {
            None => Self::Unknown,
            Some(n) if n <= 0 => Self::None,
            Some(n) if n <= 3 => Self::Few(n),
            Some(_) => Self::Plenty,
        }
    }
}

pub(crate) async fn product(
    visit: Visit,
    Path(slug): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let catalog = &visit.shop.back.catalog;
    let (shelves, found) =
        tokio::join!(catalog.categories(visit.lang), catalog.product(visit.lang, &slug));
    let product = match &found {
        Found::Fresh(product) | Found::Stale(product) => product,
        Found::Nothing => return problem::not_found(visit).await,
        Found::Away => {
            let title = visit.t("This shelf is out of reach", "Ce rayon est hors de portée");
            let text = visit.t(
                "The catalogue is not answering. Please try again in a moment.",
                "Le catalogue ne répond pas. Réessayez dans un instant.",
            );
            return problem::away(visit, title, text).await;
        }
    };
    let Some(chosen) = chosen(product, &asked.v) else { return problem::not_found(visit).await };
    let skus: Vec<&Sku> = product.variants.iter().map(|v| &v.sku).collect();
    let related = Wanted { category: product.category.clone(), limit: 5, ..Wanted::default() };
    let (free, related) =
        tokio::join!(visit.shop.back.inventory.free(&skus), catalog.list(visit.lang, &related));
    let left = Left::of(free.get(&chosen.sku).copied());
    let gone = |choice: &Choice| match free.get(&choice.sku) {
        Some(n) => *n <= 0,
        None => choice.badge == Some(Badge::Out),
    };
    let body = html! {
        div.wrap {
            (list::crumbs(&visit, shelves.value(), &product.category))
            @if found.is_stale() { (parts::out_of_date(visit.lang)) }
            article.product {
                div.gallery {
                    div.frame { (picture(&chosen.image, &format!("{} {}", product.title, chosen.options.words()), true)) }
                }
                div.buy {
                    h1 { (product.title) }
                    @if !product.subtitle.is_empty() { p.lead { (product.subtitle) } }
                    p.price.big { (visit.money(chosen.price)) " " small { (visit.t("tax included", "TVA comprise")) } }
                    (colours(&visit, product, chosen, &gone))
                    (sizes(&visit, product, chosen, &gone))
                    (stock(&visit, left))
                    (add(&visit, product, chosen, left))
                    ul.assurances role="list" {
                        li { (parts::icon("boat")) (visit.t("Standard 2–4 days, express overnight where the boats run", "Standard 2 à 4 jours, express le lendemain là où passent les bacs")) }
                        li { (parts::icon("lock")) (visit.t("Charged only when your parcel is packed", "Débité seulement une fois votre colis emballé")) }
                    }
                }
                section.about aria-labelledby="about" {
                    h2 #about { (visit.t("About it", "À propos")) }
                    p.story { (product.description) }
                    dl.facts {
                        @for (label, value) in &product.attributes { div { dt { (label) } dd { (value) } } }
                        div { dt { (visit.t("Weight", "Poids")) } dd { (weight(&visit, chosen.weight_g)) } }
                        div { dt { (visit.t("Article", "Référence")) } dd { code { (chosen.sku) } } }
                    }
                }
            }
            @if let Some(page) = related.value().filter(|p| p.items.len() > 1) {
                section.block aria-labelledby="related" {
                    h2 #related { (visit.t("From the same shelf", "Du même rayon")) }
                    ul.grid role="list" {
                        @for item in page.items.iter().filter(|i| i.slug != product.slug).take(4) { (parts::card(&visit, item, false)) }
                    }
                }
            }
        }
    };
    let mut page = Page::new(product.title.clone(), body);
    page.department = product.category.split('/').next().unwrap_or_default().to_owned();
    page.description.clone_from(&product.subtitle);
    visit.page(page).await
}

/// The variant asked for, else the first that can be bought, else the first.
fn chosen<'p>(product: &'p Product, sku: &str) -> Option<&'p Choice> {
    let asked = product.variants.iter().find(|v| v.sku.as_str() == sku);
    let buyable = || product.variants.iter().find(|v| v.badge != Some(Badge::Out));
    asked.or_else(buyable).or(product.variants.first())
}

/// The variant to go to when one option changes: with the other option kept, if there is one.
fn with<'p>(product: &'p Product, wanted: &Options) -> Option<&'p Choice> {
    let both = product.variants.iter().find(|v| v.options == *wanted);
    both.or_else(|| product.variants.iter().find(|v| v.options.colour == wanted.colour))
}

fn different(product: &Product, option: fn(&Options) -> Option<&String>) -> Vec<&str> {
    let mut seen: Vec<&str> = Vec::new();
    for value in product.variants.iter().filter_map(|v| option(&v.options)) {
        if !seen.contains(&value.as_str()) {
            seen.push(value);
        }
    }
    seen
}

fn colours(
    visit: &Visit,
    product: &Product,
    chosen: &Choice,
    gone: &dyn Fn(&Choice) -> bool,
) -> Markup {
    let colours = different(product, |o| o.colour.as_ref());
    if colours.is_empty() {
        return html! {};
    }
    let now = chosen.options.colour.as_deref().unwrap_or_default();
    html! {
        div.choice role="group" aria-label=(visit.t("Colour", "Couleur")) {
            p.label { (visit.t("Colour", "Couleur")) ": " strong { (now) } }
            ul.swatches role="list" {
                @for colour in colours {
                    @let wanted = Options { colour: Some(colour.to_owned()), size: chosen.options.size.clone() };
                    @if let Some(to) = with(product, &wanted) {
                        @let none = product.variants.iter().filter(|v| v.options.colour.as_deref() == Some(colour)).all(gone);
                        li {
                            a.swatch.gone[none] href={ "/p/" (product.slug) "?v=" (to.sku) } aria-current=[(colour == now).then_some("true")] {
                                img src=(to.image) alt="" width="64" height="64" loading="lazy";
                                span.sr { (colour) @if none { ", " (visit.t("sold out", "épuisé")) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sizes(
    visit: &Visit,
    product: &Product,
    chosen: &Choice,
    gone: &dyn Fn(&Choice) -> bool,
) -> Markup {
    let sizes = different(product, |o| o.size.as_ref());
    if sizes.is_empty() {
        return html! {};
    }
    let now = chosen.options.size.as_deref().unwrap_or_default();
    html! {
        div.choice role="group" aria-label=(visit.t("Size", "Taille")) {
            p.label { (visit.t("Size", "Taille")) ": " strong { (now) } }
            ul.sizes role="list" {
                @for size in sizes {
                    @let wanted = Options { colour: chosen.options.colour.clone(), size: Some(size.to_owned()) };
                    @if let Some(to) = product.variants.iter().find(|v| v.options == wanted) {
                        @let none = gone(to);
                        li {
                            a.size.gone[none] href={ "/p/" (product.slug) "?v=" (to.sku) } aria-current=[(size == now).then_some("true")] {
                                (size) @if none { span.sr { ", " (visit.t("sold out", "épuisé")) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn stock(visit: &Visit, left: Left) -> Markup {
    match left {
        Left::Plenty => {
            html! { p.stock.in { (parts::icon("check")) (visit.t("On the shelf, ready to pack", "En rayon, prêt à emballer")) } }
        }
        Left::Few(1) => {
            html! { p.stock.low { (parts::icon("warn")) (visit.t("This is the last one", "C’est le dernier")) } }
        }
        Left::Few(n) => {
            html! { p.stock.low { (parts::icon("warn")) (visit.t("Only", "Plus que")) " " (n) " " (visit.t("left", "en rayon")) } }
        }
        Left::None => {
            html! { p.stock.out { (parts::icon("cross")) (visit.t("Sold out for now", "Épuisé pour le moment")) } }
        }
        Left::Unknown => html! {},
    }
}

fn add(visit: &Visit, product: &Product, chosen: &Choice, left: Left) -> Markup {
    let most = match left {
        Left::Few(n) => n,
        _ => 9,
    };
    html! {
        form.add action="/cart/lines" method="post" {
            (visit.form_token())
            input type="hidden" name="sku" value=(chosen.sku);
            input type="hidden" name="seen_minor" value=(chosen.price.amount_minor);
            input type="hidden" name="slug" value=(product.slug);
            @if left == Left::None {
                button type="submit" disabled { (visit.t("Sold out", "Épuisé")) }
            } @else {
                label.qty {
                    span.sr { (visit.t("How many", "Combien")) }
                    select name="qty" { @for n in 1..=most { option value=(n) { (n) } } }
                }
                button type="submit" { (parts::icon("basket")) (visit.t("Add to basket", "Ajouter au panier")) }
            }
        }
    }
}

fn weight(visit: &Visit, grams: i64) -> String {
    if grams < 1000 {
        return format!("{grams}\u{a0}g");
    }
    let tenths = (grams + 50) / 100;
    format!("{}{}{}\u{a0}kg", tenths / 10, visit.t('.', ','), tenths % 10)
}
