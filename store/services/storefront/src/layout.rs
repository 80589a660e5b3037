//! What all pages have around them.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::back::catalog::Category;
use crate::lang::Lang;
use crate::parts::{icon, wordmark};
use crate::visit::Visit;

/// One page, without what is around it.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) body: Markup,
    /// More for the head.
    pub(crate) head: Markup,
    /// The department it belongs to.
    pub(crate) department: String,
    /// What the search field holds.
    pub(crate) q: String,
    /// Leaves out departments and search, so that nothing distracts from buying.
    pub(crate) quiet: bool,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            description: String::new(),
            body,
            head: html! {},
            department: String::new(),
            q: String::new(),
            quiet: false,
        }
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
}

pub(crate) const NAME: &str = "Ostrel";

pub(crate) async fn render(visit: &Visit, page: Page) -> Markup {
    let shelves = visit.shop.back.catalog.categories(visit.lang).await;
    let departments: Vec<&Category> = shelves
        .value()
        .map(|c| c.items.iter().filter(|c| c.parent.is_none()).collect())
        .unwrap_or_default();
    let statics = &visit.shop.statics;
    let title = if page.title.is_empty() {
        visit.t("Ostrel · Outfitters to the islands", "Ostrel · Comptoir des îles").to_owned()
    } else {
        format!("{} · {NAME}", page.title)
    };
    html! {
        (DOCTYPE)
        html lang=(visit.lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                @if !page.description.is_empty() { meta name="description" content=(page.description); }
                meta name="color-scheme" content="light dark";
                meta name="theme-color" content="#fbf7ef" media="(prefers-color-scheme: light)";
                meta name="theme-color" content="#12191d" media="(prefers-color-scheme: dark)";
                link rel="icon" type="image/svg+xml" href=(statics.icon.path);
                link rel="stylesheet" href=(statics.style.path);
                script type="module" src=(statics.script.path) {}
                (page.head)
            }
            body {
                a.skip href="#main" { (visit.t("Skip to content", "Aller au contenu")) }
                (header(visit, &page, &departments))
                main #main tabindex="-1" { (page.body) }
                (footer(visit, &departments, page.quiet))
            }
        }
    }
}

fn header(visit: &Visit, page: &Page, departments: &[&Category]) -> Markup {
    html! {
        header.top {
            div.bar.wrap {
                a.brand href="/" aria-label=(visit.t("Ostrel, home", "Ostrel, accueil")) { (wordmark()) }
                @if !page.quiet { (search_form(visit, &page.q)) }
                div.tools {
                    (languages(visit))
                    a.tool href="/account" {
                        (icon("person"))
                        span.label {
                            @match &visit.session.member {
                                Some(member) => { (first_word(&member.name)) }
                                None => { (visit.t("Account", "Compte")) }
                            }
                        }
                    }
                    a.tool.basket href="/cart" {
                        (icon("basket"))
                        span.label { (visit.t("Basket", "Panier")) }
                        span.bubble data-cart-count hidden[visit.session.things == 0] aria-hidden="true" { (visit.session.things) }
                        span.sr data-cart-words { (things(visit.lang, visit.session.things)) }
                    }
                }
            }
            @if !page.quiet && !departments.is_empty() {
                nav.departments aria-label=(visit.t("Departments", "Rayons")) {
                    ul.wrap {
                        @for d in departments {
                            li {
                                a href={ "/c/" (d.path) } aria-current=[(page.department == d.path).then_some("true")] { (d.name) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn things(lang: Lang, n: u32) -> String {
    match n {
        0 => lang.t("empty", "vide").to_owned(),
        n => lang.count(i64::from(n), ("item", "article"), ("items", "articles")),
    }
}

fn first_word(name: &str) -> String {
    name.split_whitespace().next().unwrap_or(name).chars().take(14).collect()
}

fn search_form(visit: &Visit, q: &str) -> Markup {
    html! {
        form.search role="search" action="/search" method="get" {
            label.sr for="q" { (visit.t("Search the shop", "Chercher dans la boutique")) }
            input #q type="search" name="q" value=(q) maxlength="120" autocomplete="off"
                placeholder=(visit.t("Lanterns, mugs, rope…", "Lanternes, gobelets, cordes…"));
            button type="submit" aria-label=(visit.t("Search", "Chercher")) { (icon("search")) }
        }
    }
}

fn languages(visit: &Visit) -> Markup {
    let other = Lang::ALL.into_iter().find(|l| *l != visit.lang).unwrap_or(Lang::En);
    let to = format!("/lang/{}?{}", other.tag(), encode_pair("back", &visit.here));
    html! {
        a.tool.lang href=(to) lang=(other.tag()) hreflang=(other.tag()) rel="nofollow" {
            span aria-hidden="true" { (other.tag().to_uppercase()) }
            span.sr { (other.name()) }
        }
    }
}

pub(crate) fn encode_pair(name: &str, value: &str) -> String {
    serde_urlencoded::to_string([(name, value)]).unwrap_or_default()
}

fn footer(visit: &Visit, departments: &[&Category], quiet: bool) -> Markup {
    html! {
        footer.foot {
            div.wrap {
                @if !quiet {
                    div.columns {
                        section.about {
                            p.brand-line { (wordmark()) }
                            p {
                                (visit.t(
                                    "Outfitters to a chain of small islands. We sell what works, keep the parts for it, and pack it as if the ferry were rough.",
                                    "Comptoir d’un chapelet de petites îles. Nous vendons ce qui sert, gardons les pièces, et emballons comme si le bac devait rouler.",
                                ))
                            }
                        }
                        @if !departments.is_empty() {
                            nav aria-label=(visit.t("All departments", "Tous les rayons")) {
                                h2 { (visit.t("Departments", "Rayons")) }
                                ul { @for d in departments { li { a href={ "/c/" (d.path) } { (d.name) } } } }
                            }
                        }
                        nav aria-label=(visit.t("Your things", "Vos affaires")) {
                            h2 { (visit.t("Your things", "Vos affaires")) }
                            ul {
                                li { a href="/cart" { (visit.t("Basket", "Panier")) } }
                                li { a href="/orders" { (visit.t("Orders", "Commandes")) } }
                                li { a href="/account" { (visit.t("Account", "Compte")) } }
                                li { a href=(visit.shop.places.phone) { (visit.t("Text messages", "Messages reçus")) } }
                            }
                        }
                    }
                }
                p.small {
                    (visit.t(
                        "A demonstration shop on islands that do not exist. Nothing is charged and nothing is shipped.",
                        "Boutique de démonstration, sur des îles qui n’existent pas. Rien n’est débité, rien n’est expédié.",
                    ))
                }
            }
        }
    }
}
