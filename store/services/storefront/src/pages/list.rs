//! Lists of products: a department, a category, a search.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::back::catalog::{Categories, Page as Products, Wanted};
use crate::layout::Page;
use crate::pages::problem;
use crate::parts;
use crate::shelf::Found;
use crate::visit::Visit;

/// What the address says. Everything is text: whatever cannot be understood is left out, since
/// a list with a filter less is better than an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    category: String,
    /// In whole units of money, as people type them.
    #[serde(default)]
    min: String,
    #[serde(default)]
    max: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    cursor: String,
}

const SORTS: [(&str, &str, &str); 5] = [
    ("relevance", "Best match", "Pertinence"),
    ("new", "Newest first", "Nouveautés"),
    ("price", "Price, low to high", "Prix croissant"),
    ("-price", "Price, high to low", "Prix décroissant"),
    ("name", "By name", "Par nom"),
];

impl Asked {
    fn sort(&self) -> &'static str {
        SORTS.iter().map(|s| s.0).find(|s| *s == self.sort).unwrap_or("relevance")
    }

    fn cents(text: &str) -> Option<i64> {
        let text =
            text.trim().trim_start_matches('€').trim_end_matches('€').trim().replace(',', ".");
        let (whole, cents) = text.split_once('.').unwrap_or((&text, "0"));
        let whole: i64 = whole.parse().ok().filter(|n| (0..=1_000_000).contains(n))?;
        let cents: i64 = format!("{cents}0").get(..2)?.parse().ok()?;
        Some(whole * 100 + cents)
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            q: self.q.chars().take(120).collect(),
            category: self.category.clone(),
            min: Self::cents(&self.min),
            max: Self::cents(&self.max),
            badge: "",
            sort: self.sort(),
            cursor: self.cursor.chars().filter(char::is_ascii_alphanumeric).take(64).collect(),
            limit: 24,
        }
    }

    /// The address of this list with something changed.
    fn url(&self, path: &str, change: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("q", self.q.as_str()),
            ("min", &self.min),
            ("max", &self.max),
            ("sort", &self.sort),
        ];
        if path == "/search" {
            pairs.push(("category", &self.category));
        }
        for (name, value) in change {
            pairs.retain(|(n, _)| n != name);
            pairs.push((name, value));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        if pairs.is_empty() {
            return path.to_owned();
        }
        format!("{path}?{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    }
}

pub(crate) async fn category(
    visit: Visit,
    Path(path): Path<String>,
    Query(mut asked): Query<Asked>,
) -> Response {
    let path = path.trim_end_matches('/').to_owned();
    asked.category.clone_from(&path);
    asked.q.clear();
    let catalog = &visit.shop.back.catalog;
    let wanted = asked.wanted();
    let (shelves, found) =
        tokio::join!(catalog.categories(visit.lang), catalog.list(visit.lang, &wanted));
    let known = shelves.value();
    let Some(category) = known.and_then(|c| c.items.iter().find(|c| c.path == path)) else {
        if known.is_some() {
            return problem::not_found(visit).await;
        }
        return no_catalogue(visit).await;
    };
    let department = path.split('/').next().unwrap_or_default().to_owned();
    let title = category.name.clone();
    let here = format!("/c/{path}");
    let body = html! {
        div.wrap {
            (crumbs(&visit, known, &path))
            header.list-head {
                h1 { (category.name) }
                @if !category.line.is_empty() { p.lead { (category.line) } }
            }
            (siblings(known, &department, &path, visit.t("All of it", "Tout le rayon")))
            (results(&visit, &found, &asked, &here, None))
        }
    };
    let mut page = Page::new(title, body);
    page.department = department;
    page.description.clone_from(&category.line);
    visit.page(page).await
}

pub(crate) async fn search(visit: Visit, Query(asked): Query<Asked>) -> Response {
    let found = visit.shop.back.catalog.list(visit.lang, &asked.wanted()).await;
    if found.value().is_none() {
        return no_catalogue(visit).await;
    }
    let q = asked.q.trim();
    let title =
        if q.is_empty() { visit.t("Everything", "Tout").to_owned() } else { format!("“{q}”") };
    let corrected = found.value().and_then(|p| p.corrected.as_deref());
    let body = html! {
        div.wrap {
            header.list-head {
                @if q.is_empty() {
                    h1 { (visit.t("Everything in the shop", "Toute la boutique")) }
                } @else {
                    h1 { (visit.t("Results for", "Résultats pour")) " " q { (corrected.unwrap_or(q)) } }
                    @if corrected.is_some() {
                        p.lead { (visit.t("Nothing is called", "Rien ne s’appelle")) " " q { (q) } (visit.t("; we took it for the nearest word that we know.", " ; nous l’avons pris pour le mot le plus proche que nous connaissions.")) }
                    }
                }
            }
            (results(&visit, &found, &asked, "/search", Some(&asked.category)))
        }
    };
    let mut page = Page::new(title, body);
    page.q = q.to_owned();
    visit.page(page).await
}

async fn no_catalogue(visit: Visit) -> Response {
    let title = visit.t("The catalogue is not answering", "Le catalogue ne répond pas");
    let text = visit.t(
        "The shelves are there, only the list of them is being looked for. Please try again in a moment; your basket is safe.",
        "Les rayons sont là, c’est leur liste que l’on cherche. Réessayez dans un instant ; votre panier est en sûreté.",
    );
    problem::away(visit, title, text).await
}

/// Home, department, category.
pub(crate) fn crumbs(visit: &Visit, known: Option<&Categories>, path: &str) -> Markup {
    let parent = path.split('/').next().unwrap_or_default();
    let name = |path: &str| {
        known.and_then(|c| c.items.iter().find(|c| c.path == path)).map(|c| c.name.as_str())
    };
    let steps: Vec<&str> = if parent == path { vec![path] } else { vec![parent, path] };
    html! {
        nav.crumbs aria-label=(visit.t("You are here", "Vous êtes ici")) {
            ol {
                li { a href="/" { (visit.t("Shop", "Boutique")) } }
                @for step in steps {
                    @if let Some(name) = name(step) { li { a href={ "/c/" (step) } { (name) } } }
                }
            }
        }
    }
}

/// The categories of a department as a row of choices.
fn siblings(known: Option<&Categories>, department: &str, path: &str, all: &str) -> Markup {
    let Some(known) = known else { return html! {} };
    let shelves = known.items.iter().filter(|c| c.parent.as_deref() == Some(department));
    html! {
        ul.chips role="list" {
            li { a.chip href={ "/c/" (department) } aria-current=[(path == department).then_some("page")] { (all) } }
            @for shelf in shelves {
                li { a.chip href={ "/c/" (shelf.path) } aria-current=[(path == shelf.path).then_some("page")] { (shelf.name) } }
            }
        }
    }
}

/// The list with its filters. `narrowed` is the category of a search.
fn results(
    visit: &Visit,
    found: &Found<Products>,
    asked: &Asked,
    here: &str,
    narrowed: Option<&str>,
) -> Markup {
    let Some(page) = found.value() else {
        return parts::panel_away(visit.t(
            "This shelf cannot be shown just now. Please try again in a moment.",
            "Ce rayon ne peut être montré pour l’instant. Réessayez dans un instant.",
        ));
    };
    html! {
        @if found.is_stale() { (parts::out_of_date(visit.lang)) }
        div.list {
            (filters(visit, page, asked, here, narrowed))
            section.found aria-label=(visit.t("Products", "Produits")) {
                p.count role="status" { (visit.lang.count(page.total, ("product", "produit"), ("products", "produits"))) }
                @if page.items.is_empty() {
                    div.none {
                        p { (visit.t("Nothing fits all of that.", "Rien ne répond à tout cela.")) }
                        p { a href=(here) { (visit.t("Start again without filters", "Recommencer sans filtre")) } }
                    }
                } @else {
                    (parts::grid(visit, &page.items, 6))
                }
                @if let Some(next) = &page.next_cursor {
                    p.more { a.button.quiet href=(asked.url(here, &[("cursor", next)])) { (visit.t("More of this", "La suite")) } }
                }
            }
        }
    }
}

fn filters(
    visit: &Visit,
    page: &Products,
    asked: &Asked,
    here: &str,
    narrowed: Option<&str>,
) -> Markup {
    html! {
        aside.filters aria-label=(visit.t("Narrow the list", "Affiner la liste")) {
            details.panel open {
                summary { (visit.t("Narrow & sort", "Affiner & trier")) }
                form action=(here) method="get" {
                    @if narrowed.is_some() {
                        @if !asked.q.is_empty() { input type="hidden" name="q" value=(asked.q); }
                        @if !asked.category.is_empty() { input type="hidden" name="category" value=(asked.category); }
                    }
                    div.field {
                        label for="sort" { (visit.t("Sort by", "Trier par")) }
                        select #sort name="sort" data-auto {
                            @for (value, en, fr) in SORTS {
                                option value=(value) selected[asked.sort() == value] { (visit.t(en, fr)) }
                            }
                        }
                    }
                    fieldset.range {
                        legend { (visit.t("Price in euros", "Prix en euros")) }
                        label { span { (visit.t("from", "de")) } input type="text" inputmode="decimal" name="min" value=(asked.min) size="5" maxlength="9"; }
                        label { span { (visit.t("to", "à")) } input type="text" inputmode="decimal" name="max" value=(asked.max) size="5" maxlength="9"; }
                    }
                    button.quiet type="submit" { (visit.t("Apply", "Appliquer")) }
                }
                @if let Some(narrowed) = narrowed {
                    (facets(visit, page, asked, here, narrowed))
                }
            }
        }
    }
}

