//! One log record: as it lies on disk, as it is asked for, as it is shown.

use std::fmt;

use archipel_model::InstanceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Output of a build, a migration or a job.
    Build,
    /// Said by Archipel about the instance.
    Event,
    /// Sent by an SDK.
    Otlp,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Build => "build",
            Self::Event => "event",
            Self::Otlp => "otlp",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A line as it came, not yet understood.
#[derive(Debug, Clone)]
pub struct Line {
    pub at_ms: u64,
    pub instance: InstanceId,
    pub stream: Stream,
    pub text: String,
}

/// A stored record; member names are short because each stands in every line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    #[serde(rename = "t")]
    pub at_ms: u64,
    #[serde(rename = "i", with = "instance_text")]
    pub instance: InstanceId,
    #[serde(rename = "s")]
    pub stream: Stream,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub level: Option<crate::Level>,
    #[serde(rename = "m")]
    pub message: String,
    /// Lower-case hexadecimal, 32 digits.
    #[serde(rename = "tr", default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(rename = "sp", default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// What a structured line said besides.
    #[serde(rename = "f", default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

mod instance_text {
    use archipel_model::InstanceId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &InstanceId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<InstanceId, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
