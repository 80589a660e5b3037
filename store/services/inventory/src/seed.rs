//! Goods on the shelf of a store that opens today, from the same generator as the catalogue's.

use store_kit::{Db, Env, Problem, Sku, StartError};

use crate::shelf;

/// How many skus go into one transaction: the store may be large.
const CHUNK: usize = 2000;

/// Receives the generator's goods, unless this shelf was filled before.
///
/// The first chunk that is missing is where a start that was cut off goes on: a sku that has a
/// row was received.
pub(crate) async fn fill_once(db: &Db, env: &Env) -> Result<(), StartError> {
    let profile = env.get("SEED_PROFILE").unwrap_or("demo").to_owned();
    let seed: u64 = env.parse("SEED", "a number", 7)?;
    let goods = goods(&profile, seed).ok_or_else(|| StartError::Invalid {
        name: "SEED_PROFILE".into(),
        value: profile.clone(),
        expected: "small, demo or big".into(),
    })?;
    let failed = |problem: Problem| StartError::Other(format!("cannot fill the shelf: {problem}"));
    let last = goods.last().map(|(sku, _)| sku.clone());
    let full = db
        .read(move |conn| Ok(conn.prepare("SELECT 1 FROM stock WHERE sku = ?")?.exists([last])?));
    if full.await.map_err(failed)? {
        return Ok(());
    }
    let count = goods.len();
    for chunk in goods.chunks(CHUNK).map(<[_]>::to_vec) {
        db.write(move |tx| chunk.iter().try_for_each(|(sku, qty)| receive_first(tx, sku, *qty)))
            .await
            .map_err(failed)?;
    }
    tracing::info!(profile, seed, skus = count, "filled the shelf");
    Ok(())
}

fn receive_first(tx: &store_kit::Tx<'_>, sku: &Sku, qty: u32) -> Result<(), Problem> {
    if shelf::find(tx, sku)?.is_some() {
        return Ok(());
    }
    shelf::first_day(tx, sku, qty)
}

fn goods(profile: &str, seed: u64) -> Option<Vec<(Sku, u32)>> {
    let products = store_seed::products(store_seed::Profile::parse(profile)?, seed);
    // The generator's own test says that its skus are skus.
    let good = |variant: store_seed::Variant| Some((variant.sku.parse().ok()?, variant.stock));
    Some(products.flat_map(|product| product.variants).filter_map(good).collect())
}
