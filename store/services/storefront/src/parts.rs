//! Pieces that several pages use.

use maud::{Markup, PreEscaped, html};
use store_kit::Money;

use crate::back::buying::Address;
use crate::back::catalog::{Badge, Item};
use crate::lang::Lang;
use crate::visit::Visit;

/// A line drawing of 24 × 24, in the colour of the text around it.
pub(crate) fn icon(name: &str) -> Markup {
    let path = match name {
        "search" => "<circle cx='10.5' cy='10.5' r='6.5'/><path d='m20 20-4.6-4.6'/>",
        "basket" => {
            "<path d='M4 9h16l-1.6 9.2a2 2 0 0 1-2 1.8H7.6a2 2 0 0 1-2-1.8zM8 9l3-5M16 9l-3-5M9.5 13v3M14.5 13v3'/>"
        }
        "person" => {
            "<circle cx='12' cy='8' r='3.6'/><path d='M4.8 20c.7-3.6 3.6-5.6 7.2-5.6s6.5 2 7.2 5.6'/>"
        }
        "check" => "<path d='m5 12.5 4.6 4.5L19 7.5'/>",
        "dot" => "<circle cx='12' cy='12' r='4' fill='currentColor' stroke='none'/>",
        "warn" => "<path d='M12 4 2.8 19.5h18.4zM12 10v4.2M12 17h.01'/>",
        "cross" => "<path d='m6.5 6.5 11 11M17.5 6.5l-11 11'/>",
        "phone" => "<rect x='7' y='2.8' width='10' height='18.4' rx='2.4'/><path d='M11 18.3h2'/>",
        "parcel" => {
            "<path d='m12 3 8 4.3v9.4L12 21l-8-4.3V7.3zM4.3 7.4 12 11.5l7.700-4.100M12 11.5V21M8 5.2l8 4.2'/>"
        }
        "boat" => "<path d='M3 15h18l-2.4 4.5H5.4zM11 3v9.5M11 4l6.5 8.5H11M9 7l-4 5.5h4'/>",
        "card" => "<rect x='3' y='5.5' width='18' height='13' rx='2'/><path d='M3 10h18M7 15h4'/>",
        "lock" => {
            "<rect x='5' y='10.5' width='14' height='9.5' rx='2'/><path d='M8 10.5V8a4 4 0 0 1 8 0v2.5'/>"
        }
        "arrow" => "<path d='M5 12h14m-5.5-5.5L19 12l-5.5 5.5'/>",
        "home" => "<path d='m4 11.5 8-7 8 7M6.5 9.8V19h11V9.8M10.2 19v-5h3.6v5'/>",
        _ => "",
    };
    PreEscaped(format!(
        "<svg class='icon' viewBox='0 0 24 24' width='24' height='24' fill='none' stroke='currentColor' stroke-width='1.7' stroke-linecap='round' stroke-linejoin='round' aria-hidden='true'>{path}</svg>"
    ))
}

/// The sign over the door: a tern over the waves, and the name.
pub(crate) fn wordmark() -> Markup {
    PreEscaped(
        "<svg class='mark' viewBox='0 0 40 40' width='34' height='34' aria-hidden='true'><circle cx='20' cy='20' r='20' class='mark-disc'/><path class='mark-sun' d='M10 24a10 10 0 0 1 20 0z'/><path class='mark-sea' d='M4 24q4-3 8 0t8 0 8 0 8 0a16.5 16.5 0 0 1-32 0z'/><path class='mark-bird' d='M11 13c4-1 6 .5 9 4 3-3.5 5-5 9-4-3.5 1-5.5 2.8-9 7-3.5-4.2-5.5-6-9-7z'/></svg><span class='name'>Ostrel</span>"
            .to_owned(),
    )
}

pub(crate) fn picture(src: &str, alt: &str, eager: bool) -> Markup {
    html! {
        img src=(src) alt=(alt) width="480" height="480" loading=(if eager { "eager" } else { "lazy" }) decoding="async";
    }
}

/// A product in a grid.
pub(crate) fn card(visit: &Visit, item: &Item, eager: bool) -> Markup {
    html! {
        li.card {
            a href={ "/p/" (item.slug) } {
                div.frame {
                    (picture(&item.image, "", eager))
                    (badge(visit.lang, item.badge))
                }
                h3 { (item.title) }
            }
            @if !item.subtitle.is_empty() { p.sub { (item.subtitle) } }
            p.price { (visit.money(item.price)) }
        }
    }
}

