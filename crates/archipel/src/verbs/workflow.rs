//! `archipel workflow`.

use archipel_console::view::{WorkflowHistory, WorkflowWhole, Workflows, WorkflowsChanged};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Query, connect, instant, print_json};
use crate::cli::Global;
use crate::cli::workflow::{Many, One, Which, WorkflowVerb};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::show::workflow as show;

pub(crate) async fn run(global: &Global, verb: WorkflowVerb) -> Result<u8, Failure> {
    // What is wrong with the words is told also when nothing runs.
    let ask = Ask::of(verb)?;
    let (_, client) = connect(global).await?;
    match ask {
        Ask::List(path) => {
            let found: Workflows = client.get(&path).await?;
            if global.json { print_json(&found)? } else { show::list(&found) }
        }
        Ask::Describe(path) => {
            let whole: WorkflowWhole = client.get(&path).await?;
            if global.json { print_json(&whole)? } else { show::describe(&whole) }
        }
        Ask::History(path, wide) => {
            let history: WorkflowHistory = client.get(&path).await?;
            if global.json { print_json(&history)? } else { show::history(&history, wide) }
        }
        Ask::Change(path, body) => return change(global, &client, &path, &body).await,
    }
    Ok(0)
}

enum Ask {
    List(String),
    Describe(String),
    History(String, bool),
    Change(String, Value),
}

impl Ask {
    fn of(verb: WorkflowVerb) -> Result<Self, Failure> {
        use WorkflowVerb as Verb;
        Ok(match verb {
            Verb::List { which, limit } => {
                let mut query = Query::new("/v1/workflows").add("limit", limit);
                for state in &which.status {
                    query = query.add("status", state);
                }
                let query = query
                    .maybe("since_ms", which.since.as_deref().map(instant).transpose()?)
                    .maybe("until_ms", which.until.as_deref().map(instant).transpose()?)
                    .maybe("service", which.service)
                    .maybe("name", which.name)
                    .maybe("id", which.id_contains);
                Self::List(query.as_str().to_owned())
            }
            Verb::Describe { one } => Self::Describe(path(&one)),
            Verb::History { one, wide } => Self::History(format!("{}/history", path(&one)), wide),
            Verb::Start { service, name, id, input, at, tags } => {
                let body = json!({
                    "name": name,
                    "id": id.unwrap_or_default(),
                    "input": payload(input)?,
                    "at_ms": at.as_deref().map(later).transpose()?,
                    "tags": pairs(&tags)?,
                });
                Self::Change(format!("/v1/workflows/{}", encoded(&service)), body)
            }
            Verb::Raise { event, many, data } => {
                many_of("raise", many, json!({ "event": event, "payload": payload(data)? }))?
            }
            Verb::Suspend { many, reason } => {
                many_of("suspend", many, json!({ "reason": reason }))?
            }
            Verb::Resume { many, reason } => many_of("resume", many, json!({ "reason": reason }))?,
            Verb::Terminate { many, output, recursive } => {
                let with = json!({ "payload": payload(output)?, "recursive": recursive });
                many_of("terminate", many, with)?
            }
            Verb::Purge { many, recursive, force } => {
                many_of("purge", many, json!({ "recursive": recursive, "force": force }))?
            }
            Verb::Rerun { one, from, new_id, input } => {
                let body = json!({ "event_id": from, "new_id": new_id, "input": payload(input)? });
                Self::Change(format!("{}/rerun", path(&one)), body)
            }
        })
    }
}

fn many_of(act: &str, many: Many, mut body: Value) -> Result<Ask, Failure> {
    let Many { ids, which, all } = many;
    body["do"] = act.into();
    if ids.is_empty() {
        if !all && !which.narrows() {
            return Err(Failure::new(exit::USAGE, format!("name what to {act}")).help(
                "ids from `archipel workflow list`, or a filter such as --name or --status, or --all",
            ));
        }
        body["filter"] = filter(&which)?;
    } else {
        let others = Which { service: None, ..which };
        if others.narrows() {
            return Err(Failure::new(exit::USAGE, "ids and filters do not go together")
                .help("only --service may stand beside ids"));
        }
        let service = which_service(which.service.as_deref());
        let targets = ids.iter().map(|id| json!({ "service": service, "id": id }));
        body["targets"] = targets.collect();
    }
    Ok(Ask::Change("/v1/workflows".to_owned(), body))
}

fn filter(which: &Which) -> Result<Value, Failure> {
    Ok(json!({
        "service": which.service,
        "name": which.name,
        "id": which.id_contains,
        "status": which.status,
        "since_ms": which.since.as_deref().map(instant).transpose()?,
        "until_ms": which.until.as_deref().map(instant).transpose()?,
    }))
}

async fn change(global: &Global, client: &Client, path: &str, body: &Value) -> Result<u8, Failure> {
    let changed: WorkflowsChanged = client.post(path, body).await?;
    if global.json {
        print_json(&changed)?;
    } else {
        for done in &changed.done {
            outln!("{} {}", done.service, done.id);
        }
        for refused in &changed.failed {
            eprintln!("{} {}: {}", refused.service, refused.id, refused.reason);
        }
        if changed.done.is_empty() && changed.failed.is_empty() {
            eprintln!("there is no such instance; `archipel workflow list` shows them");
        }
        if changed.more {
            eprintln!("there are more; the same again takes the next");
        }
    }
    Ok(if changed.failed.is_empty() { 0 } else { exit::UNEXPECTED })
}

fn path(one: &One) -> String {
    let service = which_service(one.service.as_deref());
    format!("/v1/workflows/{}/{}", encoded(service), encoded(&one.id))
}

/// `-`: whichever has it.
fn which_service(named: Option<&str>) -> &str {
    named.unwrap_or("-")
}

fn encoded(text: &str) -> String {
    match text {
        // Encoded, it would be another word.
        "-" => text.to_owned(),
        text => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
    }
}

/// Workflow SDKs read payloads as JSON; anything else would fail in the service, and later.
fn payload(text: Option<String>) -> Result<Option<String>, Failure> {
    let text = match text.as_deref() {
        Some("-") => Some(std::io::read_to_string(std::io::stdin())?),
        _ => text,
    };
    if let Some(text) = &text {
        let parsed: Result<Value, _> = serde_json::from_str(text);
        parsed.map_err(|error| {
            Failure::new(exit::USAGE, format!("the payload is not JSON: {error}"))
                .help("a text stands in double quotes: '\"like this\"'")
        })?;
    }
    Ok(text.map(|text| text.trim().to_owned()))
}

fn pairs(tags: &[String]) -> Result<serde_json::Map<String, Value>, Failure> {
    let pair = |tag: &String| match tag.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.into())),
        _ => Err(Failure::new(exit::USAGE, format!("`{tag}` is no tag"))
            .help("for example --tag customer=42")),
    };
    tags.iter().map(pair).collect()
}

/// In so long, or at an instant.
fn later(text: &str) -> Result<u64, Failure> {
    match archipel_model::parse_duration(text) {
        Ok(wait) => {
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            Ok(archipel_rt::clock::wall_ms().saturating_add(wait))
        }
        Err(_) => instant(text),
    }
}
