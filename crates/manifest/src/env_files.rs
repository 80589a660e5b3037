//! Files of variables beside the manifest (`env_file`): NAME=value, one a line.
//!
//! Strict, because every tool reads such files a little differently: what two of them could
//! read in two ways is refused. A problem names file and line and never shows the line, since
//! such files are where people keep passwords.

use std::collections::BTreeMap;

use archipel_model::{EnvValue, Hidden};

use crate::Code;
use crate::files::{FILE_BYTES_MAX, Files};
use crate::read::service::ServiceDraft;
use crate::shape::format::Format;
use crate::sink::{Sink, shown};
use crate::source::{FileId, Sited};

pub(crate) fn load(drafts: &mut [ServiceDraft], files: &dyn Files, out: &mut Sink) {
    let root = out.source(FileId(0)).directory.clone();
    for draft in drafts {
        let Some(file) = &draft.env_file else { continue };
        let bytes = match files.read(&file.value) {
            Ok(bytes) => bytes,
            // Reported with all paths that must exist, or not looked up at all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                bad(out, draft, &error.to_string());
                continue;
            }
        };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bad(out, draft, &format!("it is over {FILE_BYTES_MAX} bytes"));
            continue;
        }
        let Ok(text) = String::from_utf8(bytes) else {
            bad(out, draft, "it is not UTF-8 text");
            continue;
        };
        match parse(&text) {
            Ok(variables) => add(draft, variables),
            Err((line, reason)) => {
                let name = file.value.strip_prefix(&root).unwrap_or(&file.value);
                let name = shown(&name.display().to_string());
                bad(out, draft, &format!("`{name}`, line {line}: {reason}"));
            }
        }
    }
}

fn bad(out: &mut Sink, draft: &ServiceDraft, reason: &str) {
    let Some(file) = &draft.env_file else { return };
    let message = format!("the `env_file` of service `{}` cannot be read", draft.service.name);
    out.report(Code::BadEnvFile, file.span, message)
        .label(reason)
        .help("a line is NAME=value, NAME='value' or NAME=\"value\"; a comment is a line with # at its beginning");
}

/// What stands in the manifest counts more.
fn add(draft: &mut ServiceDraft, variables: BTreeMap<String, String>) {
    let Some(span) = draft.env_file.as_ref().map(|file| file.span) else { return };
    for (name, value) in variables {
        draft.env.variables.push(Sited { value: name.clone(), span });
        draft.service.env.entry(name).or_insert_with(|| EnvValue::Hidden(Hidden::new(value)));
    }
}

/// Or the number of the line that is wrong, and why.
fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, &'static str)> {
    let mut variables = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |reason| (i + 1, reason);
        let (name, value) = line.split_once('=').ok_or_else(|| at("there is no `=`"))?;
        if name.starts_with("export ") {
            return Err(at("it is no shell script: leave `export` out"));
        }
        if name.ends_with(char::is_whitespace) || value.starts_with(char::is_whitespace) {
            return Err(at("there is a space beside `=`"));
        }
        if !Format::Variable.accepts(name) {
            return Err(at("the name has other characters than letters, digits and _"));
        }
        let value = unquoted(value).map_err(at)?;
        if variables.insert(name.to_owned(), value).is_some() {
            return Err(at("this name stands in the file twice"));
        }
    }
    Ok(variables)
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    let inside = |quote: char| {
        let rest = value.strip_prefix(quote)?;
        Some(rest.strip_suffix(quote).ok_or("the closing quote is not at the end of the line"))
    };
    let value = if let Some(text) = inside('\'') {
        let text = text?;
        if text.contains('\'') {
            return Err("there is a quote between the quotes");
        }
        text.to_owned()
    } else if let Some(text) = inside('"') {
        unescaped(text?)?
    } else if value.contains(['\'', '"', '\\', '`']) || value.contains(" #") {
        return Err("a value with a quote, a backslash or ` #` stands in quotes");
    } else if value.contains("${") || value.contains("$(") {
        return Err("nothing is filled in; a value with `${` or `$(` stands in single quotes");
    } else {
        value.to_owned()
    };
    if value.contains('\0') { Err("a value cannot hold NUL") } else { Ok(value) }
}

fn unescaped(text: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(c @ ('"' | '\\' | '$')) => c,
                _ => return Err("after a backslash stands n, t, $, \\ or a double quote"),
            }),
            '"' => return Err("there is a quote between the quotes"),
            '$' => return Err("nothing is filled in; write \\$, or use single quotes"),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_variables() {
        let text = "\u{feff}# first\r\n\nA=1\r\n  B=two words \nC='a # $x \\'\nD=\"x\\n\\\"\\$\"\nE=\nF=a=b#c$d\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # $x \\"),
            ("D", "x\n\"$"),
            ("E", ""),
            ("F", "a=b#c$d"),
        ];
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_with_its_line() {
        for line in [
            "A",
            "A =1",
            "A= 1",
            "export A=1",
            "1A=1",
            "A-B=1",
            "=1",
            "A=1\nA=2",
            "A='x",
            "A='a'b'",
            "A=\"a\"b\"",
            "A=\"x",
            "A=it's",
            "A=x # y",
            "A=${B}",
            "A=$(id)",
            "A=\"$B\"",
            "A=\"\\q\"",
            "A=a\\nb",
            "A=a\0",
        ] {
            let (number, _) = parse(&format!("X=1\n{line}\n")).expect_err(line);
            assert_eq!(number, 1 + line.lines().count(), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
