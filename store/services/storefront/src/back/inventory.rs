//! What is left.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use store_kit::{Callee, Sku};

use crate::shelf::{Found, Pulse, Shelf};

const YOUNG: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
struct Levels {
    items: Vec<Level>,
}

#[derive(Debug, Deserialize)]
struct Level {
    sku: Sku,
    free: i64,
}

pub(crate) struct Inventory {
    callee: Callee,
    pulse: Pulse,
    levels: Shelf<Levels>,
}

impl Inventory {
    pub(crate) fn new(callee: Callee) -> Self {
        Self { callee, pulse: Pulse::default(), levels: Shelf::of(256) }
    }

    /// How many units of each sku can be bought now. Empty when inventory does not answer: an
    /// old number would be worse than none.
    pub(crate) async fn free(&self, skus: &[&Sku]) -> HashMap<Sku, i64> {
        if skus.is_empty() {
            return HashMap::new();
        }
        let list = skus.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(",");
        let call = self.callee.get("/v1/stock").query("sku", &list);
        match self.levels.find(&list, YOUNG, &self.pulse, call.send()).await {
            Found::Fresh(levels) => levels.items.iter().map(|l| (l.sku.clone(), l.free)).collect(),
            Found::Stale(_) | Found::Nothing | Found::Away => HashMap::new(),
        }
    }
}
