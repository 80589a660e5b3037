//! What does not fit, told without repeating what the event holds: it may name a person.

use std::fmt;

use jsonschema::ValidationError;

const FAULTS_MAX: usize = 5;
/// A list of accepted values can be long.
const TEXT_MAX: usize = 300;

/// One place of `data` that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer into `data`; empty for the whole.
    pub at: String,
    pub expected: String,
}

/// Why data does not match its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Not empty; the first few.
    pub faults: Vec<Fault>,
    /// There are others.
    pub more: bool,
}

impl Mismatch {
    pub(crate) fn unread(reason: &str) -> Self {
        let expected = format!("value cannot be read: {}", short(reason));
        Self { faults: vec![Fault { at: String::new(), expected }], more: false }
    }

    /// Of an event that has no `data`, or has it as bytes.
    pub fn no_data() -> Self {
        let expected = "there is none in JSON, and the topic has a schema for it".to_owned();
        Self { faults: vec![Fault { at: String::new(), expected }], more: false }
    }
}

pub(crate) fn mismatch<'i>(errors: impl Iterator<Item = ValidationError<'i>>) -> Mismatch {
    let mut errors = errors.map(|error| Fault {
        at: short(&error.instance_path().to_string()),
        expected: short(&error.masked().to_string()),
    });
    let faults = errors.by_ref().take(FAULTS_MAX).collect();
    Mismatch { faults, more: errors.next().is_some() }
}

pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            match fault.at.as_str() {
                "" => write!(f, "{separator}`data` itself: {}", fault.expected)?,
                at => write!(f, "{separator}`{at}`: {}", fault.expected)?,
            }
        }
        f.write_str(if self.more { "; and more" } else { "" })
    }
}

impl std::error::Error for Mismatch {}
