//! What a shopper asks for, as conditions on products.

use rusqlite::Connection;
use rusqlite::types::Value;
use store_kit::Problem;

use crate::terms;

/// Conditions and their parameters, to be put into a query over `product p`.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    conditions: Vec<&'static str>,
    params: Vec<(&'static str, Value)>,
}

impl Filter {
    pub(crate) fn add(
        &mut self,
        condition: &'static str,
        params: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        self.conditions.push(condition);
        self.params.extend(params);
    }

    /// `true` when there is no condition.
    pub(crate) fn clause(&self) -> String {
        if self.conditions.is_empty() { "true".into() } else { self.conditions.join(" AND ") }
    }

    pub(crate) fn params(&self) -> Vec<(&str, &dyn rusqlite::ToSql)> {
        self.params.iter().map(|(name, value)| (*name, value as &dyn rusqlite::ToSql)).collect()
    }
}

/// A search text, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Understood {
    /// In the language of FTS5; `None` when there is nothing to search for.
    pub(crate) expression: Option<String>,
    /// The text with misspelt words replaced, when some were.
    pub(crate) corrected: Option<String>,
}

/// Reads a search: every word must occur; a word that occurs nowhere is replaced by the nearest
/// that does; when the words occur but never together, any of them will do.
pub(crate) fn understand(conn: &Connection, text: &str) -> Result<Understood, Problem> {
    let mut wanted = terms::of_query(text);
    if wanted.is_empty() {
        return Ok(Understood::default());
    }
    let mut corrected = false;
    for word in &mut wanted {
        if !terms::occurs(conn, word)?
            && let Some(meant) = terms::correct(conn, word)?
        {
            *word = meant;
            corrected = true;
        }
    }
    let conditions: Vec<String> = wanted.iter().map(|word| terms::expression(word)).collect();
    let all = conditions.join(" AND ");
    let together =
        conn.prepare_cached("SELECT 1 FROM words WHERE words MATCH ? LIMIT 1")?.exists([&all])?;
    let expression = if together || conditions.len() == 1 { all } else { conditions.join(" OR ") };
    Ok(Understood { expression: Some(expression), corrected: corrected.then(|| wanted.join(" ")) })
}
