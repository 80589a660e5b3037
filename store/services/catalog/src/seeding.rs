//! The first start: fills the empty database from the generator.
//!
//! In batches, each in a transaction that also moves the mark where to go on, so that a kill at
//! any moment leaves a prefix of the store and the next start continues. The first batch is
//! done before we listen (a demo store is one batch), the rest while we serve.

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value, json};
use store_kit::{Db, Problem, StartError, Stop, Tx};
use store_seed::{Product, Profile, Text, Variant};

use crate::terms;

const BATCH: u32 = 500;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
}

/// What is left to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    plan: Plan,
    next: u32,
    total: u32,
}

/// Reads how far we are, or begins, and does the first batch.
pub(crate) async fn begin(db: &Db, plan: Plan) -> Result<Rest, StartError> {
    let failed =
        |problem: Problem| StartError::Other(format!("cannot fill the catalogue: {problem}"));
    let rest = db.write(move |tx| mark(tx, plan)).await.map_err(failed)?;
    if (rest.plan.profile, rest.plan.seed) != (plan.profile, plan.seed) {
        tracing::warn!(
            has = rest.plan.profile.name(),
            asked = plan.profile.name(),
            "the catalogue was filled before with another profile or seed and keeps it; use a new database to change"
        );
    }
    batch(db, rest).await.map_err(failed)
}

/// Does the rest, until it is done or we are asked to stop.
pub(crate) async fn finish(db: Db, mut rest: Rest, stop: Stop) {
    while rest.next < rest.total && !stop.is_stopped() {
        match batch(&db, rest).await {
            Ok(left) => rest = left,
            Err(problem) => {
                tracing::warn!(%problem, "could not add products; trying again in a second");
                tokio::select! {
                    biased;
                    () = stop.stopped() => {}
                    () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                }
            }
        }
    }
    stop.stopped().await;
}

