//! `archipel logs`: asked of the running Archipel, or read from its files when there is none.

use std::collections::BTreeSet;
use std::io::Write;

use archipel_console::view::LogLine;
use archipel_model::{InstanceId, ServiceName, suggest};
use archipel_telemetry::{Expr, Filter};

use super::{Query, Versioned, connect, instant};
use crate::cli::{Global, Level, Logs};
use crate::exit::{self, Failure};
use crate::find::Place;
use crate::show::{log, style::Style};

pub(crate) async fn run(global: &Global, logs: &Logs) -> Result<u8, Failure> {
    let (place, client) = connect(global).await?;
    let since = logs.since.as_deref().map(instant).transpose()?;
    let until = logs.until.as_deref().map(instant).transpose()?;
    let style = Style::stdout(global.no_color);
    let mut width = 0;
    let mut out = std::io::stdout().lock();
    let mut failed = None;
    let mut each = |line: LogLine| {
        let text = if global.json {
            serde_json::to_string(&Versioned::new("archipel.log-line/1", &line)).unwrap_or_default()
        } else {
            width = width.max(line.instance.chars().count());
            log::line(&line, width, logs.timestamps, style)
        };
        match writeln!(out, "{text}") {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    };
    let written = written(&place);
    if !written.is_empty() && !client.is_running().await {
        let filter = filter(global, logs, &place, written, (since, until))?;
        let records =
            archipel_telemetry::last_at_rest(place.state.logs(), filter, logs.tail).await?;
        let _ = records.iter().all(|record| each(record.into()));
        if logs.follow {
            eprintln!("nothing is running, so no more lines follow; `archipel up` starts it");
        }
    } else {
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
        client.stream(query.as_str(), each).await?;
    }
    match failed {
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(exit::READER_GONE),
        Some(error) => Err(error.into()),
        None => Ok(0),
    }
}

/// The services that have logs on disk.
fn written(place: &Place) -> BTreeSet<ServiceName> {
    let entries = std::fs::read_dir(place.state.logs()).into_iter().flatten().flatten();
    entries.filter_map(|entry| ServiceName::new(entry.file_name().to_str()?).ok()).collect()
}

/// As the running Archipel would understand the same words.
fn filter(
    global: &Global,
    logs: &Logs,
    place: &Place,
    written: BTreeSet<ServiceName>,
    (since_ms, until_ms): (Option<u64>, Option<u64>),
) -> Result<Filter, Failure> {
    let mut filter = Filter {
        since_ms,
        until_ms,
        trace_id: logs.trace.as_deref().map(str::to_ascii_lowercase),
        level: logs.level.map(level).and_then(archipel_telemetry::Level::of_word),
        text: logs.search.clone(),
        expr: Expr::parse(logs.query.as_deref().unwrap_or_default())
            .map_err(|error| Failure::new(exit::USAGE, error.to_string()))?,
        ..Filter::default()
    };
    let mut known = written;
    // Broken by now or not: what is on disk can be read.
    let options = archipel_manifest::Options { profile: global.profile.clone(), question: None };
    if let Ok(loaded) = archipel_manifest::load(&place.manifest, &options) {
        known.extend(loaded.app.services.into_keys());
    }
    for name in &logs.services {
        let service = ServiceName::new(name).ok().filter(|service| known.contains(service));
        let instance = name.parse::<InstanceId>().ok().filter(|i| known.contains(&i.service));
        match (service, instance) {
            (Some(service), _) => filter.services.insert(service),
            (None, Some(instance)) => filter.instances.insert(instance),
            (None, None) => {
                let text = format!("there is no service or instance `{name}`");
                let known = known.iter().map(ServiceName::as_str);
                return Err(Failure::new(exit::USAGE, text).help(suggest::there_are(name, known)));
            }
        };
    }
    Ok(filter)
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
