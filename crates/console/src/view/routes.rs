//! Public routes, what they do and what has passed: `archipel routes`, `GET /v1/routes`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// `archipel.routes/1`
    pub schema: String,
    pub requests: u64,
    /// Of these, answered by a system that the application does not run.
    pub external: u64,
    pub routes: Vec<RouteTraffic>,
}

impl Routes {
    pub const SCHEMA: &str = "archipel.routes/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTraffic {
    /// `GET shop.example.org/api/**`, with conditions.
    pub route: String,
    /// `service`, `split`, `redirect` or `respond`.
    pub kind: String,
    /// Services and externals; with a share where it is a split.
    pub to: Vec<RouteTarget>,
    /// Where it sends people, or what it answers.
    pub own: Option<String>,
    /// `cookie` or `header:x-customer-id`.
    pub sticky: Option<String>,
    /// What came in since Archipel started, while the route was there.
    pub requests: u64,
    /// Of these, answered by a system that the application does not run.
    pub external: u64,
    /// Answers with 5xx, and those that broke off.
    pub failed: u64,
    pub fallback: Option<RouteFallback>,
    pub mirror: Option<RouteCopies>,
    pub compare: Option<RouteCompare>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTarget {
    pub name: String,
    pub external: bool,
    /// Of a hundred requests.
    pub share: Option<u32>,
    pub requests: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteFallback {
    pub to: String,
    pub requests: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteCopies {
    pub to: String,
    pub done: u64,
    /// By reason.
    pub skipped: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteCompare {
    #[serde(flatten)]
    pub copies: RouteCopies,
    pub differing: u64,
    /// The last ones, newest last.
    pub examples: Vec<RouteExample>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteExample {
    pub at_ms: u64,
    pub trace_id: String,
    /// Method and path, without the values of the query.
    pub request: String,
    pub status: u16,
    pub status_other: u16,
    pub differences: Vec<RouteDifference>,
    /// There were more.
    pub more: bool,
}

/// Values are shortened, and hidden where they look private.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteDifference {
    /// A JSON pointer, `status`, `header:…` or `body …`.
    pub at: String,
    pub main: String,
    pub other: String,
}
