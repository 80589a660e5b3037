//! `GET /v1/products`: pages of products with facets.

use axum::extract::State;
use axum::response::Response;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use store_kit::{Db, Money, Problem, UrlQuery};

use crate::locale::Lang;
use crate::media;
use crate::search::{self, Filter};

const LIMIT_DEFAULT: u32 = 24;
const LIMIT_MAX: u32 = 100;
/// Nobody reads page 400; a crawler that does should use the categories.
const DEPTH_MAX: u32 = 10_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    category: String,
    /// In minor units of the shop's currency.
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default)]
    badge: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    cursor: String,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: Option<String>,
    total: i64,
    facets: Facets,
    /// What we searched for instead, when a word occurred nowhere.
    corrected: Option<String>,
}

#[derive(Debug, Serialize)]
struct Item {
    id: String,
    slug: String,
    title: String,
    subtitle: String,
    category: String,
    price: Money,
    image: String,
    badge: Option<String>,
}

#[derive(Debug, Serialize)]
struct Facets {
    categories: Vec<CategoryCount>,
}

#[derive(Debug, Serialize)]
struct CategoryCount {
    path: String,
    name: String,
    count: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Relevance,
    Price,
    PriceDown,
    Name,
    New,
}

impl Sort {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "relevance" => Some(Self::Relevance),
            "price" => Some(Self::Price),
            "-price" => Some(Self::PriceDown),
            "name" => Some(Self::Name),
            "new" => Some(Self::New),
            _ => None,
        }
    }

    /// What can still be bought comes first where the order is ours to choose.
    fn order(self, searching: bool, lang: Lang) -> String {
        match self {
            Self::Relevance if searching => {
                "p.badge IS 'out', bm25(words, 10.0, 6.0, 4.0, 1.0), p.seq".into()
            }
            Self::Relevance => "p.badge IS 'out', p.seq".into(),
            Self::Price => "p.low_minor, p.seq".into(),
            Self::PriceDown => "p.low_minor DESC, p.seq".into(),
            Self::Name => format!("p.{} COLLATE NOCASE, p.seq", lang.column("title")),
            Self::New => "p.seq DESC".into(),
        }
    }
}

pub(crate) async fn list(
    State(db): State<Db>,
    lang: Lang,
    UrlQuery(query): UrlQuery<Query>,
) -> Result<Response, Problem> {
    let (sort, offset, limit) = check(&query)?;
    let page = db.read(move |conn| page(conn, lang, &query, sort, offset, limit)).await?;
    Ok(lang.json(&page))
}

fn check(query: &Query) -> Result<(Sort, u32, u32), Problem> {
    let wrong = |member: &str, detail: &str| {
        Problem::validation("The query is not one this list understands.")
            .field(format!("/{member}"), detail)
    };
    let sort = Sort::parse(&query.sort)
        .ok_or_else(|| wrong("sort", "relevance, price, -price, name or new"))?;
    if !matches!(query.badge.as_str(), "" | "in" | "low" | "out") {
        return Err(wrong("badge", "in, low or out"));
    }
    let offset = match query.cursor.as_str() {
        "" => 0,
        text => text
            .strip_prefix('o')
            .and_then(|digits| digits.parse().ok())
            .filter(|at| *at <= DEPTH_MAX)
            .ok_or_else(|| wrong("cursor", "a next_cursor of an earlier page"))?,
    };
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit", "1 to 100"));
    }
    if query.q.len() > 500 {
        return Err(wrong("q", "at most 500 bytes"));
    }
    Ok((sort, offset, limit))
}

fn page(
    conn: &Connection,
    lang: Lang,
    query: &Query,
    sort: Sort,
    offset: u32,
    limit: u32,
) -> Result<Page, Problem> {
    let understood = search::understand(conn, &query.q)?;
    let searching = understood.expression.is_some();
    let mut filter = Filter::default();
    if let Some(expression) = understood.expression {
        filter.add("words MATCH :q", [(":q", Value::Text(expression))]);
    }
    if let Some(min) = query.min {
        filter.add("p.low_minor >= :min", [(":min", min.into())]);
    }
    if let Some(max) = query.max {
        filter.add("p.low_minor <= :max", [(":max", max.into())]);
    }
    if !query.badge.is_empty() {
        filter.add("p.badge = :badge", [(":badge", query.badge.clone().into())]);
    }
    let from = if searching { "words JOIN product p ON p.seq = words.rowid" } else { "product p" };
    // Counted before the category narrows the list, so that a shopper sees where else to look.
    let categories = count_categories(conn, lang, from, &filter)?;
    if !query.category.is_empty() {
        filter.add(
            "(p.category = :category OR (p.category > :category || '/' AND p.category < :category || '0'))",
            [(":category", query.category.clone().into())],
        );
    }
    let total = if query.category.is_empty() {
        categories.iter().filter(|c| !c.path.contains('/')).map(|c| c.count).sum()
    } else {
        categories.iter().find(|c| c.path == query.category).map_or(0, |c| c.count)
    };
    let sql = format!(
        "SELECT p.id, p.slug, p.{title}, p.{subtitle}, p.category, p.low_minor, p.picture, p.badge
         FROM {from} WHERE {} ORDER BY {} LIMIT {limit} OFFSET {offset}",
        filter.clause(),
        sort.order(searching, lang),
        title = lang.column("title"),
        subtitle = lang.column("subtitle"),
    );
    let mut rows = conn.prepare_cached(&sql)?;
    let items: Vec<Item> =
        rows.query_map(filter.params().as_slice(), item)?.collect::<Result<_, _>>()?;
    let next = offset + limit;
    let more = i64::from(next) < total && !items.is_empty() && next <= DEPTH_MAX;
    Ok(Page {
        items,
        next_cursor: more.then(|| format!("o{next}")),
        total,
        facets: Facets { categories },
        corrected: understood.corrected,
    })
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        id: row.get(0)?,
        slug: row.get(1)?,
        title: row.get(2)?,
        subtitle: row.get(3)?,
        category: row.get(4)?,
        price: Money::eur(row.get(5)?),
        image: media::url(&row.get::<_, String>(6)?),
        badge: row.get(7)?,
    })
}

/// How many of the products that pass are in each category and department; those with none are
/// left out.
fn count_categories(
    conn: &Connection,
    lang: Lang,
    from: &str,
    filter: &Filter,
) -> Result<Vec<CategoryCount>, Problem> {
    let sql = format!(
        "WITH hit AS MATERIALIZED (SELECT p.category AS path, count(*) AS n FROM {from} WHERE {} GROUP BY p.category)
         SELECT c.path, c.{name}, sum(hit.n) FROM category c
         JOIN hit ON hit.path = c.path OR (hit.path > c.path || '/' AND hit.path < c.path || '0')
         GROUP BY c.path ORDER BY c.position",
        filter.clause(),
        name = lang.column("name"),
    );
    let mut rows = conn.prepare_cached(&sql)?;
    let counts = rows.query_map(filter.params().as_slice(), |row| {
        Ok(CategoryCount { path: row.get(0)?, name: row.get(1)?, count: row.get(2)? })
    })?;
    Ok(counts.collect::<Result<_, _>>()?)
}
