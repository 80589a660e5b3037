//! What is for sale.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use store_kit::{Answer, Callee, Money, NoAnswer, Outcome, Refusal, Sku};

use crate::lang::Lang;
use crate::shelf::{Found, Pulse, Shelf};

/// How long an answer is as good as new: shelves hardly change, prices and badges now and then.
const SHELVES_YOUNG: Duration = Duration::from_secs(60);
const LIST_YOUNG: Duration = Duration::from_secs(3);
const PICTURE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    pub(crate) next_cursor: Option<String>,
    pub(crate) total: i64,
    pub(crate) facets: Facets,
    #[serde(default)]
    pub(crate) corrected: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Facets {
    pub(crate) categories: Vec<Facet>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Facet {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) count: i64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Badge {
    In,
    Low,
    Out,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) slug: String,
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) subtitle: String,
    pub(crate) price: Money,
    pub(crate) image: String,
    pub(crate) badge: Option<Badge>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Product {
    pub(crate) slug: String,
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) subtitle: String,
    pub(crate) description: String,
    pub(crate) category: String,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) variants: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice {
    pub(crate) sku: Sku,
    #[serde(default)]
    pub(crate) options: Options,
    pub(crate) price: Money,
    pub(crate) weight_g: i64,
    pub(crate) image: String,
    pub(crate) badge: Option<Badge>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) colour: Option<String>,
    pub(crate) size: Option<String>,
}

impl Options {
    /// `Coral, large`; empty where there is nothing to choose.
    pub(crate) fn words(&self) -> String {
        let both: Vec<&str> =
            [&self.colour, &self.size].into_iter().flatten().map(String::as_str).collect();
        both.join(", ")
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Categories {
    pub(crate) items: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Category {
    pub(crate) path: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) line: String,
    pub(crate) parent: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Variants {
    pub(crate) items: Vec<Variant>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Variant {
    pub(crate) sku: Sku,
    pub(crate) title: String,
    pub(crate) slug: String,
    #[serde(default)]
    pub(crate) options: Options,
    pub(crate) price: Money,
    pub(crate) image: String,
}

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) q: String,
    pub(crate) category: String,
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) badge: &'static str,
    pub(crate) sort: &'static str,
    pub(crate) cursor: String,
    pub(crate) limit: u32,
}

pub(crate) struct Catalog {
    callee: Callee,
    pulse: Pulse,
    lists: Shelf<Page>,
    products: Shelf<Product>,
    categories: Shelf<Categories>,
    variants: Shelf<Variants>,
    pictures: Shelf<Bytes>,
}

impl Catalog {
    pub(crate) fn new(callee: Callee) -> Self {
        Self {
            callee,
            pulse: Pulse::default(),
            lists: Shelf::of(256),
            products: Shelf::of(512),
            categories: Shelf::of(2),
            variants: Shelf::of(256),
            pictures: Shelf::of(512),
        }
    }

    pub(crate) async fn list(&self, lang: Lang, wanted: &Wanted) -> Found<Page> {
        let mut call = self.callee.get("/v1/products").header("accept-language", lang.tag());
        let mut key = lang.tag().to_owned();
        let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
        let limit = if wanted.limit == 0 { String::new() } else { wanted.limit.to_string() };
        for (name, value) in [
            ("q", wanted.q.clone()),
            ("category", wanted.category.clone()),
            ("min", number(wanted.min)),
            ("max", number(wanted.max)),
            ("badge", wanted.badge.to_owned()),
            ("sort", wanted.sort.to_owned()),
            ("cursor", wanted.cursor.clone()),
            ("limit", limit),
        ] {
            if !value.is_empty() {
                key.push_str(&format!("&{name}={value}"));
                call = call.query(name, value);
            }
        }
        self.lists.find(&key, LIST_YOUNG, &self.pulse, call.send()).await
    }

    pub(crate) async fn product(&self, lang: Lang, slug: &str) -> Found<Product> {
        if slug.is_empty() || !slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Found::Nothing;
        }
        let call =
            self.callee.get(format!("/v1/products/{slug}")).header("accept-language", lang.tag());
        self.products
            .find(&format!("{} {slug}", lang.tag()), LIST_YOUNG, &self.pulse, call.send())
            .await
    }

    pub(crate) async fn categories(&self, lang: Lang) -> Found<Categories> {
        let call = self.callee.get("/v1/categories").header("accept-language", lang.tag());
        self.categories.find(lang.tag(), SHELVES_YOUNG, &self.pulse, call.send()).await
    }

    /// Variants of these skus; unknown ones are missing.
    pub(crate) async fn variants(&self, lang: Lang, skus: &[&Sku]) -> Found<Variants> {
        let skus: Vec<&str> = skus.iter().map(|s| s.as_str()).collect();
        let list = skus.join(",");
        let call = self
            .callee
            .get("/v1/variants")
            .query("sku", &list)
            .header("accept-language", lang.tag());
        self.variants
            .find(&format!("{} {list}", lang.tag()), LIST_YOUNG, &self.pulse, call.send())
            .await
    }

    /// A picture's bytes. They never change under their name.
    pub(crate) async fn picture(&self, file: &str) -> Found<Bytes> {
        let ask = async {
            let call = self.callee.get(format!("/media/{file}"));
            let silent =
                |why: String| NoAnswer { callee: "catalog", why, retry_after: None, status: None };
            let response = match call.stream().await {
                Ok(response) => response,
                Err(silence) => return Outcome::NoAnswer(silence),
            };
            let status = response.status().as_u16();
            let body = http_body_util::Limited::new(response.into_body(), PICTURE_BYTES_MAX);
            match (status, tokio::time::timeout(super::ACTION, body.collect()).await) {
                (200, Ok(Ok(body))) => Outcome::Ok(Answer {
                    status,
                    body: body.to_bytes(),
                    headers: Default::default(),
                }),
                (404, _) => Outcome::Refused(Refusal {
                    callee: "catalog",
                    status,
                    code: "not-found".into(),
                    detail: String::new(),
                    errors: Vec::new(),
                    body: serde_json::Value::Null,
                }),
                (_, Ok(Err(why))) => Outcome::NoAnswer(silent(why.to_string())),
                (_, Err(_)) => Outcome::NoAnswer(silent("the picture does not end".into())),
                (status, _) => Outcome::NoAnswer(silent(format!("status {status}"))),
            }
        };
        self.pictures.find(file, Duration::from_secs(3600), &self.pulse, ask).await
    }
}
