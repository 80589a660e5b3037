//! No secret value reaches a browser, wherever it stands: a service that logs its own password,
//! or publishes it in an event, must not spread it over the screens of those who look.

use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use archipel_control::Snapshot;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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

/// One pass finds them all, however many services with tokens of their own there are.
pub(crate) struct Veil(Option<AhoCorasick>);

impl Veil {
    fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut words: Vec<String> =
            secrets.filter(|secret| secret.len() >= LENGTH_MIN).flat_map(written).collect();
        words.sort();
        words.dedup();
        if words.is_empty() {
            return Self(None);
        }
        // The longest: one that begins another must not leave its end behind.
        let found = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words);
        Self(Some(found.expect("so few words have room in a machine of states")))
    }

    /// `bytes` is one whole document, or one whole line of several.
    pub(crate) fn hide(&self, bytes: Bytes) -> Bytes {
        match &self.0 {
            Some(secrets) if secrets.is_match(&bytes) => {
                let mut hidden = Vec::with_capacity(bytes.len());
                secrets.replace_all_with_bytes(&bytes, &mut hidden, |_, _, out| {
                    out.extend_from_slice(VEIL);
                    true
                });
                hidden.into()
            }
            _ => bytes,
        }
    }
}

/// What stands in an address as it is, for one that escapes all it can.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// And for browsers' scripts.
const LOOSE: &AsciiSet =
    &STRICT.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// As it stands in a text, in JSON, in JSON that is a text in JSON, in HTML, in addresses.
fn written(secret: &str) -> [String; 8] {
    let once = inner_json(secret);
    let twice = inner_json(&once);
    let strict = utf8_percent_encode(secret, STRICT).to_string();
    let loose = utf8_percent_encode(secret, LOOSE).to_string();
    let (small, form) = (lowered(&strict), strict.replace("%20", "+"));
    [secret.to_owned(), once, twice, crate::plain::escape(secret), strict, loose, small, form]
}

/// `%2F` as `%2f`.
fn lowered(escaped: &str) -> String {
    let mut out = String::with_capacity(escaped.len());
    let mut digits = 0;
    for c in escaped.chars() {
        out.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
        digits = if c == '%' { 2 } else { usize::saturating_sub(digits, 1) };
    }
    out
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
        for escaped in ["a?k=pa%22ss%5Cword&b", "pa%22ss%5cword", "<p>pa&quot;ss\\word"] {
            assert!(!hidden(escaped.to_owned()).to_lowercase().contains("5cword"), "{escaped}");
            assert!(!hidden(escaped.to_owned()).contains("ss\\word"), "{escaped}");
        }
        assert_eq!(hidden("password-and-more password".to_owned()), "•••••• ••••••");
        assert_eq!(hidden("a developer".to_owned()), "a developer");
        let many: Vec<String> = (0..20_000).map(|i| format!("secret-number-{i}-of-many")).collect();
        let veil = Veil::new(many.iter().map(String::as_str));
        assert_eq!(veil.hide("a secret-number-19999-of-many".into()), "a ••••••");
        assert_eq!(Veil::new(["dev"].into_iter()).hide("dev".into()), "dev");
    }
}
