//! How things look in a terminal: calm, aligned, the same words everywhere.

#[macro_use]
pub(crate) mod out;

pub(crate) mod block;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod plot;
pub(crate) mod ps;
pub(crate) mod routes;
pub(crate) mod story;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod workflow;

/// `1 service`, `2 services`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Columns of the terminal, where there is one.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}