fn mark(tx: &Tx<'_>, plan: Plan) -> Result<Rest, Problem> {
    let found: Option<(String, i64, u32, u32)> = tx
        .query_row("SELECT profile, seed, next, total FROM seeding", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    if let Some((profile, seed, next, total)) = found {
        let profile = Profile::parse(&profile).unwrap_or(plan.profile);
        return Ok(Rest { plan: Plan { profile, seed: seed.cast_unsigned() }, next, total });
    }
    let total = plan.profile.products();
    tx.execute(
        "INSERT INTO seeding(one, profile, seed, next, total) VALUES(1,?,?,0,?)",
        params![plan.profile.name(), plan.seed.cast_signed(), total],
    )?;
    for (position, category) in store_seed::categories().into_iter().enumerate() {
        tx.execute(
            "INSERT INTO category(path, parent, position, name_en, name_fr, line_en, line_fr) VALUES(?,?,?,?,?,?,?)",
            params![
                category.path,
                category.parent,
                position as i64,
                category.name.en,
                category.name.fr,
                category.line.en,
                category.line.fr
            ],
        )?;
    }
    Ok(Rest { plan, next: 0, total })
}

async fn batch(db: &Db, rest: Rest) -> Result<Rest, Problem> {
    if rest.next >= rest.total {
        return Ok(rest);
    }
    let until = rest.total.min(rest.next + BATCH);
    let done = db
        .write(move |tx| {
            let step = rest.plan.profile.step();
            for i in rest.next..until {
                insert(tx, i, &store_seed::product(rest.plan.seed, i * step))?;
            }
            tx.execute("UPDATE seeding SET next = ?", [until])?;
            Ok(Rest { next: until, ..rest })
        })
        .await?;
    tracing::info!(products = until, of = rest.total, "catalogue filled");
    Ok(done)
}

/// Adds one product with all that belongs to it, and says so.
fn insert(tx: &Tx<'_>, seq: u32, product: &Product) -> Result<(), Problem> {
    let low = product.variants.iter().map(|v| v.price_minor).min().unwrap_or(0);
    let badges: Vec<&str> = product.variants.iter().map(badge).collect();
    let best = ["in", "low", "out"].into_iter().find(|level| badges.contains(level));
    let picture = product.variants.first().map(|v| v.art.stem()).unwrap_or_default();
    tx.prepare_cached(
        "INSERT INTO product(seq, id, slug, title_en, title_fr, subtitle_en, subtitle_fr, description_en, description_fr, category, attributes, picture, low_minor, badge)
         VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    )?
    .execute(params![
        seq,
        product.id,
        product.slug,
        product.title.en,
        product.title.fr,
        product.subtitle.en,
        product.subtitle.fr,
        product.description.en,
        product.description.fr,
        product.category,
        attributes(&product.attributes).to_string(),
        picture,
        low,
        best
    ])?;
    for (position, variant) in product.variants.iter().enumerate() {
        insert_variant(tx, seq, position, variant, badge(variant))?;
    }
    index(tx, seq, product)?;
    let skus: Vec<&str> = product.variants.iter().map(|v| v.sku.as_str()).collect();
    let fact = json!({"product_id": product.id, "slug": product.slug, "skus": skus});
    tx.publish("product.published", &product.id, &fact)
}

fn insert_variant(
    tx: &Tx<'_>,
    seq: u32,
    position: usize,
    variant: &Variant,
    badge: &str,
) -> Result<(), Problem> {
    let both = |text: &Option<Text>| match text {
        Some(text) => (Some(text.en.clone()), Some(text.fr.clone())),
        None => (None, None),
    };
    let ((colour_en, colour_fr), (size_en, size_fr)) = (both(&variant.colour), both(&variant.size));
    tx.prepare_cached(
        "INSERT INTO variant(sku, product, position, colour_en, colour_fr, size_en, size_fr, weight_g, picture, badge) VALUES(?,?,?,?,?,?,?,?,?,?)",
    )?
    .execute(params![
        variant.sku,
        seq,
        position as i64,
        colour_en,
        colour_fr,
        size_en,
        size_fr,
        variant.weight_g,
        variant.art.stem(),
        badge
    ])?;
    tx.prepare_cached(
        "INSERT INTO price(sku, version, currency, amount_minor, valid_from) VALUES(?,1,'EUR',?,?)",
    )?
    .execute(params![variant.sku, variant.price_minor, tx.now()])?;
    Ok(())
}

/// Both services know the first day's stock from the generator, so the shop need not wait for
/// inventory's first events to show it.
fn badge(variant: &Variant) -> &'static str {
    match variant.stock {
        0 => "out",
        1..=3 => "low",
        _ => "in",
    }
}

fn attributes(pairs: &[(Text, Text)]) -> Value {
    let object = |pick: fn(&Text) -> &str| -> Map<String, Value> {
        pairs.iter().map(|(label, value)| (pick(label).to_owned(), pick(value).into())).collect()
    };
    json!({"en": object(|t| &t.en), "fr": object(|t| &t.fr)})
}

fn index(tx: &Tx<'_>, seq: u32, product: &Product) -> Result<(), Problem> {
    let shelf: String = tx
        .prepare_cached(
            "SELECT c.name_en || ' ' || c.name_fr || ' ' || d.name_en || ' ' || d.name_fr
             FROM category c JOIN category d ON d.path = c.parent WHERE c.path = ?",
        )?
        .query_row([product.category], |row| row.get(0))?;
    let both = |text: &Text| format!("{} {}", text.en, text.fr);
    let (title, subtitle) = (both(&product.title), both(&product.subtitle));
    let mut colours = String::new();
    for colour in product.variants.iter().filter_map(|v| v.colour.as_ref()) {
        let words = both(colour);
        if !colours.contains(&words) {
            colours.push_str(&words);
            colours.push(' ');
        }
    }
    tx.prepare_cached(
        "INSERT INTO words(rowid, title, shelf, subtitle, description) VALUES(?,?,?,?,?)",
    )?
    .execute(params![
        seq,
        title,
        format!("{shelf} {colours}"),
        subtitle,
        both(&product.description)
    ])?;
    for word in terms::words(&format!("{title} {shelf} {colours} {subtitle}")) {
        terms::learn(tx, &word)?;
    }
    Ok(())
}
