//! Badges: the last that inventory said about a sku.

use rusqlite::params;
use serde::Deserialize;
use store_kit::{Event, Problem, Tx, Verdict};

#[derive(Debug, Deserialize)]
struct LevelChanged {
    sku: String,
    level: Level,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    In,
    Low,
    Out,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Low => "low",
            Self::Out => "out",
        }
    }
}

/// Facts may come late and out of order; one that is older than what we show changes nothing.
/// (Both times were read from inventory's clock.) A sku that we do not sell is no error: the
/// warehouse may know more than the shop.
pub(crate) fn receive(tx: &Tx<'_>, event: &Event) -> Result<Verdict, Problem> {
    if event.topic() != "stock.level_changed" {
        return Ok(Verdict::Poison(format!("the catalogue does not take `{}`", event.topic())));
    }
    let change: LevelChanged = match event.data() {
        Ok(change) => change,
        Err(verdict) => return Ok(verdict),
    };
    let at = event.time.clone().unwrap_or_default();
    let changed = tx
        .prepare_cached("UPDATE variant SET badge = ?1, badge_at = ?2 WHERE sku = ?3 AND coalesce(badge_at, '') <= ?2")?
        .execute(params![change.level.name(), at, change.sku])?;
    if changed == 1 {
        tx.prepare_cached(
            "UPDATE product SET badge = (SELECT CASE min(CASE v.badge WHEN 'in' THEN 0 WHEN 'low' THEN 1 WHEN 'out' THEN 2 ELSE 3 END) WHEN 0 THEN 'in' WHEN 1 THEN 'low' WHEN 2 THEN 'out' END
               FROM variant v WHERE v.product = product.seq) WHERE seq = (SELECT product FROM variant WHERE sku = ?)",
        )?
        .execute([&change.sku])?;
    }
    Ok(Verdict::Applied)
}
