//! Which line belongs to the one before: the tails of stack traces.
//!
//! Pure: the caller decides how long a record may wait for more lines.

use crate::record::LogRecord;

/// Lines of one record at most; a trace longer than this is cut into several records.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 64 << 10;

/// Whether `text` goes on with what `before` began.
pub(crate) fn continues(before: &LogRecord, text: &str) -> bool {
    let told = before.message.as_str();
    if told.len() + text.len() > BYTES_MAX || text.trim_start().starts_with('{') {
        return false;
    }
    let goes_on = if text.trim().is_empty() {
        // Between the parts of a crash there are empty lines; elsewhere they are lines.
        in_python_trace(told) || in_go_panic(told)
    } else {
        text.starts_with([' ', '\t'])
            || text.starts_with("Caused by:") // Java
            || in_python_trace(told) && goes_on_python(told, text)
            || in_go_panic(told)
            || in_rust_panic(told) && goes_on_rust(told, text)
    };
    // Counted last: it reads all that was told.
    goes_on && told.lines().count() < LINES_MAX
}

fn in_python_trace(told: &str) -> bool {
    told.starts_with("Traceback (most recent call last):")
        || told.contains("\nTraceback (most recent call last):")
}

/// A trace ends with the exception, the first line that is not indented; then another may follow.
fn goes_on_python(told: &str, text: &str) -> bool {
    let last = told.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let links = |line: &str| {
        line.starts_with("During handling of the above exception")
            || line.starts_with("The above exception was the direct cause")
    };
    last.starts_with(' ')
        || last.starts_with("Traceback (most recent call last):")
        || links(text)
        || links(last) && text.starts_with("Traceback (most recent call last):")
}

/// Up to the last goroutine everything belongs to the panic; it ends with the process.
fn in_go_panic(told: &str) -> bool {
    told.starts_with("panic: ")
        || told.starts_with("fatal error: ")
        || told.starts_with("goroutine ")
}

fn in_rust_panic(told: &str) -> bool {
    told.starts_with("thread '") && told.lines().next().is_some_and(|l| l.contains(" panicked at "))
}

/// The message stands below the place; then come a backtrace and a note.
fn goes_on_rust(told: &str, text: &str) -> bool {
    told.ends_with(':') && !told.contains('\n')
        || text.starts_with("stack backtrace:")
        || text.starts_with("note: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    fn joined(lines: &[&str]) -> Vec<String> {
        let mut records: Vec<LogRecord> = Vec::new();
        for text in lines {
            match records.last_mut() {
                Some(last) if continues(last, text) => {
                    last.message.push('\n');
                    last.message.push_str(text);
                }
                _ => records.push(LogRecord {
                    at_ms: 0,
                    instance: "a-0".parse().unwrap(),
                    stream: Stream::Stderr,
                    level: None,
                    message: (*text).to_owned(),
                    trace_id: None,
                    span_id: None,
                    fields: serde_json::Map::new(),
                }),
            }
        }
        records.into_iter().map(|record| record.message).collect()
    }

    #[test]
    fn traces_of_each_language_are_one_record() {
        let python = [
            "starting",
            "Traceback (most recent call last):",
            "  File \"a.py\", line 1, in <module>",
            "    boom()",
            "ValueError: no",
            "next",
        ];
        assert_eq!(joined(&python).len(), 3, "{:?}", joined(&python));
        let java = [
            "java.lang.X: no",
            "\tat a.B.c(B.java:1)",
            "Caused by: java.io.Y",
            "\t... 2 more",
            "next",
        ];
        assert_eq!(joined(&java).len(), 2);
        let go = ["panic: no", "", "goroutine 1 [running]:", "main.main()", "\t/a.go:1 +0x1"];
        assert_eq!(joined(&go).len(), 1);
        let node = ["Error: no", "    at f (a.js:1:1)", "{\"level\":\"info\"}"];
        assert_eq!(joined(&node).len(), 2);
        let chained = [
            "Traceback (most recent call last):",
            "  File \"a.py\", line 1, in <module>",
            "KeyError: 'x'",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            "  File \"a.py\", line 3, in <module>",
            "ValueError: no",
            "next",
        ];
        assert_eq!(joined(&chained).len(), 2, "{:?}", joined(&chained));
        let rust = [
            "thread 'main' panicked at src/main.rs:1:5:",
            "no",
            "stack backtrace:",
            "   0: std::panicking",
            "             at ./x.rs:1",
            "note: Some details are omitted",
            "next",
        ];
        assert_eq!(joined(&rust).len(), 2, "{:?}", joined(&rust));
    }

    #[test]
    fn plain_lines_stay_apart() {
        assert_eq!(joined(&["one", "two", "", "Error: three", "four"]).len(), 5);
    }
}
