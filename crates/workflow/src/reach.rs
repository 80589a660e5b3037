//! Which apps may begin work in which others: the edges that the application declares.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::WorkflowError;

/// Of each app, the ones that it may call. An app may always call itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<String, BTreeSet<String>>);

impl Reach {
    pub fn new(calls: impl IntoIterator<Item = (String, BTreeSet<String>)>) -> Self {
        Self(calls.into_iter().collect())
    }

    /// # Errors
    /// [`WorkflowError::NotDeclared`] with what to do about it.
    pub fn check(&self, from: &str, to: &str) -> Result<(), WorkflowError> {
        let declared = self.0.get(from).is_some_and(|callees| callees.contains(to));
        if from == to || declared {
            return Ok(());
        }
        Err(WorkflowError::NotDeclared(match self.0.contains_key(to) {
            true => format!(
                "`{from}` may not call `{to}`: the manifest does not declare it. \
                 If it should, add to [services.{from}]: calls = [\"{to}\"]"
            ),
            false => format!("`{from}` calls `{to}`, and there is no such service"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_edges_and_oneself_are_within_reach() {
        let callees = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let reach = Reach::new([
            ("orders".to_owned(), callees(&["stock"])),
            ("stock".to_owned(), callees(&[])),
        ]);
        assert!(reach.check("orders", "stock").is_ok());
        assert!(reach.check("stock", "stock").is_ok());
        let told = |from, to| reach.check(from, to).expect_err("refused").to_string();
        assert!(told("stock", "orders").contains("[services.stock]: calls = [\"orders\"]"));
        assert!(told("orders", "stok").contains("no such service"));
    }
}
