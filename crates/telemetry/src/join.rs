//! Which line belongs to the one before: the tails of stack traces.
//!
//! Pure: the caller decides how long a record may wait for more lines.

use crate::record::LogRecord;

/// Lines of one record at most; a trace longer than this is cut into several records.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 64 << 10;

/// Whether `text` goes on with what `before` began.
pub(crate) fn continues(before: &LogRecord, text: &str) -> bool {
    let told = &before.message;
    if told.len() + text.len() > BYTES_MAX || told.lines().count() >= LINES_MAX {
        return false;
    }
    let structured = text.starts_with('{');
    let indented = text.starts_with([' ', '\t']) && !text.trim().is_empty();
    if structured {
        return false;
    }
    indented
        || text.starts_with("Caused by:") // Java
        || text.starts_with("Traceback (most recent call last):") && told.contains("Error")
        || ends_python_trace(told)
        || in_go_panic(told)
}

/// A Python trace ends with one line that is not indented: the exception itself.
fn ends_python_trace(told: &str) -> bool {
    let mut lines = told.lines();
    let begun = lines.any(|line| line.starts_with("Traceback (most recent call last):"));
    begun && told.lines().last().is_some_and(|line| line.starts_with("  "))
}

fn in_go_panic(told: &str) -> bool {
    told.starts_with("panic: ")
        || told.starts_with("fatal error: ")
        || told.starts_with("goroutine ")
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
    }
}
