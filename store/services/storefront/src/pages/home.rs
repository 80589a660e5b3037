//! `/`: what the shop is, where things are, and what is worth a look.

use axum::response::Response;
use maud::{Markup, html};
use store_kit::Sku;

use crate::back::catalog::{Badge, Category, Page as Products, Wanted};
use crate::layout::Page;
use crate::parts::{self, panel_away, picture};
use crate::shelf::Found;
use crate::visit::Visit;

const FRESH: u32 = 8;
const LAST: u32 = 4;

pub(crate) async fn home(visit: Visit) -> Response {
    let catalog = &visit.shop.back.catalog;
    let lang = visit.lang;
    let fresh = Wanted { sort: "new", badge: "in", limit: FRESH, ..Wanted::default() };
    let last = Wanted { badge: "low", limit: LAST, ..Wanted::default() };
    let (shelves, fresh, last) = tokio::join!(
        catalog.categories(lang),
        catalog.list(lang, &fresh),
        catalog.list(lang, &last)
    );
    let departments: Vec<&Category> = shelves
        .value()
        .map(|c| c.items.iter().filter(|c| c.parent.is_none()).collect())
        .unwrap_or_default();
    let faces = faces(&visit, &departments).await;
    let stale = shelves.is_stale() || fresh.is_stale() || last.is_stale();
    let left = left(&visit, &last).await;
    let body = html! {
        (hero(&visit))
        @if stale && fresh.value().is_some() { div.wrap { (parts::out_of_date(lang)) } }
        section.wrap.block aria-labelledby="departments" {
            h2 #departments { (visit.t("Six departments, one counter", "Six rayons, un comptoir")) }
            @if departments.is_empty() {
                (panel_away(visit.t("The shelves are being carried in. Please look again in a minute.", "On rentre les étagères. Revenez dans une minute.")))
            } @else {
                ul.doors role="list" {
                    @for (department, face) in departments.iter().zip(&faces) {
                        li {
                            a.door href={ "/c/" (department.path) } {
                                @if let Some(face) = face { div.frame { (picture(face, "", true)) } }
                                div.words {
                                    h3 { (department.name) }
                                    p { (department.line) }
                                }
                            }
                        }
                    }
                }
            }
        }
        section.wrap.block aria-labelledby="fresh" {
            div.heading {
                h2 #fresh { (visit.t("Fresh off the boat", "Débarqués du bac")) }
                a href="/search?sort=new" { (visit.t("Everything new", "Toutes les nouveautés")) " " (parts::icon("arrow")) }
            }
            @match fresh.value() {
                Some(page) if !page.items.is_empty() => { (parts::grid(&visit, &page.items, 4)) }
                _ => (panel_away(visit.t("New arrivals are still on the quay.", "Les nouveautés sont encore à quai."))),
            }
        }
        @if let Some(page) = last.value().filter(|p| !p.items.is_empty()) {
            section.band aria-labelledby="last" {
                div.wrap {
                    div.heading {
                        h2 #last { (visit.t("Down to the last few", "Plus que quelques-uns")) }
                        p { (visit.t("When they are gone, the kiln cools and the loom is re-strung.", "Après, le four refroidit et l’on remonte le métier.")) }
                    }
                    ul.grid role="list" {
                        @for item in &page.items {
                            li.card {
                                a href={ "/p/" (item.slug) } {
                                    div.frame {
                                        (picture(&item.image, "", false))
                                        @if item.badge == Some(Badge::Low) {
                                            span.badge.low {
                                                @match left.iter().find(|(slug, _)| *slug == item.slug) {
                                                    Some((_, 1)) => { (visit.t("The last one", "Le dernier")) }
                                                    Some((_, n)) if *n > 1 => {
                                                        (visit.lang.count(*n, ("left", "restant"), ("left", "restants")))
                                                    }
                                                    _ => { (visit.t("Last few", "Derniers")) }
                                                }
                                            }
                                        }
                                    }
                                    h3 { (item.title) }
                                }
                                @if !item.subtitle.is_empty() { p.sub { (item.subtitle) } }
                                p.price { (visit.money(item.price)) }
                            }
                        }
                    }
                }
            }
        }
        (promises(&visit))
    };
    let mut page = Page::new("", body);
    page.description = visit
        .t(
            "Maps, lamps, teapots, blankets, garden things and tools from the islands of Ostrel.",
            "Cartes, lampes, théières, couvertures, jardin et outils des îles d’Ostrel.",
        )
        .into();
    visit.page(page).await
}

