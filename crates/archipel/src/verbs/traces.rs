//! `archipel traces` and `archipel trace`.

use archipel_console::view::{Trace, Traces};

use super::{Query, connect, instant, print_json};
use crate::cli::{Global, TraceOf, TracesOf};
use crate::exit::Failure;
use crate::show::{style::Style, trace};

pub(crate) async fn list(global: &Global, of: &TracesOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let query = Query::new("/v1/traces")
        .add("query", of.query.join(" "))
        .maybe("since_ms", of.since.as_deref().map(instant).transpose()?)
        .maybe("until_ms", of.until.as_deref().map(instant).transpose()?)
        .add("limit", of.limit);
    let traces: Traces = client.get(query.as_str()).await?;
    if global.json {
        print_json(&traces)?;
        return Ok(0);
    }
    if traces.traces.is_empty() {
        eprintln!("no trace matches");
    } else {
        trace::list(&traces.traces, Style::stdout(global.no_color)).print();
    }
    if traces.cut_at_ms.is_some() {
        eprintln!("time ran out before all traces were looked at; --since narrows the search");
    }
    Ok(0)
}

pub(crate) async fn one(global: &Global, of: &TraceOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let query = Query::new(&format!("/v1/traces/{}", of.id.trim()));
    let found: Trace = client.get(query.as_str()).await?;
    if global.json {
        print_json(&found)?;
    } else {
        let width = crate::show::terminal_width().unwrap_or(100);
        for line in trace::waterfall(&found, width, Style::stdout(global.no_color)) {
            outln!("{line}");
        }
    }
    Ok(0)
}
