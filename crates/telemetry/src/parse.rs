//! Understands what a service printed: JSON, logfmt, or words.
//!
//! Nothing is ever refused: a line that fits no shape is its own message.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::Level;

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    pub level: Option<Level>,
    pub message: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub fields: Map<String, Value>,
    /// A JSON object or logfmt: complete by itself, so no line after it belongs to it.
    pub structured: bool,
}

const LEVEL_KEYS: &[&str] = &["level", "severity", "lvl", "loglevel", "log.level", "levelname"];
const MESSAGE_KEYS: &[&str] = &["msg", "message", "event", "body"];
const TRACE_KEYS: &[&str] =
    &["trace_id", "traceid", "trace.id", "trace-id", "otel.trace_id", "dd.trace_id"];
const SPAN_KEYS: &[&str] =
    &["span_id", "spanid", "span.id", "span-id", "otel.span_id", "dd.span_id"];
/// The record has its own time, and the source's clock is not needed twice.
const TIME_KEYS: &[&str] = &["time", "timestamp", "ts", "@timestamp"];

/// Understands one line.
pub fn line(text: &str) -> Parsed {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim_start().starts_with('{')
        && let Ok(Value::Object(object)) = serde_json::from_str(text)
    {
        return structured(object);
    }
    let plain = without_ansi(text);
    match logfmt(&plain) {
        Some(fields) => structured(fields),
        None => {
            Parsed { level: level_word(&plain), message: plain.into_owned(), ..Parsed::default() }
        }
    }
}

fn structured(mut object: Map<String, Value>) -> Parsed {
    let level = take(&mut object, LEVEL_KEYS).and_then(|value| match value {
        Value::String(word) => Level::of_word(&word),
        Value::Number(number) => number.as_u64().and_then(Level::of_number),
        _ => None,
    });
    let message = take(&mut object, MESSAGE_KEYS).map(text_of).unwrap_or_default();
    let mut trace_id = take(&mut object, TRACE_KEYS).map(text_of).and_then(|id| hex(&id, 32));
    let mut span_id = take(&mut object, SPAN_KEYS).map(text_of).and_then(|id| hex(&id, 16));
    // A whole traceparent says both.
    if let Some(Value::String(parent)) = object.get("traceparent") {
        let mut parts = parent.split('-').skip(1);
        let (trace, span) = (parts.next(), parts.next());
        trace_id = trace_id.or_else(|| hex(trace?, 32));
        span_id = span_id.or_else(|| hex(span?, 16));
        object.shift_remove("traceparent");
    }
    let _ = take(&mut object, TIME_KEYS);
    Parsed { level, message, trace_id, span_id, fields: object, structured: true }
}

/// Removes the first of `keys` that is there, in any case.
fn take(object: &mut Map<String, Value>, keys: &[&str]) -> Option<Value> {
    let key = object.keys().find(|key| keys.iter().any(|k| key.eq_ignore_ascii_case(k)))?.clone();
    object.shift_remove(&key)
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// An id of exactly `digits` hexadecimal digits that is not all zero.
fn hex(text: &str, digits: usize) -> Option<String> {
    let good = text.len() == digits
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0');
    good.then(|| text.to_ascii_lowercase())
}

/// `key=value key="quoted value"`: only when the whole line is of that form and it names a
/// level or a message, so that a sentence with an equals sign stays a sentence.
fn logfmt(text: &str) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key_ok = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@'));
        if !key_ok {
            return None;
        }
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        fields.insert(key.to_owned(), Value::String(value));
        rest = left.trim_start();
    }
    let named =
        |keys: &[&str]| fields.keys().any(|key| keys.iter().any(|k| key.eq_ignore_ascii_case(k)));
    (named(LEVEL_KEYS) || named(MESSAGE_KEYS)).then_some(fields)
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
    None
}

/// The level of a plain line, when it says one where loggers say it: in capitals among the first
/// words, in brackets, or as the word before the first colon. In running text a word is a word:
/// `no error so far` has no level.
fn level_word(text: &str) -> Option<Level> {
    if is_crash(text) {
        return Some(Level::Error);
    }
    let mut rest = text;
    for _ in 0..6 {
        let start = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let before = rest[..start].chars().next_back();
        let word_end = rest[start..].find(|c: char| !c.is_ascii_alphabetic());
        let end = word_end.map_or(rest.len(), |end| start + end);
        let (word, after) = (&rest[start..end], rest[end..].chars().next());
        let shouted = word.bytes().all(|byte| byte.is_ascii_uppercase());
        let bracketed = matches!((before, after), (Some('['), Some(']')) | (Some('<'), Some('>')));
        let first = rest.len() == text.len();
        let heads = first && start == 0 && after == Some(':');
        if (shouted || bracketed || heads)
            && let Some(level) = Level::of_word(word)
        {
            return Some(level);
        }
        rest = &rest[end..];
    }
    None
}

