//! Values of secrets and the tokens by which services and Archipel know each other.
//!
//! The manifest has names only. A value comes from, in this order: the environment
//! (`ARCHIPEL_SECRET_STRIPE_KEY`), what `archipel secret set` stored, `generate`,
//! `default-dev`. Values never reach a log, a listing or the dashboard: [`Secret`] has no
//! `Display`, and its `Debug` shows nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use archipel_model::{App, SecretName, ServiceName};

use crate::paths::{StateDir, write_private};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that hands it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("could not read or write `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is not a JSON object of texts; restore or delete it", path.display())]
    Damaged { path: PathBuf },
    #[error(
        "secret `{name}` has no value; set it with `archipel secret set {name}` or in the variable {variable}{}",
        hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
    )]
    Missing { name: SecretName, variable: String, hint: Option<String> },
    #[error("the system gave no random bytes")]
    NoEntropy(#[source] io::Error),
}

/// The two tokens of one service: what it shows us, and what we show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// `DAPR_API_TOKEN`: on calls of the service to its API port.
    pub api: Secret,
    /// `APP_API_TOKEN`: on calls of Archipel into the service.
    pub app: Secret,
}

/// The values on disk, mode 0600.
pub struct SecretStore {
    values: PathBuf,
    tokens: PathBuf,
}

impl SecretStore {
    pub fn new(state: &StateDir) -> Self {
        Self {
            values: state.secrets().join("values.json"),
            tokens: state.secrets().join("tokens.json"),
        }
    }

    /// The variable that overrides a stored value.
    pub fn variable(name: &SecretName) -> String {
        format!("ARCHIPEL_SECRET_{}", name.as_str().to_ascii_uppercase().replace('-', "_"))
    }

    /// Values of all secrets of `app`; makes and keeps those with `generate`.
    ///
    /// Secrets without any value are left out of the map unless `required`.
    ///
    /// # Errors
    /// The first problem of each secret: all of them, not only one.
    pub fn resolve(&self, app: &App) -> Result<BTreeMap<SecretName, Secret>, Vec<SecretError>> {
        let mut stored = read_map(&self.values).map_err(|error| vec![error])?;
        let mut resolved = BTreeMap::new();
        let mut errors = Vec::new();
        let mut grown = false;
        for (name, rule) in &app.secrets {
            let variable = Self::variable(name);
            let value = match std::env::var(&variable) {
                Ok(value) => Some(value),
                Err(_) => stored.get(name.as_str()).cloned(),
            };
            let value = match (value, rule.generate) {
                (Some(value), _) => Some(value),
                (None, Some(characters)) => match random_text(characters) {
                    Ok(fresh) => {
                        stored.insert(name.as_str().to_owned(), fresh.clone());
                        grown = true;
                        Some(fresh)
                    }
                    Err(source) => {
                        errors.push(SecretError::NoEntropy(source));
                        continue;
                    }
                },
                (None, None) => rule.default_dev.clone(),
            };
            match value {
                Some(value) => {
                    resolved.insert(name.clone(), Secret(value));
                }
                None if rule.required => errors.push(SecretError::Missing {
                    name: name.clone(),
                    variable,
                    hint: rule.hint.clone(),
                }),
                None => {}
            }
        }
        if grown && let Err(error) = write_map(&self.values, &stored) {
            errors.push(error);
        }
        if errors.is_empty() { Ok(resolved) } else { Err(errors) }
    }

    /// Tokens of every service; new services get new ones, old ones keep theirs, because running
    /// processes carry them in their environment.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn tokens(&self, app: &App) -> Result<BTreeMap<ServiceName, Tokens>, SecretError> {
        let mut stored = read_map(&self.tokens)?;
        let before = stored.len();
        let mut tokens = BTreeMap::new();
        for name in app.services.keys() {
            let mut token = |kind: &str| -> Result<Secret, SecretError> {
                let key = format!("{name}/{kind}");
                if let Some(token) = stored.get(&key) {
                    return Ok(Secret(token.clone()));
                }
                let fresh = random_text(43).map_err(SecretError::NoEntropy)?;
                stored.insert(key, fresh.clone());
                Ok(Secret(fresh))
            };
            tokens.insert(name.clone(), Tokens { api: token("api")?, app: token("app")? });
        }
        if stored.len() > before {
            write_map(&self.tokens, &stored)?;
        }
        Ok(tokens)
    }

    /// A password or key that Archipel itself needs and must find again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn own(&self, key: &str) -> Result<Secret, SecretError> {
        let mut stored = read_map(&self.tokens)?;
        if let Some(value) = stored.get(key) {
            return Ok(Secret(value.clone()));
        }
        let fresh = random_text(32).map_err(SecretError::NoEntropy)?;
        stored.insert(key.to_owned(), fresh.clone());
        write_map(&self.tokens, &stored)?;
        Ok(Secret(fresh))
    }

    /// # Errors
    /// When the file cannot be read or written.
    pub fn set(&self, name: &SecretName, value: String) -> Result<(), SecretError> {
        let mut stored = read_map(&self.values)?;
        stored.insert(name.as_str().to_owned(), value);
        write_map(&self.values, &stored)
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn remove(&self, name: &SecretName) -> Result<bool, SecretError> {
        let mut stored = read_map(&self.values)?;
        let there = stored.remove(name.as_str()).is_some();
        write_map(&self.values, &stored)?;
        Ok(there)
    }

    /// Where each secret's value would come from; never the value.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn origins(&self, app: &App) -> Result<Vec<(SecretName, &'static str)>, SecretError> {
        let stored = read_map(&self.values)?;
        Ok(app
            .secrets
            .iter()
            .map(|(name, rule)| {
                let origin = if std::env::var_os(Self::variable(name)).is_some() {
                    "environment"
                } else if stored.contains_key(name.as_str()) {
                    if rule.generate.is_some() { "generated" } else { "stored" }
                } else if rule.generate.is_some() {
                    "generated at first use"
                } else if rule.default_dev.is_some() {
                    "default-dev"
                } else {
                    "missing"
                };
                (name.clone(), origin)
            })
            .collect())
    }
}

fn read_map(path: &Path) -> Result<BTreeMap<String, String>, SecretError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|_| SecretError::Damaged { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(SecretError::File { path: path.to_owned(), source }),
    }
}

fn write_map(path: &Path, map: &BTreeMap<String, String>) -> Result<(), SecretError> {
    let bytes = serde_json::to_vec_pretty(map).expect("a map of texts is always JSON");
    write_private(path, &bytes)
        .map_err(|source| SecretError::File { path: path.to_owned(), source })
}

/// Letters and digits from the system's generator, about six bits each: 43 of them are 256 bits.
fn random_text(characters: u32) -> io::Result<String> {
    use std::io::Read;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0u8; characters as usize];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| ALPHABET[usize::from(byte % 64)] as char).collect())
}
