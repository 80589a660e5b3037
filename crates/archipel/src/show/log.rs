//! One line of a service's output, for people.

use archipel_console::view::LogLine;

use super::style::Style;

/// `width` is that of the widest name, so that messages line up.
pub(crate) fn line(line: &LogLine, width: usize, timestamps: bool, style: Style) -> String {
    let mut out = String::new();
    if timestamps {
        out.push_str(&style.dim(&time_of(line.at_ms)));
        out.push(' ');
    }
    let pad = width.saturating_sub(line.instance.chars().count());
    out.push_str(&style.service(&line.instance));
    out.extend(std::iter::repeat_n(' ', pad));
    out.push_str(&style.dim(" │ "));
    match line.level.as_deref() {
        Some("error" | "fatal") => out.push_str(&style.red(&line.message)),
        Some("debug" | "trace") => out.push_str(&style.dim(&line.message)),
        _ => out.push_str(&line.message),
    }
    if let Some(serde_json::Value::Object(fields)) = &line.fields {
        for (name, value) in fields {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            out.push(' ');
            out.push_str(&style.dim(&format!("{name}={value}")));
        }
    }
    out
}

fn time_of(at_ms: u64) -> String {
    let nanos = i128::from(at_ms) * 1_000_000;
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return at_ms.to_string();
    };
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    at.format(&format).unwrap_or_else(|_| at_ms.to_string())
}
