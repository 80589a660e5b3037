//! Rules that no linter knows: the rows of crates, file lengths, names that must not stand here.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::run::{output, root};

/// The rows of `ARCHITECTURE.md`: a crate uses only rows below its own.
const ROWS: &[(u8, &[&str])] = &[
    (0, &["model", "rt", "schema", "ui"]),
    (1, &["manifest", "storage"]),
    (2, &["supervisor", "gateway", "broker", "state", "workflow", "telemetry", "testkit"]),
    (3, &["control", "alert"]),
    (4, &["console", "api"]),
    (5, &["archipel"]),
];

/// Of a file that is not a test.
const LINES_MAX: usize = 800;

pub(crate) fn all() -> Result<()> {
    let mut problems = rows()?;
    problems.extend(files()?);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} untidy:\n  {}", problems.len(), problems.join("\n  "))
}

fn rows() -> Result<Vec<String>> {
    let row_of: BTreeMap<&str, u8> =
        ROWS.iter().flat_map(|(row, names)| names.iter().map(move |name| (*name, *row))).collect();
    let mut problems = Vec::new();
    for entry in fs::read_dir(root().join("crates"))? {
        let dir = entry?.path();
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(row) = row_of.get(name.as_str()) else {
            problems.push(format!("crates/{name} has no row in xtask/src/tidy.rs"));
            continue;
        };
        let manifest = fs::read_to_string(dir.join("Cargo.toml"))
            .with_context(|| format!("crates/{name}/Cargo.toml"))?;
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some(used) = line.strip_prefix("archipel-") else { continue };
            let used = used.split(['.', ' ', '=']).next().unwrap_or_default();
            let allowed = match row_of.get(used) {
                Some(_) if section == "[dev-dependencies]" => true,
                Some(below) => below < row && used != "testkit",
                None => false,
            };
            if !allowed {
                problems.push(format!("crates/{name} uses `{used}`, which is not in a row below"));
            }
        }
    }
    Ok(problems)
}

fn files() -> Result<Vec<String>> {
    // Written apart, so that this file does not find itself.
    let forbidden = [concat!("/wo", "rk/"), concat!("bash_", "jobs"), concat!("TODO", ":")];
    let mut problems = Vec::new();
    for file in output("git", &["ls-files"])?.lines() {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        for word in forbidden {
            if text.contains(word) {
                problems.push(format!("{file} contains `{word}`"));
            }
        }
        let product = file.ends_with(".rs") && !file.contains("/tests/");
        if product && text.lines().count() > LINES_MAX {
            problems.push(format!("{file} has over {LINES_MAX} lines"));
        }
        if file.ends_with("package-lock.json") && text.contains("\"resolved\"") {
            problems.push(format!("{file} names download addresses (`resolved`)"));
        }
    }
    Ok(problems)
}
