//! No secret value reaches a browser, wherever it stands: a service that logs its own password,
//! or publishes it in an event, must not spread it over the screens of those who look.

use std::sync::{Arc, Mutex, PoisonError};

use archipel_control::Snapshot;
use bytes::Bytes;
use regex::bytes::{NoExpand, Regex};

const VEIL: &[u8] = "••••••".as_bytes();

/// Shorter values would blot out ordinary words: a default such as `dev` guards nothing.
const LENGTH_MIN: usize = 8;

/// What is hidden, made anew when a manifest was applied.
#[derive(Default)]
pub(crate) struct Veils {
    made: Mutex<Option<(u64, Arc<Veil>)>>,
}

impl Veils {
    pub(crate) fn of(&self, snapshot: Option<&Snapshot>) -> Arc<Veil> {
        let Some(snapshot) = snapshot else { return Arc::new(Veil(None)) };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((generation, veil)) if *generation == snapshot.generation => Arc::clone(veil),
            _ => {
                let plan = &snapshot.plan;
                let tokens = plan.services.values().flat_map(|of| [&of.tokens.api, &of.tokens.app]);
                let all = plan.secrets.values().chain(tokens).map(|secret| secret.reveal());
                let veil = Arc::new(Veil::new(all));
                *made = Some((snapshot.generation, Arc::clone(&veil)));
                veil
            }
        }
    }
}

pub(crate) struct Veil(Option<Regex>);

impl Veil {
    fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut words: Vec<String> = secrets
            .filter(|secret| secret.len() >= LENGTH_MIN)
            .flat_map(|secret| {
                // As it stands in JSON, and as it stands in JSON that is a text in JSON.
                let once = inner_json(secret);
                let twice = inner_json(&once);
                [once, twice]
            })
            .collect();
        // The longest first: one that begins another must not leave its end behind.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        if words.is_empty() {
            return Self(None);
        }
        let pattern: Vec<String> = words.iter().map(|word| regex::escape(word)).collect();
        Self(Some(Regex::new(&pattern.join("|")).expect("escaped words are a pattern")))
    }

    /// `bytes` is one whole document, or one whole line of several.
    pub(crate) fn hide(&self, bytes: Bytes) -> Bytes {
        match &self.0 {
            Some(secrets) if secrets.is_match(&bytes) => {
                secrets.replace_all(&bytes, NoExpand(VEIL)).into_owned().into()
            }
            _ => bytes,
        }
    }
}

fn inner_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_also_within_quotes_in_quotes() {
        let veil = Veil::new([r#"pa"ss\word"#, "password-and-more", "password", "dev"].into_iter());
        let hidden =
            |text: String| String::from_utf8(veil.hide(text.into()).to_vec()).expect("utf-8");
        let event = serde_json::json!({ "said": r#"it is pa"ss\word"# });
        let line = serde_json::json!({ "message": event.to_string() });
        assert_eq!(hidden(event.to_string()), r#"{"said":"it is ••••••"}"#);
        assert!(!hidden(line.to_string()).contains("word"), "{}", hidden(line.to_string()));
        assert_eq!(hidden("password-and-more password".to_owned()), "•••••• ••••••");
        assert_eq!(hidden("a developer".to_owned()), "a developer");
        assert_eq!(Veil::new(["dev"].into_iter()).hide("dev".into()), "dev");
    }
}
