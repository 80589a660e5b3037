//! A small SQL shell for SQLite files, for machines without `sqlite3`: statements end with `;`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use archipel_storage::sql::{Answer, Sqlite};

use crate::exit::{self, Failure};

pub(crate) fn run(path: &Path, command: Option<&str>) -> Result<u8, Failure> {
    let database = Sqlite::open(path)?;
    if let Some(command) = command {
        return match database.run(command) {
            Ok(answers) => {
                answers.iter().for_each(show);
                Ok(0)
            }
            Err(error) => Err(Failure::new(exit::UNEXPECTED, archipel_rt::chain(&error))),
        };
    }
    let asking = std::io::stdin().is_terminal();
    if asking {
        eprintln!("{}; statements end with `;`, Ctrl-D leaves", path.display());
    }
    let mut pending = String::new();
    prompt(asking, &pending);
    for line in std::io::stdin().lock().lines() {
        pending.push_str(&line?);
        pending.push('\n');
        if pending.trim_end().ends_with(';') {
            match database.run(&pending) {
                Ok(answers) => answers.iter().for_each(show),
                Err(error) => eprintln!("error: {}", archipel_rt::chain(&error)),
            }
            pending.clear();
        }
        prompt(asking, &pending);
    }
    Ok(0)
}

fn prompt(asking: bool, pending: &str) {
    if asking {
        eprint!("{}", if pending.trim().is_empty() { "sql> " } else { "...> " });
        let _ = std::io::stderr().flush();
    }
}

fn show(answer: &Answer) {
    match answer {
        Answer::Changed(rows) => outln!("{rows} rows changed"),
        Answer::Rows { columns, rows } => {
            let width = |i: usize| {
                let cells = rows.iter().filter_map(|row| row.get(i));
                let widest = cells.chain([&columns[i]]).map(|cell| cell.chars().count()).max();
                widest.unwrap_or(0).min(60)
            };
            let widths: Vec<usize> = (0..columns.len()).map(width).collect();
            for row in std::iter::once(columns).chain(rows) {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .map(|(cell, width)| format!("{cell:<width$}"))
                    .collect();
                outln!("{}", cells.join("  ").trim_end());
            }
        }
    }
}
