//! Exit codes: part of the interface, listed in `archipel --help`.

use std::fmt;

/// How a verb ended other than well. The message is shown once, by `main`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

pub(crate) const UNEXPECTED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const MANIFEST: u8 = 3;
pub(crate) const NOT_RUNNING: u8 = 4;
pub(crate) const BUILD: u8 = 5;
pub(crate) const TIMED_OUT: u8 = 7;
pub(crate) const LOCKED: u8 = 8;
/// 128 and SIGPIPE: a reader that has gone away (`| head`) ends us as it ends other programs.
pub(crate) const READER_GONE: u8 = 141;
pub(crate) const CANNOT_START: u8 = 125;

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Ends with a code and no words: everything has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// An error nobody expected, with its causes.
    pub(crate) fn unexpected(error: &dyn std::error::Error) -> Self {
        Self::new(UNEXPECTED, archipel_rt::chain(error))
    }
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
