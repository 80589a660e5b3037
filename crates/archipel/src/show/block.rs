//! Lines of a terminal that change in place.

use std::io::Write;
use std::os::fd::AsFd;

/// A block at the bottom of what has been written. Nothing of the terminal is switched (cursor,
/// echo, screen), so there is nothing to restore, not even after a kill.
pub(crate) struct Block {
    /// Columns of each line that stands on the screen.
    drawn: Vec<usize>,
}

/// The terminal shows what lies between the two at once, where it knows them: no flicker.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

impl Block {
    pub(crate) fn new() -> Self {
        Self { drawn: Vec::new() }
    }

    /// Replaces the block by `above`, which stays, and below it `lines` and `footer`.
    pub(crate) fn replace(
        &mut self,
        terminal: &mut (impl Write + AsFd),
        above: &str,
        mut lines: Vec<String>,
        footer: &str,
    ) -> std::io::Result<()> {
        let (width, height) = size(terminal.as_fd());
        // A block higher than the screen could not be erased again.
        let room = height.saturating_sub(3).max(1);
        if lines.len() > room {
            let hidden = lines.len() - (room - 1);
            lines.truncate(room - 1);
            lines.push(format!("… and {hidden} more: archipel ps"));
        }
        if !footer.is_empty() {
            lines.push(footer.to_owned());
        }
        let lines: Vec<String> = lines.iter().map(|line| clip(line, width)).collect();
        let mut out = format!("{BEGIN}{}", self.erase(width));
        out.push_str(above);
        for line in &lines {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(END);
        self.drawn = lines.iter().map(|line| columns(line)).collect();
        terminal.write_all(out.as_bytes())?;
        terminal.flush()
    }

    /// A terminal that has become narrower since has wrapped the lines.
    fn erase(&self, width: usize) -> String {
        let rows: usize =
            self.drawn.iter().map(|columns| columns.div_ceil(width.max(1)).max(1)).sum();
        // To the first column too: after Ctrl-C the terminal itself has written `^C` there.
        if rows == 0 { "\r".to_owned() } else { format!("\r\x1b[{rows}A\x1b[J") }
    }
}

/// Columns and rows; of a terminal that does not tell, what most have.
pub(crate) fn size(terminal: impl AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Cuts a line to the terminal's width, not counting colour sequences.
pub(crate) fn clip(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let mut used = 0;
    for (c, visible) in characters(line) {
        if visible && used + 1 >= width {
            out.push('…');
            if line.contains('\x1b') {
                out.push_str("\x1b[0m");
            }
            break;
        }
        used += usize::from(visible);
        out.push(c);
    }
    out
}

fn columns(line: &str) -> usize {
    characters(line).filter(|(_, visible)| *visible).count()
}

/// Each character, and whether it takes a column or is part of a colour sequence.
fn characters(line: &str) -> impl Iterator<Item = (char, bool)> {
    let mut escape = false;
    line.chars().map(move |c| {
        escape |= c == '\x1b';
        let visible = !escape;
        escape &= c != 'm';
        (c, visible)
    })
}

#[cfg(test)]
mod tests {
    use super::{Block, clip};

    #[test]
    fn a_line_is_cut_by_what_is_seen_and_keeps_its_colours() {
        assert_eq!(clip("orders", 6), "orders");
        assert_eq!(clip("orders", 5), "orde…");
        assert_eq!(clip("\x1b[31morders\x1b[0m", 6), "\x1b[31morders\x1b[0m");
        assert_eq!(clip("\x1b[31morders\x1b[0m", 4), "\x1b[31mord…\x1b[0m");
        assert_eq!(clip("zurück", 6), "zurück");
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_wrapped_are_erased_whole() {
        let block = Block { drawn: vec![80, 20, 0] };
        assert_eq!(block.erase(80), "\r\x1b[3A\x1b[J");
        assert_eq!(block.erase(40), "\r\x1b[4A\x1b[J");
        assert_eq!(block.erase(30), "\r\x1b[5A\x1b[J");
    }
}
