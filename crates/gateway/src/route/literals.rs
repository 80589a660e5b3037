//! The named children of a node: a short list while they are few, a table when they are many.

use std::collections::HashMap;

use super::Tree;

/// Up to here, comparing is cheaper than hashing.
const FEW: usize = 8;

pub(super) enum Literals {
    Few(Vec<(Box<[u8]>, Tree)>),
    Many(HashMap<Box<[u8]>, Tree>),
}

impl Default for Literals {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Literals {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Tree> {
        match self {
            Self::Few(few) => few.iter().find(|(other, _)| **other == *name).map(|(_, tree)| tree),
            Self::Many(many) => many.get(name),
        }
    }

    pub(super) fn get_or_insert(&mut self, name: &[u8]) -> &mut Tree {
        if let Self::Few(few) = self
            && few.len() == FEW
            && few.iter().all(|(other, _)| **other != *name)
        {
            *self = Self::Many(std::mem::take(few).into_iter().collect());
        }
        match self {
            Self::Few(few) => {
                let at = few.iter().position(|(other, _)| **other == *name).unwrap_or_else(|| {
                    few.push((name.into(), Tree::default()));
                    few.len() - 1
                });
                &mut few[at].1
            }
            Self::Many(many) => many.entry(name.into()).or_default(),
        }
    }
}
