//! How things look in a terminal: calm, aligned, the same words everywhere.

pub mod live;
pub mod log;
pub mod ps;
pub mod style;
pub mod table;

/// Columns of the terminal, where there is one.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}