/// How programs of each language say that they fell over.
fn is_crash(text: &str) -> bool {
    ["Traceback (most recent call last)", "Exception in thread ", "panic: ", "fatal error: "]
        .iter()
        .any(|start| text.starts_with(start))
        || text.starts_with("thread '") && text.contains(" panicked at ")
        || is_exception(text.split([':', ' ']).next().unwrap_or_default())
}

/// `ValueError`, `java.lang.IllegalStateException`, `TypeError`: a type's name, not a word.
fn is_exception(word: &str) -> bool {
    let stem = word.strip_suffix("Error").or_else(|| word.strip_suffix("Exception"));
    stem.is_some_and(|stem| {
        !stem.is_empty()
            && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'))
    })
}

/// Without terminal sequences: colours, cursor moves, titles.
pub(crate) fn without_ansi(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            out.push(c);
            continue;
        }
        match chars.next() {
            // Parameters end with a letter.
            Some('[') => _ = chars.find(|c| ('\x40'..='\x7e').contains(c)),
            // A title or a link ends with BEL or ESC \.
            Some(']') => {
                let end = chars.find(|c| matches!(c, '\x07' | '\x1b'));
                if end == Some('\x1b') {
                    chars.next();
                }
            }
            // A character set: one more.
            Some('(' | ')') => _ = chars.next(),
            _ => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_apart() {
        let parsed = line(
            r#"{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"slow","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","order_id":"ord_1"}"#,
        );
        assert_eq!((parsed.level, parsed.message.as_str()), (Some(Level::Warn), "slow"));
        assert_eq!(parsed.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(parsed.span_id.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(parsed.fields.keys().collect::<Vec<_>>(), ["order_id"]);
        assert_eq!(line(r#"{"level":50,"msg":"pino"}"#).level, Some(Level::Error));
    }

    #[test]
    fn logfmt_and_sentences_are_told_apart() {
        let parsed = line(r#"level=error msg="it \"broke\"" code=7"#);
        assert_eq!((parsed.level, parsed.message.as_str()), (Some(Level::Error), r#"it "broke""#));
        assert_eq!(parsed.fields["code"], "7");
        for sentence in ["a = b", "x=1 and more", "key=value", "{not json", "msg=\"open"] {
            assert_eq!(line(sentence).message, sentence);
        }
    }

    #[test]
    fn plain_lines_keep_their_words_and_lose_their_colours() {
        let parsed = line("\x1b[32m2026-01-01 INFO\x1b[0m ready");
        assert_eq!(
            (parsed.level, parsed.message.as_str()),
            (Some(Level::Info), "2026-01-01 INFO ready")
        );
        assert_eq!(line("no error so far").level, None);
        assert_eq!(line("").message, "");
        assert_eq!(line("\x1b]0;title\x07a\x1b(Bb\x1b]8;;x\x1b\\c").message, "abc");
    }

    #[test]
    fn levels_are_found_where_loggers_put_them() {
        let check =
            |text: &str, level: Option<Level>| assert_eq!(line(text).level, level, "{text}");
        check("INFO:     Uvicorn running", Some(Level::Info));
        check("WARNING:root:careful", Some(Level::Warn));
        check("2026/01/01 10:00:00 [error] 7#7: *1 open() failed", Some(Level::Error));
        check("[2026-01-01 10:00:00] <warn> slow", Some(Level::Warn));
        check("2026-01-01T10:00:00.000Z  WARN 1 --- [main] c.e.App : slow", Some(Level::Warn));
        check("error: it broke", Some(Level::Error));
        check("Error: it broke", Some(Level::Error));
        check("TypeError: x is not a function", Some(Level::Error));
        check("java.lang.IllegalStateException: no", Some(Level::Error));
        check("Exception in thread \"main\" java.lang.X", Some(Level::Error));
        check("thread 'main' (7) panicked at src/main.rs:1:5:", Some(Level::Error));
        check("panic: runtime error: index out of range", Some(Level::Error));
        check("the info desk is open", None);
        check("Errors: 0", None);
        check("listening, no warning: all good", None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_refused(text in ".*") {
            let _ = line(&text);
        }

        #[test]
        fn near_logfmt_does_not_panic(text in "[a-z\"=\\\\ \\x1b\\[{}:,é]*") {
            let _ = line(&text);
        }
    }
}
