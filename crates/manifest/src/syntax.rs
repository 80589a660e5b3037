//! Syntax errors of the TOML parser, without the echoes of the first one.
//!
//! The parser recovers and goes on, which is how one run finds several errors. But after an
//! unclosed bracket it reads everything that follows as part of it and reports each line. So:
//! at most one error a line, nothing after an error about brackets until the next table header,
//! and from that header on the rest is read afresh.

use toml::de::{DeTable, Error};

use crate::Code;
use crate::sink::Sink;
use crate::source::{FileId, Span};

const ERRORS_MAX: usize = 50;

pub(crate) fn report(text: &str, errors: &[Error], file: FileId, out: &mut Sink) {
    let mut found = own_errors(text, 0, errors);
    // Reading the rest afresh is quadratic in the number of broken sections, hence the limit.
    while let Some(from) = found.resume_at.filter(|_| found.errors.len() < ERRORS_MAX) {
        let (table, errors) = DeTable::parse_recoverable(&text[from..]);
        crate::tree::bury(table.into_inner());
        let next = own_errors(text, from, &errors);
        found.errors.extend(next.errors);
        found.resume_at = next.resume_at.filter(|at| *at > from);
    }
    for error in found.errors.into_iter().take(ERRORS_MAX) {
        let span = Span::new(file, error.span);
        if error.message == "duplicate key" {
            let key = text.get(span.range()).unwrap_or_default();
            let message = format!("`{}` is given twice in one table", crate::sink::shown(key));
            out.report(Code::KeyTwice, span, message)
                .label("already given above")
                .help("keep one of the two; a table has one `[header]`");
            continue;
        }
        out.report(Code::Syntax, span, format!("this is not valid TOML: {}", error.message))
            .label(error.message)
            .help(hint(text, span.range().start));
    }
}

struct Found {
    errors: Vec<Located>,
    /// Where reading afresh makes sense, when errors after the first ones were dropped.
    resume_at: Option<usize>,
}

struct Located {
    span: std::ops::Range<usize>,
    message: String,
}

fn own_errors(text: &str, from: usize, errors: &[Error]) -> Found {
    let mut located: Vec<Located> = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().to_owned();
            Located { span: span.start + from..span.end + from, message }
        })
        .collect();
    // At one place the error about brackets explains more than its consequence.
    located.sort_by_key(|error| (error.span.start, error.message == "duplicate key"));
    let mut kept: Vec<Located> = Vec::new();
    let mut resume_at = None;
    for error in located {
        let same_line = kept.last().is_some_and(|last| {
            let between = text.get(last.span.start..error.span.start).unwrap_or_default();
            !between.contains('\n')
        });
        if same_line {
            continue;
        }
        let echoes = ["inline table", "array", "comma", "string", "invalid"]
            .iter()
            .any(|word| error.message.contains(word));
        let start = error.span.start;
        kept.push(error);
        if echoes {
            resume_at = next_header(text, start);
            break;
        }
    }
    Found { errors: kept, resume_at }
}

/// The first line after `from` that looks like `[table]` or `[[table]]`.
fn next_header(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let mut at = from;
    for line in rest.split_inclusive('\n') {
        let body = line.trim_end();
        let name = body.trim_matches(['[', ']']);
        let is_header = at > from
            && body.starts_with('[')
            && body.ends_with(']')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.\"*".contains(&b));
        if is_header {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn hint(text: &str, at: usize) -> String {
    let line_start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |nl| nl + 1);
    let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    if line.contains(": ") && !line.contains('=') {
        "TOML writes `key = value`, not `key: value`".to_owned()
    } else if line.trim_end().ends_with('=') {
        format!("`{}` needs a value after `=`", crate::sink::shown(key))
    } else {
        "strings stand in quotes, arrays in [ ], short tables in { } with commas between".to_owned()
    }
}
