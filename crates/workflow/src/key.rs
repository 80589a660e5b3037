//! Which instance: the app that runs it and the name it was given.

use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::error::WorkflowError;

/// Escaped three to one, both still fit into a storage key.
const APP_BYTES_MAX: usize = 64;
const ID_BYTES_MAX: usize = 256;

/// What would end a part of a storage key too early.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub app: Arc<str>,
    pub id: Arc<str>,
}

impl Key {
    /// # Errors
    /// [`WorkflowError::Invalid`] when either is empty or too long.
    pub fn new(app: &str, id: &str) -> Result<Self, WorkflowError> {
        for (what, text, max) in [("app id", app, APP_BYTES_MAX), ("instance id", id, ID_BYTES_MAX)]
        {
            if text.is_empty() || text.len() > max {
                let found = text.len();
                return Err(WorkflowError::Invalid(format!(
                    "an {what} has 1 to {max} bytes, not {found}"
                )));
            }
        }
        Ok(Self { app: app.into(), id: id.into() })
    }

    /// `app/id`, so written that a key of one instance is never a prefix of another's.
    pub(crate) fn path(&self) -> String {
        format!("{}{}", app_prefix(&self.app), utf8_percent_encode(&self.id, ESCAPED))
    }

    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (app, id) = path.split_once('/')?;
        let id = percent_decode_str(id).decode_utf8().ok()?;
        Some(Self { app: app_of(app)?.into(), id: id.as_ref().into() })
    }
}

/// What [`app_prefix`] wrote, without the slash.
pub(crate) fn app_of(escaped: &str) -> Option<String> {
    Some(percent_decode_str(escaped).decode_utf8().ok()?.into_owned())
}

pub(crate) fn app_prefix(app: &str) -> String {
    format!("{}/", utf8_percent_encode(app, ESCAPED))
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.app, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_and_stays_within_its_own_keys() {
        for id in ["a", "a/b", "a%2Fb", "50%", "\0\n", "Bestellung Ä 世界", "x:0001"] {
            let key = Key::new("orders", id).expect("valid");
            assert_eq!(Key::from_path(&key.path()), Some(key.clone()));
            assert_eq!(key.path().matches('/').count(), 1, "{}", key.path());
            assert!(!key.path().contains('\0'));
        }
        let long = "世".repeat(ID_BYTES_MAX / 3);
        assert!(Key::new("orders", &long).expect("valid").path().len() < 1_000);
        assert!(Key::new("orders", &"x".repeat(257)).is_err());
        assert!(Key::new("orders", "").is_err());
    }
}
