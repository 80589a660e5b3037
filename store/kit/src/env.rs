//! What a service is told by its environment, read once at the start.
//!
//! Held as a value rather than read from the process wherever it is needed, so that a test can
//! start a service with an environment of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::http::Callee;

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the variable {name} is not set; {hint}")]
    Missing { name: String, hint: String },
    #[error("the variable {name} is `{value}`, which is not {expected}")]
    Invalid { name: String, value: String, expected: String },
    #[error("cannot open the database {}: {why}", path.display())]
    Database { path: PathBuf, why: String },
    #[error("cannot listen on {address}: {why}")]
    Listen { address: SocketAddr, why: std::io::Error },
    #[error("{0}")]
    Other(String),
}

/// The variables of one service.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: BTreeMap<String, String>,
}

impl Env {
    /// The environment of this process. Variables that are not Unicode are left out.
    pub fn from_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { vars: std::env::vars_os().filter_map(unicode).collect() }
    }

    /// An environment of exactly these variables.
    pub fn of<const N: usize>(vars: [(&str, &str); N]) -> Self {
        Self { vars: vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.vars.insert(name.to_owned(), value.to_string());
        self
    }

    /// The value, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn require(&self, name: &str, hint: &str) -> Result<&str, StartError> {
        self.get(name)
            .ok_or_else(|| StartError::Missing { name: name.to_owned(), hint: hint.to_owned() })
    }

    /// The value read as a `T`, or `default` when it is not set.
    pub fn parse<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
        default: T,
    ) -> Result<T, StartError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.parse().map_err(|_| StartError::Invalid {
            name: name.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// Where to listen: `HOST` and `PORT`. Port 0 takes a free one.
    pub fn listen(&self) -> Result<SocketAddr, StartError> {
        let host = self.parse("HOST", "an IP address", IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let port = self.parse("PORT", "a port number from 0 to 65535", 8080)?;
        Ok(SocketAddr::new(host, port))
    }

    /// The file of `DATABASE_URL`.
    pub fn database(&self) -> Result<PathBuf, StartError> {
        let name = "DATABASE_URL";
        let url = self.require(name, "set it to sqlite:////absolute/path.db")?;
        match url.strip_prefix("sqlite:///").filter(|path| !path.is_empty()) {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(StartError::Invalid {
                name: name.to_owned(),
                value: url.to_owned(),
                expected: "a URL like sqlite:////absolute/path.db".to_owned(),
            }),
        }
    }

    /// The service behind `<NAME>_URL`, e.g. `callee("inventory")` reads `INVENTORY_URL`.
    pub fn callee(&self, name: &'static str) -> Result<Callee, StartError> {
        let variable = format!("{}_URL", name.to_ascii_uppercase().replace('-', "_"));
        let url = self.require(&variable, "set it to the base URL of that service")?;
        Callee::new(name, url).ok_or_else(|| StartError::Invalid {
            name: variable,
            value: url.to_owned(),
            expected: "a URL like http://127.0.0.1:8080".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_path_after_three_slashes() {
        let path = |url: &str| Env::of([("DATABASE_URL", url)]).database();
        assert_eq!(path("sqlite:////var/x.db").unwrap(), PathBuf::from("/var/x.db"));
        assert_eq!(path("sqlite:///x.db").unwrap(), PathBuf::from("x.db"));
        assert!(path("postgres://x").unwrap_err().to_string().contains("sqlite:////absolute"));
        assert!(path("").unwrap_err().to_string().contains("not set"));
    }

    #[test]
    fn says_which_variable_is_wrong() {
        let error = Env::of([("PORT", "http")]).listen().unwrap_err().to_string();
        assert!(error.contains("PORT") && error.contains("http"), "{error}");
        assert!(Env::default().callee("psp-sim").unwrap_err().to_string().contains("PSP_SIM_URL"));
        assert!(Env::of([("CART_URL", "ftp://x")]).callee("cart").is_err());
    }
}
