//! Where telemetry is copied to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::EnvValue;

/// A collector that gets a copy of all telemetry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Export {
    /// `http://` or `https://`, a host, and perhaps a port and a path that `/v1/traces` is added to.
    pub url: EnvValue,
    pub protocol: ExportProtocol,
    pub headers: BTreeMap<String, EnvValue>,
    /// Who vouches for it instead of those whom the system trusts.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportProtocol {
    /// gRPC to port 4317, otherwise HTTP.
    #[default]
    Auto,
    Http,
    Grpc,
}
