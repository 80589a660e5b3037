//! Aligned columns without boxes.

/// Cells are plain text; `paint` colours a cell after its width has been settled.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

pub(crate) struct Cell {
    text: String,
    painted: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, painted: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    pub(crate) fn painted(text: impl Into<String>, painted: impl FnOnce(&str) -> String) -> Self {
        let text = text.into();
        Self { painted: Some(painted(&text)), text }
    }
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
            widest.max(self.header[column].chars().count())
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = vec![join(
            self.header
                .iter()
                .zip(&widths)
                .map(|(title, width)| (title.to_string(), title.chars().count(), *width)),
        )];
        for row in &self.rows {
            lines.push(join(row.iter().zip(&widths).map(|(cell, width)| {
                let shown = cell.painted.clone().unwrap_or_else(|| cell.text.clone());
                (shown, cell.text.chars().count(), *width)
            })));
        }
        lines
    }

    pub(crate) fn print(&self) {
        for line in self.lines() {
            outln!("{line}");
        }
    }
}

fn join(cells: impl Iterator<Item = (String, usize, usize)>) -> String {
    let mut line = String::new();
    let mut pending = 0;
    for (shown, used, width) in cells {
        // Padding is written only before the next cell, so that no line ends in spaces.
        line.extend(std::iter::repeat_n(' ', pending));
        line.push_str(&shown);
        pending = width.saturating_sub(used) + 2;
    }
    line.trim_end().to_owned()
}

/// `350ms`, `12s`, `4m`, `3h`, `2d`: one unit is enough in a table.
pub(crate) fn age(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis}ms"),
        1..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
