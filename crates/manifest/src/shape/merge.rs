//! Deep merge: defaults into a service, a profile into the file.
//!
//! Tables are merged key by key, everything else is replaced, arrays too: an array that grew
//! from two places could not be made shorter in one of them. The shapes are needed for two
//! things. A short form (`health = "/up"`) becomes the long one first. And where keys exclude
//! each other, the later one takes the place of the earlier: a service with `ready.tcp` under a
//! default of `ready.path` has one check, not two.

use super::Shape;
use crate::tree::{Entry, Node, Table, Value};

/// `base` with `over` on top. Never fails: what does not fit its shape was reported before, and
/// `over` stands.
pub(crate) fn merge(shape: Shape, base: &Node, over: &Node) -> Node {
    match shape {
        Shape::Either(either) => {
            let long = |node: &Node| either.expand.and_then(|f| f(node));
            let (long_base, long_over) = (long(base), long(over));
            let (base, over) =
                (long_base.as_ref().unwrap_or(base), long_over.as_ref().unwrap_or(over));
            let table =
                either.options.iter().copied().find(|option| {
                    matches!(option, Shape::Keys(_) | Shape::Names(_) | Shape::Free)
                });
            match table {
                Some(option) => merge(option, base, over),
                None => over.clone(),
            }
        }
        Shape::Keys(keys) => merge_tables(base, over, |base_table, over_table| {
            let replaced = keys
                .rules
                .iter()
                .map(|rule| rule.alternatives())
                .filter(|names| names.iter().any(|name| over_table.contains_key(*name)));
            for name in replaced.flatten() {
                base_table.remove(*name);
            }
            |name| keys.key(name).map(|key| key.shape)
        }),
        Shape::Names(names) => merge_tables(base, over, |_, _| |_| Some(names.of)),
        Shape::Free => merge_tables(base, over, |_, _| |_| Some(Shape::Free)),
        _ => over.clone(),
    }
}

fn merge_tables<F, S>(base: &Node, over: &Node, prepare: F) -> Node
where
    F: FnOnce(&mut Table, &Table) -> S,
    S: Fn(&str) -> Option<Shape>,
{
    let (Value::Table(base_table), Value::Table(over_table)) = (&base.value, &over.value) else {
        return over.clone();
    };
    let mut merged = base_table.clone();
    let shape_of = prepare(&mut merged, over_table);
    for (name, entry) in over_table {
        let node = match (merged.get(name), shape_of(name)) {
            (Some(below), Some(shape)) => merge(shape, &below.node, &entry.node),
            _ => entry.node.clone(),
        };
        merged.insert(name.clone(), Entry { key: entry.key, node });
    }
    Node { value: Value::Table(merged), span: over.span }
}
