//! Stored answers that are to be forgotten.

use serde::{Deserialize, Serialize};

/// What `POST /v1/cache/purge` takes. All that is said must fit; nothing said is everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// As `archipel routes` names it.
    #[serde(default)]
    pub route: Option<String>,
    /// With its port, or with any.
    #[serde(default)]
    pub host: Option<String>,
    /// `/a` with any query, `/a?b` with that alone, `/a/**` with all below.
    #[serde(default)]
    pub path: Option<String>,
    /// A word of the answer's `Cache-Tag` or `Surrogate-Key`.
    #[serde(default)]
    pub tag: Option<String>,
}

/// How many answers that were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Purged {
    /// `archipel.purged/1`
    pub schema: String,
    pub answers: usize,
}

impl Purged {
    pub const SCHEMA: &str = "archipel.purged/1";
}