pub(crate) fn grid(visit: &Visit, items: &[Item], eager: usize) -> Markup {
    html! {
        ul.grid role="list" { @for (i, item) in items.iter().enumerate() { (card(visit, item, i < eager)) } }
    }
}

/// What a list says about stock: only what is worth saying.
fn badge(lang: Lang, badge: Option<Badge>) -> Markup {
    match badge {
        Some(Badge::Low) => html! { span.badge.low { (lang.t("Last few", "Derniers")) } },
        Some(Badge::Out) => html! { span.badge.out { (lang.t("Sold out", "Épuisé")) } },
        Some(Badge::In) | None => html! {},
    }
}

/// Something that the reader should know, with a colour and a word to match.
pub(crate) fn notice(kind: &'static str, body: Markup) -> Markup {
    let mark = match kind {
        "good" => "check",
        "bad" => "cross",
        _ => "warn",
    };
    html! { div.notice.(kind) role=(if kind == "bad" { "alert" } else { "status" }) { (icon(mark)) div { (body) } } }
}

/// For a page that is made of what was known before.
pub(crate) fn out_of_date(lang: Lang) -> Markup {
    notice(
        "quiet",
        html! {
            (lang.t(
                "The catalogue is catching its breath. Prices and stock on this page are from a little earlier; your basket always checks again.",
                "Le catalogue reprend son souffle. Prix et stock de cette page datent d’un peu plus tôt ; votre panier vérifie toujours.",
            ))
        },
    )
}

/// In place of a panel that cannot be shown.
pub(crate) fn panel_away(text: &str) -> Markup {
    html! { div.away { (icon("boat")) p { (text) } } }
}

/// Where we deliver, by code.
pub(crate) const COUNTRIES: [(&str, &str, &str); 4] = [
    ("FR", "France", "France"),
    ("DE", "Germany", "Allemagne"),
    ("GB", "United Kingdom", "Royaume-Uni"),
    ("US", "United States", "États-Unis"),
];

pub(crate) fn address(lang: Lang, address: &Address) -> Markup {
    let country = COUNTRIES.iter().find(|(code, ..)| *code == address.country);
    let country = country.map_or(address.country.as_str(), |(_, en, fr)| lang.t(en, fr));
    html! {
        address {
            (address.name) br;
            (address.line1) br;
            @if let Some(line2) = address.line2.as_deref().filter(|l| !l.is_empty()) { (line2) br; }
            (address.postcode) " " (address.city) br;
            (country)
        }
    }
}

/// One row of a bill.
pub(crate) fn row(visit: &Visit, label: &str, amount: Money) -> Markup {
    html! { div { dt { (label) } dd { (visit.money(amount)) } } }
}

/// A labelled field with its error under it, tied together for screen readers.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) value: &'a str,
    pub(crate) autocomplete: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) optional: bool,
    pub(crate) half: bool,
    pub(crate) error: Option<&'a str>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(
        name: &'a str,
        label: &'a str,
        value: &'a str,
        autocomplete: &'a str,
    ) -> Self {
        Self {
            name,
            label,
            kind: "text",
            value,
            autocomplete,
            hint: "",
            optional: false,
            half: false,
            error: None,
        }
    }

    pub(crate) fn kind(mut self, kind: &'a str) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) fn half(mut self) -> Self {
        self.half = true;
        self
    }

    pub(crate) fn error(mut self, error: Option<&'a str>) -> Self {
        self.error = error;
        self
    }

    pub(crate) fn render(&self, lang: Lang) -> Markup {
        let (hint_id, error_id) = (format!("{}-hint", self.name), format!("{}-error", self.name));
        let mut about = Vec::new();
        if !self.hint.is_empty() {
            about.push(hint_id.as_str());
        }
        if self.error.is_some() {
            about.push(error_id.as_str());
        }
        let about = about.join(" ");
        html! {
            div.field.half[self.half].wrong[self.error.is_some()] {
                label for=(self.name) {
                    (self.label)
                    @if self.optional { " " span.optional { (lang.t("(optional)", "(facultatif)")) } }
                }
                input id=(self.name) name=(self.name) type=(self.kind) value=(self.value) maxlength="200"
                    autocomplete=(self.autocomplete) required[!self.optional]
                    aria-invalid=[self.error.map(|_| "true")]
                    aria-describedby=[(!about.is_empty()).then_some(&about)];
                @if let Some(error) = self.error { p.error id=(error_id) { (error) } }
                @if !self.hint.is_empty() { p.hint id=(hint_id) { (self.hint) } }
            }
        }
    }
}
