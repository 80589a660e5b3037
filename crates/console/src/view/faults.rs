//! Faults on purpose.

use serde::{Deserialize, Serialize};

/// `archipel chaos --json`, `GET /v1/faults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// `archipel.faults/1`
    pub schema: String,
    /// The first that strikes a request is the one that it suffers.
    pub faults: Vec<FaultInForce>,
}

impl Faults {
    pub const SCHEMA: &str = "archipel.faults/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultInForce {
    #[serde(flatten)]
    pub fault: Fault,
    /// What is left of its time.
    pub left_ms: Option<u64>,
    pub struck: u64,
}

/// What `POST /v1/faults` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// `delay`, `late`, `cut`, `lose`, `twice` or `refuse`.
    pub kind: String,
    /// A service, `outside` or `archipel`; none: whoever calls.
    #[serde(default)]
    pub from: Option<String>,
    /// A service or an external; none: whoever is called.
    #[serde(default)]
    pub to: Option<String>,
    /// Of the requests that match, 1 to 100.
    #[serde(default = "all")]
    pub percent: u8,
    /// For `delay` and `late`.
    #[serde(default)]
    pub min_ms: u64,
    #[serde(default)]
    pub max_ms: u64,
    /// It ends by itself after this; none: with `heal`, or with Archipel.
    #[serde(default)]
    pub for_ms: Option<u64>,
}

fn all() -> u8 {
    100
}
