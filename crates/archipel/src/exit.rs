//! Exit codes: part of the interface, listed in `archipel --help`.

use std::fmt;

/// How a verb ended other than well. The message is shown once, by `main`.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

pub const UNEXPECTED: u8 = 1;
pub const USAGE: u8 = 2;
pub const MANIFEST: u8 = 3;
pub const NOT_RUNNING: u8 = 4;
pub const BUILD: u8 = 5;
pub const TIMED_OUT: u8 = 7;
pub const LOCKED: u8 = 8;
pub const CANNOT_START: u8 = 125;

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Ends with a code and no words: everything has been said.
    pub fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// An error nobody expected, with its causes.
    pub fn unexpected(error: &dyn std::error::Error) -> Self {
        Self::new(UNEXPECTED, chain(error))
    }
}

/// The error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::unexpected(&error)
    }
}
