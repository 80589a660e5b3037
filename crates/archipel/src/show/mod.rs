//! How things look in a terminal: calm, aligned, the same words everywhere.

pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod ps;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod trace;

/// Columns of the terminal, where there is one.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}
