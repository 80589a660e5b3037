//! One span: a piece of work of one service within a trace.

use std::borrow::Cow;
use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Names that we write ourselves cost nothing; those of others are owned.
pub type Text = Cow<'static, str>;

/// Who made a span. Many spans share one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resource {
    pub service: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Json>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Internal, Self::Server, Self::Client, Self::Producer, Self::Consumer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanStatus {
    #[default]
    Unset,
    Ok,
    Error,
}

impl SpanStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Unset, Self::Ok, Self::Error];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(Text),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A list or a map, as JSON text.
    Json(Text),
}

impl Value {
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::String(text.clone().into_owned()),
            Self::Int(number) => (*number).into(),
            Self::Double(number) => (*number).into(),
            Self::Bool(yes) => (*yes).into(),
            Self::Json(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_string()))
            }
        }
    }

    pub fn from_json(json: Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text.into()),
            Json::Bool(yes) => Self::Bool(yes),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            other => Self::Json(other.to_string().into()),
        }
    }
}

/// Something that happened within a span, or a span of another trace that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    Event {
        name: String,
        at_ns: u64,
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        attributes: Map<String, Json>,
    },
    Link {
        trace: TraceId,
        span: SpanId,
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        attributes: Map<String, Json>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    pub resource: Arc<Resource>,
    pub name: Text,
    pub kind: Kind,
    pub status: SpanStatus,
    /// Since 1970.
    pub start_ns: u64,
    pub duration_ns: u64,
    pub attributes: Vec<(Text, Value)>,
    pub extras: Vec<Extra>,
}

impl Span {
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }

    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}