fn hero(visit: &Visit) -> Markup {
    let statics = &visit.shop.statics;
    html! {
        section.hero {
            picture {
                source srcset=(statics.hero_dark.path) media="(prefers-color-scheme: dark)";
                img src=(statics.hero.path) alt="" width="1600" height="640" fetchpriority="high";
            }
            div.wrap {
                div.hero-words {
                    p.eyebrow { (visit.t("Outfitters to twenty-four small islands", "Comptoir de vingt-quatre petites îles")) }
                    h1 { (visit.t("Good things for weather of every kind", "De bonnes choses pour tous les temps")) }
                    p.lead {
                        (visit.t(
                            "Lanterns that stay lit, mugs that do not slide, blankets for two. Made on the islands, packed with care, sent on the next boat.",
                            "Des lanternes qui tiennent, des gobelets qui ne glissent pas, des plaids pour deux. Fait dans les îles, emballé avec soin, expédié au prochain bac.",
                        ))
                    }
                    p.ways {
                        a.button href="/c/lamps" { (visit.t("See the lamps", "Voir les lampes")) }
                        a.button.quiet href="/search?sort=new" { (visit.t("What is new", "Les nouveautés")) }
                    }
                }
            }
        }
    }
}

/// A picture for each department: its first product's.
async fn faces(visit: &Visit, departments: &[&Category]) -> Vec<Option<String>> {
    let catalog = &visit.shop.back.catalog;
    let asked = departments.iter().map(|department| async move {
        let wanted = Wanted { category: department.path.clone(), limit: 1, ..Wanted::default() };
        let found = catalog.list(visit.lang, &wanted).await;
        found.value().and_then(|page| page.items.first()).map(|item| item.image.clone())
    });
    futures_util::future::join_all(asked).await
}

/// How many are left of the products that are nearly gone, over all their variants. Needs the
/// skus, which only the product knows; all of it is best effort.
async fn left(visit: &Visit, last: &Found<Products>) -> Vec<(String, i64)> {
    let Some(page) = last.value() else { return Vec::new() };
    let catalog = &visit.shop.back.catalog;
    let details = page.items.iter().map(|item| catalog.product(visit.lang, &item.slug));
    let details = futures_util::future::join_all(details).await;
    let products: Vec<_> = details.iter().filter_map(Found::value).collect();
    let skus: Vec<&Sku> = products.iter().flat_map(|p| p.variants.iter().map(|v| &v.sku)).collect();
    let free = visit.shop.back.inventory.free(&skus).await;
    let known = products.iter().filter(|p| p.variants.iter().all(|v| free.contains_key(&v.sku)));
    known.map(|p| (p.slug.clone(), p.variants.iter().map(|v| free[&v.sku]).sum())).collect()
}

fn promises(visit: &Visit) -> Markup {
    let points = [
        (
            "lock",
            visit.t("Charged when packed", "Débité une fois emballé"),
            visit.t(
                "We set the amount aside when you order and take it when the parcel is closed.",
                "Le montant est réservé à la commande et prélevé quand le colis est fermé.",
            ),
        ),
        (
            "phone",
            visit.t("A text at every turn", "Un message à chaque étape"),
            visit.t(
                "Received, on its way, at your door: you hear from us before you wonder.",
                "Reçue, en route, à votre porte : nous écrivons avant que vous ne vous demandiez.",
            ),
        ),
        (
            "parcel",
            visit.t("One count, kept honest", "Un seul compte, tenu juste"),
            visit.t(
                "What we show is what is on the shelf. The last one is sold once.",
                "Ce que nous montrons est en rayon. Le dernier ne se vend qu’une fois.",
            ),
        ),
    ];
    html! {
        section.wrap.block.promises aria-label=(visit.t("How we work", "Notre façon de faire")) {
            @for (mark, title, text) in points {
                div { (parts::icon(mark)) div { h3 { (title) } p { (text) } } }
            }
        }
    }
}
