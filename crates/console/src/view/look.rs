//! Looking into what services keep and offer: databases, HTTP interfaces; and what is in force.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /v1/databases/{service}/tables`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tables {
    /// `archipel.tables/1`
    pub schema: String,
    pub service: String,
    pub engine: String,
    pub tables: Vec<Table>,
    /// A statement runs no longer, and gives no more rows.
    pub time_max_ms: u64,
    pub rows_max: u64,
}

impl Tables {
    pub const SCHEMA: &str = "archipel.tables/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    /// `table` or `view`.
    pub kind: String,
    pub rows: Option<u64>,
    /// The number of rows is the database's guess.
    pub estimated: bool,
    pub bytes: Option<u64>,
    pub columns: Vec<String>,
}

/// `POST /v1/databases/{service}/query`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// `archipel.rows/1`
    pub schema: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    /// There are more than these.
    pub more: bool,
    /// Columns whose values are hidden, because of what they are called.
    pub masked: Vec<String>,
    pub took_ms: u64,
}

impl Rows {
    pub const SCHEMA: &str = "archipel.rows/1";
}

/// `GET /v1/apis`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Apis {
    /// `archipel.apis/1`
    pub schema: String,
    pub apis: Vec<ApiSummary>,
}

impl Apis {
    pub const SCHEMA: &str = "archipel.apis/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiSummary {
    pub service: String,
    pub protocol: String,
    /// As the manifest names it.
    pub file: Option<String>,
}

/// `GET /v1/apis/{service}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Api {
    /// `archipel.api/1`
    pub schema: String,
    pub service: String,
    /// The file, or the path under which the running service told it.
    pub source: Option<String>,
    /// Why there is no operation to choose from.
    pub problem: Option<String>,
    pub title: Option<String>,
    pub version: Option<String>,
    pub operations: Vec<Operation>,
}

impl Api {
    pub const SCHEMA: &str = "archipel.api/1";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub deprecated: bool,
    /// It asks for some form of login.
    pub secured: bool,
    pub parameters: Vec<Parameter>,
    pub body: Option<OperationBody>,
    /// Status to description.
    pub answers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    /// `path`, `query`, `header` or `cookie`.
    #[serde(rename = "in")]
    pub place: String,
    pub required: bool,
    pub description: Option<String>,
    /// `string`, `integer` and so on, with its bounds in words.
    pub kind: String,
    pub example: Option<String>,
    pub choices: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationBody {
    pub media_type: String,
    pub required: bool,
    /// From the contract, or made after its schema.
    pub example: Value,
    /// With what it refers to in place, as far down as is of use.
    pub schema: Value,
}

/// `POST /v1/apis/{service}/send`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// `archipel.sent/1`
    pub schema: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// As text, as far as it is shown.
    pub body: String,
    pub bytes: u64,
    /// There is more of the body than is shown.
    pub cut: bool,
    /// It has not ended: another of these follows, on a line of its own, with what comes next as
    /// its body.
    #[serde(default)]
    pub open: bool,
    /// Why it ended without its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
    pub took_ms: u64,
    pub trace_id: String,
}

impl Sent {
    pub const SCHEMA: &str = "archipel.sent/1";
}

/// `GET /v1/settings`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `archipel.settings/1`
    pub schema: String,
    pub listeners: Vec<SettingsListener>,
    pub kept: Vec<Kept>,
    pub limits: Vec<Setting>,
    pub files: Vec<Setting>,
    /// How instances are kept apart from each other.
    pub isolation: String,
}

impl Settings {
    pub const SCHEMA: &str = "archipel.settings/1";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsListener {
    pub name: String,
    pub address: String,
    /// Who reaches it.
    pub open_to: String,
}

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub name: String,
    pub bytes: u64,
    /// The budget; the oldest goes first.
    pub bytes_max: Option<u64>,
    pub age_max_ms: Option<u64>,
    pub dir: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// What the manifest calls it, where it can be changed there.
    pub key: Option<String>,
}

/// `GET /v1/events/topics/{topic}/schema`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicSchema {
    /// `archipel.topic-schema/1`
    pub schema: String,
    pub topic: String,
    /// Its file; none: any data is taken.
    pub file: Option<String>,
    pub document: Option<Value>,
    /// Made after the schema, to begin with.
    pub example: Value,
}

impl TopicSchema {
    pub const SCHEMA: &str = "archipel.topic-schema/1";
}
