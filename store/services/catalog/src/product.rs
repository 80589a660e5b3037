//! One product, its variants, and the shelves of the shop.

use axum::extract::State;
use axum::response::Response;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store_kit::{Db, Money, Problem, UrlPath, UrlQuery};

use crate::locale::Lang;
use crate::media;

/// How many skus can be asked for at once: a full cart, twice.
const SKUS_MAX: usize = 100;

#[derive(Debug, Serialize)]
struct Detail {
    id: String,
    slug: String,
    title: String,
    subtitle: String,
    description: String,
    category: String,
    attributes: Map<String, Value>,
    image: String,
    variants: Vec<Choice>,
}

#[derive(Debug, Serialize)]
struct Choice {
    sku: String,
    options: Options,
    price: Money,
    price_version: i64,
    weight_g: i64,
    image: String,
    badge: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) colour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<String>,
}

/// One variant with what a line in a cart needs.
#[derive(Debug, Serialize)]
pub(crate) struct Variant {
    pub(crate) sku: String,
    pub(crate) title: String,
    pub(crate) slug: String,
    pub(crate) options: Options,
    pub(crate) price: Money,
    pub(crate) price_version: i64,
    pub(crate) weight_g: i64,
    pub(crate) image: String,
    pub(crate) badge: Option<String>,
}

#[derive(Debug, Serialize)]
struct Category {
    path: String,
    name: String,
    line: String,
    parent: Option<String>,
    count: i64,
}

#[derive(Debug, Serialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Skus {
    sku: String,
}

pub(crate) async fn by_slug(
    State(db): State<Db>,
    lang: Lang,
    UrlPath(slug): UrlPath<String>,
) -> Result<Response, Problem> {
    let detail = db.read(move |conn| detail(conn, lang, &slug)).await?;
    Ok(lang.json(&detail))
}

pub(crate) async fn categories(State(db): State<Db>, lang: Lang) -> Result<Response, Problem> {
    let items = db
        .read(move |conn| {
            let sql = format!(
                "SELECT c.path, c.{name}, c.{line}, c.parent,
                   (SELECT count(*) FROM product p WHERE p.category = c.path OR (p.category > c.path || '/' AND p.category < c.path || '0'))
                 FROM category c ORDER BY c.position",
                name = lang.column("name"),
                line = lang.column("line"),
            );
            let mut rows = conn.prepare_cached(&sql)?;
            let items = rows.query_map([], |row| {
                Ok(Category {
                    path: row.get(0)?,
                    name: row.get(1)?,
                    line: row.get(2)?,
                    parent: row.get(3)?,
                    count: row.get(4)?,
                })
            })?;
            Ok(items.collect::<Result<Vec<_>, _>>()?)
        })
        .await?;
    Ok(lang.json(&Items { items }))
}

pub(crate) async fn variants(
    State(db): State<Db>,
    lang: Lang,
    UrlQuery(query): UrlQuery<Skus>,
) -> Result<Response, Problem> {
    let skus: Vec<String> =
        query.sku.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    if skus.len() > SKUS_MAX {
        return Err(Problem::validation("Too many skus at once.").field("/sku", "at most 100"));
    }
    let items = db
        .read(move |conn| {
            let mut items = Vec::with_capacity(skus.len());
            for sku in &skus {
                items.extend(variant(conn, lang, sku)?);
            }
            Ok(items)
        })
        .await?;
    Ok(lang.json(&Items { items }))
}

/// One variant by sku, with its open price.
pub(crate) fn variant(
    conn: &Connection,
    lang: Lang,
    sku: &str,
) -> Result<Option<Variant>, Problem> {
    let sql = format!(
        "SELECT v.sku, p.{title}, p.slug, v.{colour}, v.{size}, e.amount_minor, e.version, v.weight_g, v.picture, v.badge
         FROM variant v JOIN product p ON p.seq = v.product
         JOIN price e ON e.sku = v.sku AND e.currency = 'EUR' AND e.valid_to IS NULL WHERE v.sku = ?",
        title = lang.column("title"),
        colour = lang.column("colour"),
        size = lang.column("size"),
    );
    let read = |row: &Row<'_>| {
        Ok(Variant {
            sku: row.get(0)?,
            title: row.get(1)?,
            slug: row.get(2)?,
            options: Options { colour: row.get(3)?, size: row.get(4)? },
            price: Money::eur(row.get(5)?),
            price_version: row.get(6)?,
            weight_g: row.get(7)?,
            image: media::url(&row.get::<_, String>(8)?),
            badge: row.get(9)?,
        })
    };
    Ok(conn.prepare_cached(&sql)?.query_row([sku], read).optional()?)
}

fn detail(conn: &Connection, lang: Lang, slug: &str) -> Result<Detail, Problem> {
    let sql = format!(
        "SELECT seq, id, slug, {title}, {subtitle}, {description}, category, attributes, picture FROM product WHERE slug = ?",
        title = lang.column("title"),
        subtitle = lang.column("subtitle"),
        description = lang.column("description"),
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_row([slug], |row| {
            let attributes: String = row.get(7)?;
            let mut attributes: Value = serde_json::from_str(&attributes).unwrap_or_default();
            let attributes = match attributes[lang.tag()].take() {
                Value::Object(map) => map,
                _ => Map::new(),
            };
            let detail = Detail {
                id: row.get(1)?,
                slug: row.get(2)?,
                title: row.get(3)?,
                subtitle: row.get(4)?,
                description: row.get(5)?,
                category: row.get(6)?,
                attributes,
                image: media::url(&row.get::<_, String>(8)?),
                variants: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, detail))
        })
        .optional()?;
    let Some((seq, mut detail)) = found else {
        return Err(Problem::not_found(format!(
            "product `{}`",
            slug.chars().take(80).collect::<String>()
        )));
    };
    let sql = format!(
        "SELECT v.sku, v.{colour}, v.{size}, e.amount_minor, e.version, v.weight_g, v.picture, v.badge
         FROM variant v JOIN price e ON e.sku = v.sku AND e.currency = 'EUR' AND e.valid_to IS NULL
         WHERE v.product = ? ORDER BY v.position",
        colour = lang.column("colour"),
        size = lang.column("size"),
    );
    let mut rows = conn.prepare_cached(&sql)?;
    let variants = rows.query_map([seq], |row| {
        Ok(Choice {
            sku: row.get(0)?,
            options: Options { colour: row.get(1)?, size: row.get(2)? },
            price: Money::eur(row.get(3)?),
            price_version: row.get(4)?,
            weight_g: row.get(5)?,
            image: media::url(&row.get::<_, String>(6)?),
            badge: row.get(7)?,
        })
    })?;
    detail.variants = variants.collect::<Result<_, _>>()?;
    Ok(detail)
}
