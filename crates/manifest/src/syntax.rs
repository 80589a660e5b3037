//! Syntax errors of the TOML parser, without the echoes of the first one.
//!
//! The parser recovers and goes on, which is how one run finds several errors. But after an
//! unclosed bracket it reads everything that follows as part of it and reports each line, and
//! after some other errors it overlooks later ones. So errors are taken up to the next table
//! header, at most one a line and none after one about brackets, and from that header on the rest
//! is read afresh.

use toml::de::{DeTable, Error};

use crate::Code;
use crate::sink::{Sink, shown};
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
        found.resume_at = next.resume_at;
    }
    for error in found.errors.into_iter().take(ERRORS_MAX) {
        let span = Span::new(file, error.span.clone());
        if error.message == DUPLICATE {
            let key = text.get(span.range()).unwrap_or_default();
            out.report(
                Code::KeyTwice,
                span,
                format!("`{}` is given twice in one table", shown(key)),
            )
            .label("already given above")
            .help("keep one of the two; a table has one `[header]`");
            continue;
        }
        if let Some(opening) = unclosed_string(text, &error) {
            out.report(
                Code::Syntax,
                Span::new(file, opening),
                "this is not valid TOML: this text is never closed",
            )
            .label("opened here")
            .help("end it with the same three quotes");
            continue;
        }
        let Advice { message, label, help } = advice(text, span.range().start, &error.message);
        out.report(Code::Syntax, span, message).label(label).help(help);
    }
}

const DUPLICATE: &str = "duplicate key";

struct Found {
    errors: Vec<Located>,
    /// Where reading afresh makes sense: a table header after the first error.
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
    located.sort_by_key(|error| (error.span.start, error.message == DUPLICATE));
    // Nothing is wrong with the brackets then, and each of them stands for itself.
    if located.iter().all(|error| error.message == DUPLICATE) {
        return Found { errors: located, resume_at: None };
    }
    let first = located.first().map_or(from, |error| error.span.start);
    let resume_at = next_header(text, first.max(from + 1));
    let mut kept: Vec<Located> = Vec::new();
    for error in located {
        let same_line = kept.last().is_some_and(|last| {
            let between = text.get(last.span.start..error.span.start).unwrap_or_default();
            !between.contains('\n')
        });
        let next_table = resume_at.is_some_and(|at| error.span.start > at);
        if same_line || next_table {
            continue;
        }
        let echoes = ["inline table", "array", "comma", "multi-line"]
            .iter()
            .any(|word| error.message.contains(word));
        kept.push(error);
        if echoes {
            break;
        }
    }
    Found { errors: kept, resume_at }
}

/// The three quotes that open a text running to the end of the file, where the parser noticed.
fn unclosed_string(text: &str, error: &Located) -> Option<std::ops::Range<usize>> {
    let quotes = match &error.message {
        message if message.contains("multi-line basic") => "\"\"\"",
        message if message.contains("multi-line literal") => "'''",
        _ => return None,
    };
    let at_end = error.span.start >= text.trim_end().len();
    let opening = text.rfind(quotes).filter(|_| at_end)?;
    Some(opening..opening + quotes.len())
}

/// The first line from `from` on that looks like `[table]` or `[[table]]`.
fn next_header(text: &str, from: usize) -> Option<usize> {
    let mut at = text.get(..from)?.rfind('\n').map_or(0, |newline| newline + 1);
    for line in text.get(at..)?.split_inclusive('\n') {
        let body = line.trim_end();
        let name = body.trim_matches(['[', ']']);
        let is_header = at >= from
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

struct Advice {
    message: String,
    label: String,
    help: String,
}

/// The parser says what it expected; for the commonest mistakes we say what was meant.
fn advice(text: &str, at: usize, said: &str) -> Advice {
    let line_start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |nl| nl + 1);
    let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let (key, value) = (key.trim(), value.split(" #").next().unwrap_or_default().trim());
    let after_equals = line_start + line.find('=').unwrap_or(line.len()) < at;
    if after_equals && value.is_empty() {
        return Advice {
            message: format!("this is not valid TOML: `{}` has no value", shown(key)),
            label: "a value is missing".to_owned(),
            help: "write the value after `=`, or remove the line".to_owned(),
        };
    }
    let is_bare = !value.starts_with(['"', '\'', '[', '{', '=']) && !value.contains(['"', '\'']);
    if after_equals && is_bare {
        return Advice {
            message: format!("this is not valid TOML: the text `{}` needs quotes", shown(value)),
            label: said.to_owned(),
            help: format!("write {} = \"{}\"", shown(key), shown(value)),
        };
    }
    let help = if !line.contains('=') && line.contains(": ") {
        "TOML writes `key = value`, not `key: value`"
    } else {
        "strings stand in quotes, arrays in [ ], short tables in { } with commas between"
    };
    Advice {
        message: format!("this is not valid TOML: {said}"),
        label: said.to_owned(),
        help: help.to_owned(),
    }
}