fn facets(visit: &Visit, page: &Products, asked: &Asked, here: &str, narrowed: &str) -> Markup {
    let open = narrowed.split('/').next().unwrap_or_default();
    html! {
        nav.facets aria-label=(visit.t("By department", "Par rayon")) {
            ul {
                li { a href=(asked.url(here, &[("category", "")])) aria-current=[narrowed.is_empty().then_some("true")] { (visit.t("All departments", "Tous les rayons")) } }
                @for facet in page.facets.categories.iter().filter(|f| !f.path.contains('/')) {
                    li {
                        a href=(asked.url(here, &[("category", &facet.path)])) aria-current=[(narrowed == facet.path).then_some("true")] {
                            (facet.name) " " span.n { (facet.count) }
                        }
                        @if open == facet.path {
                            ul {
                                @for inner in page.facets.categories.iter().filter(|f| f.path.split_once('/').is_some_and(|(d, _)| d == open)) {
                                    li {
                                        a href=(asked.url(here, &[("category", &inner.path)])) aria-current=[(narrowed == inner.path).then_some("true")] {
                                            (inner.name) " " span.n { (inner.count) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_as_people_type_them() {
        for (typed, cents) in [
            ("20", Some(2000)),
            (" 12,5 ", Some(1250)),
            ("9.90", Some(990)),
            ("€7", Some(700)),
            ("", None),
            ("x", None),
            ("-3", None),
            ("1e9", None),
            ("99999999", None),
            ("1.é", None),
        ] {
            assert_eq!(Asked::cents(typed), cents, "{typed}");
        }
    }

    #[test]
    fn a_list_keeps_its_filters_from_page_to_page() {
        let asked = Asked {
            q: "thé & co".into(),
            sort: "price".into(),
            max: "30".into(),
            ..Asked::default()
        };
        assert_eq!(
            asked.url("/search", &[("cursor", "o24")]),
            "/search?q=th%C3%A9+%26+co&max=30&sort=price&cursor=o24"
        );
        assert_eq!(Asked::default().url("/c/lamps", &[("category", "")]), "/c/lamps");
    }
}
