//! `archipel logs`.

use std::io::Write;

use archipel_console::view::LogLine;

use super::{Query, Versioned, connect, instant};
use crate::cli::{Global, Level, Logs};
use crate::exit::Failure;
use crate::show::{log, style::Style};

pub(crate) async fn run(global: &Global, logs: &Logs) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let since = logs.since.as_deref().map(instant).transpose()?;
    let until = logs.until.as_deref().map(instant).transpose()?;
    let mut query = Query::new("/v1/logs")
        .maybe("since_ms", since)
        .maybe("until_ms", until)
        .maybe("trace", logs.trace.as_deref())
        .maybe("level", logs.level.map(level))
        .maybe("search", logs.search.as_deref())
        .maybe("query", logs.query.as_deref())
        .add("tail", logs.tail)
        .add("follow", u8::from(logs.follow));
    for service in &logs.services {
        query = query.add("service", service);
    }
    let style = Style::stdout(global.no_color);
    let mut width = 0;
    let mut out = std::io::stdout().lock();
    let mut failed = None;
    let each = |line: LogLine| {
        let text = if global.json {
            serde_json::to_string(&Versioned::new("archipel.log-line/1", &line)).unwrap_or_default()
        } else {
            width = width.max(line.instance.chars().count());
            log::line(&line, width, logs.timestamps, style)
        };
        // A reader that has gone away (`| head`) ends this quietly.
        match writeln!(out, "{text}") {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    };
    client.stream(query.as_str(), each).await?;
    match failed {
        Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
