//! Durable workflows: lists, one of them, its history, and what people do to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archipel_workflow::{
    Details, Engine, Entry, Filter, Key, NewInstance, Rerun, Summary, TurnState, WorkflowError,
    status_named, word,
};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::admin::{Done, Query, parse};
use crate::answer::{self, Answer, bad, problem};
use crate::server::Shared;
use crate::view::{self, WorkflowRef};

/// Unless told otherwise.
const LISTED: usize = 50;
const LISTED_MAX: usize = 1_000;
/// Changed by one request.
const CHANGED_MAX: usize = 1_000;
/// The services are searched for whoever has the instance.
const WHICHEVER: &str = "-";

pub(crate) async fn list(shared: &Shared, query: &Query) -> Done {
    let wanted = Wanted {
        service: query.one("service").map(str::to_owned),
        name: query.one("name").map(str::to_owned),
        id: query.one("id").map(str::to_owned),
        status: query.all("status").map(str::to_owned).collect(),
        since_ms: query.number("since_ms")?,
        until_ms: query.number("until_ms")?,
    };
    let limit = query.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.unwrap_or(LISTED).clamp(1, LISTED_MAX);
    let engine = &shared.parts.engine;
    let found = engine.find(wanted.service.as_deref(), &wanted.filter()?, limit).await;
    let found = found.map_err(|error| refusal(&error))?;
    let workers = services(shared).into_iter().map(|name| (engine.workers(&name), name));
    Ok(answer::json(&view::Workflows {
        schema: view::Workflows::SCHEMA.to_owned(),
        instances: found.instances.into_iter().map(shown).collect(),
        counts: found.counts.into_iter().map(|(state, n)| (state.to_owned(), n)).collect(),
        more: found.more,
        workers: workers.filter(|(n, _)| *n > 0).map(|(n, name)| (name, n)).collect(),
    }))
}

pub(crate) async fn describe(shared: &Shared, service: &str, id: &str) -> Done {
    let key = key(shared, &decoded(service), &decoded(id)).await?;
    let details = shared.parts.engine.details(&key).await;
    Ok(answer::json(&whole(details.map_err(|error| refusal(&error))?)))
}

/// All of it; or the last `limit` events, with the first `payload_max` bytes of each payload.
pub(crate) async fn history(shared: &Shared, service: &str, id: &str, query: &Query) -> Done {
    let key = key(shared, &decoded(service), &decoded(id)).await?;
    let most = |key: &str| -> Result<usize, Answer> {
        let most = query.number(key)?.unwrap_or(u64::MAX);
        Ok(usize::try_from(most).unwrap_or(usize::MAX))
    };
    let (limit, payload_max) = (most("limit")?, most("payload_max")?);
    let events = shared.parts.engine.entries(&key).await;
    let mut events = events.map_err(|error| refusal(&error))?;
    let left_out = events.len().saturating_sub(limit);
    events.drain(..left_out);
    Ok(answer::json(&view::WorkflowHistory {
        schema: view::WorkflowHistory::SCHEMA.to_owned(),
        service: key.app.to_string(),
        id: key.id.to_string(),
        left_out: left_out as u64,
        events: events.into_iter().map(|of| event(of, payload_max)).collect(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    name: String,
    #[serde(default)]
    id: String,
    input: Option<String>,
    at_ms: Option<u64>,
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
}

pub(crate) async fn start(shared: &Shared, service: &str, body: &[u8]) -> Done {
    let Start { name, id, input, at_ms, tags } = parse(body)?;
    let service = decoded(service);
    if !services(shared).contains(&service) {
        return Err(unknown_service(shared, &service));
    }
    if name.is_empty() {
        return Err(bad("a workflow has a name"));
    }
    let new = NewInstance { name, id, input, at: at_ms.map(instant), tags };
    let key = shared.parts.engine.start(&service, new).await.map_err(|error| refusal(&error))?;
    Ok(changed(vec![reference(&key)]))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    /// Without: all of it.
    event_id: Option<i32>,
    new_id: Option<String>,
    /// Instead of the step's own.
    input: Option<String>,
    child_id: Option<String>,
}

pub(crate) async fn rerun(shared: &Shared, service: &str, id: &str, body: &[u8]) -> Done {
    let Again { event_id, new_id, input, child_id } = parse(body)?;
    let source = key(shared, &decoded(service), &decoded(id)).await?;
    let engine = &shared.parts.engine;
    let key = match event_id {
        Some(event_id) => {
            let rerun = Rerun { event_id, new_id, input: input.map(Some), child_id };
            engine.rerun(&source, rerun).await
        }
        None => engine.start_again(&source, new_id, input).await,
    };
    Ok(changed(vec![reference(&key.map_err(|error| refusal(&error))?)]))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(rename = "do")]
    act: Act,
    /// These; or those that the filter finds.
    #[serde(default)]
    targets: Vec<Target>,
    filter: Option<Wanted>,
    /// Of `suspend` and `resume`.
    reason: Option<String>,
    /// Of `terminate`: what the instance ends with. Of `raise`: what comes with the event.
    payload: Option<String>,
    event: Option<String>,
    /// With everything that they began.
    #[serde(default)]
    recursive: bool,
    /// Of `purge`: also what has not ended.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Act {
    Suspend,
    Resume,
    Terminate,
    Purge,
    Raise,
}

impl Act {
    /// To which an unfiltered choice of states is narrowed: where it would change something.
    fn fits(self) -> &'static [&'static str] {
        match self {
            Self::Suspend => &["pending", "running"],
            Self::Resume => &["suspended", "stalled"],
            Self::Terminate | Self::Raise => &["pending", "running", "suspended", "stalled"],
            Self::Purge => &["completed", "failed", "terminated", "canceled"],
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(default = "whichever")]
    service: String,
    id: String,
}

fn whichever() -> String {
    WHICHEVER.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: Option<String>,
    name: Option<String>,
    /// Somewhere in it.
    id: Option<String>,
    #[serde(default)]
    status: Vec<String>,
    /// When they were created.
    since_ms: Option<u64>,
    until_ms: Option<u64>,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, Answer> {
        let state = |text: &String| {
            status_named(text).ok_or_else(|| {
                bad(format!(
                    "`{text}` is no state of a workflow; there are pending, running, suspended, \
                     stalled, completed, failed, terminated and canceled"
                ))
            })
        };
        Ok(Filter {
            name: self.name.clone(),
            id: self.id.clone(),
            statuses: self.status.iter().map(state).collect::<Result<_, _>>()?,
            created_from: self.since_ms.map(instant),
            created_to: self.until_ms.map(instant),
        })
    }
}

pub(crate) async fn change(shared: &Shared, body: &[u8]) -> Done {
    let mut change: Change = parse(body)?;
    let engine = &shared.parts.engine;
    let single = change.targets.len() == 1 && change.filter.is_none();
    let (mut keys, mut more) = (Vec::new(), false);
    for target in &change.targets {
        keys.push(key(shared, &target.service, &target.id).await?);
    }
    if let Some(mut filter) = change.filter.take() {
        if filter.status.is_empty() && !change.force {
            filter.status = change.act.fits().iter().map(|&state| state.to_owned()).collect();
        }
        let found = engine.find(filter.service.as_deref(), &filter.filter()?, CHANGED_MAX).await;
        let found = found.map_err(|error| refusal(&error))?;
        more = found.more;
        for instance in found.instances {
            let key = Key::new(&instance.app, &instance.id);
            keys.push(key.map_err(|error| refusal(&error))?);
        }
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for key in keys {
        match act_on(engine, &key, &change).await {
            Ok(()) => done.push(reference(&key)),
            Err(error) if single => return Err(refusal(&error)),
            // It was gone or had changed by its turn; and with its parent goes a child.
            Err(WorkflowError::NotFound { .. }) => {}
            Err(error) => failed.push(view::WorkflowRefused {
                service: key.app.to_string(),
                id: key.id.to_string(),
                reason: archipel_rt::chain(&error),
            }),
        }
    }
    let schema = view::WorkflowsChanged::SCHEMA.to_owned();
    Ok(answer::json(&view::WorkflowsChanged { schema, done, failed, more }))
}

async fn act_on(engine: &Engine, key: &Key, change: &Change) -> Result<(), WorkflowError> {
    match change.act {
        Act::Suspend => engine.suspend(key, change.reason.clone()).await,
        Act::Resume => engine.resume(key, change.reason.clone()).await,
        Act::Terminate => engine.terminate(key, change.payload.clone(), change.recursive).await,
        Act::Purge => engine.purge(key, change.recursive, change.force).await.map(drop),
        Act::Raise => {
            let event = change.event.clone().unwrap_or_default();
            if event.is_empty() {
                return Err(WorkflowError::Invalid("an event has a name".to_owned()));
            }
            engine.raise(key, event, change.payload.clone()).await
        }
    }
}

/// Finds the service when none is named.
async fn key(shared: &Shared, service: &str, id: &str) -> Result<Key, Answer> {
    let services = services(shared);
    if service != WHICHEVER {
        // Also one that the manifest no longer has: its instances are still there.
        return Key::new(service, id).map_err(|error| refusal(&error));
    }
    let found = shared.parts.engine.apps_with(&services, id).await;
    let mut found = found.map_err(|error| refusal(&error))?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (None, _) => Err(refusal(&WorkflowError::NotFound { id: id.to_owned() })),
        (Some(last), false) => {
            let names: Vec<_> = found.iter().chain([&last]).map(|key| key.app.as_ref()).collect();
            let names = names.join(", ");
            Err(bad(format!("several services have an instance `{id}` ({names}); name one")))
        }
    }
}

fn services(shared: &Shared) -> Vec<String> {
    let snapshot = shared.parts.control.watch().borrow().clone();
    let plan = snapshot.iter().flat_map(|snapshot| snapshot.plan.app.services.keys());
    plan.map(ToString::to_string).collect()
}

fn unknown_service(shared: &Shared, name: &str) -> Answer {
    let known = services(shared);
    let known = archipel_model::suggest::there_are(name, known.iter().map(String::as_str));
    bad(format!("there is no service `{name}`; {known}"))
}

fn refusal(error: &WorkflowError) -> Answer {
    let (status, exit) = match error {
        WorkflowError::NotFound { .. } => (StatusCode::NOT_FOUND, 2),
        WorkflowError::AlreadyActive { .. }
        | WorkflowError::AlreadyExists { .. }
        | WorkflowError::NotCompleted { .. }
        | WorkflowError::NotPending { .. } => (StatusCode::CONFLICT, 1),
        WorkflowError::Invalid(_)
        | WorkflowError::NotDeclared(_)
        | WorkflowError::TooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, 2),
        WorkflowError::Closing => (StatusCode::SERVICE_UNAVAILABLE, 4),
        WorkflowError::Storage(_) | WorkflowError::Stored { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, 1)
        }
    };
    problem(status, archipel_rt::chain(error), Some(exit))
}

fn changed(done: Vec<WorkflowRef>) -> Answer {
    let schema = view::WorkflowsChanged::SCHEMA.to_owned();
    answer::json(&view::WorkflowsChanged { schema, done, failed: Vec::new(), more: false })
}

fn reference(key: &Key) -> WorkflowRef {
    WorkflowRef { service: key.app.to_string(), id: key.id.to_string() }
}

pub(crate) fn shown(of: Summary) -> view::Workflow {
    view::Workflow {
        service: of.app,
        id: of.id,
        name: of.name,
        version: of.version,
        status: word(of.status).to_owned(),
        created_at_ms: of.created_ms,
        updated_at_ms: of.updated_ms,
        ended_at_ms: of.ended_ms,
        scheduled_at_ms: of.scheduled_ms,
        parent: of.parent.map(|(service, id)| WorkflowRef { service, id }),
        custom_status: of.custom_status,
        parked: of.parked,
        tags: of.tags,
    }
}

fn whole(of: Details) -> view::WorkflowWhole {
    let activities = of.activities.iter().map(|open| view::OpenActivity {
        event_id: open.id,
        name: open.name.clone(),
        service: open.app.clone(),
        running: open.running,
        lost: open.lost,
    });
    let timers = of.timers.iter();
    let children = of.children.iter();
    view::WorkflowWhole {
        schema: view::WorkflowWhole::SCHEMA.to_owned(),
        waits: waits(&of),
        activities: activities.collect(),
        timers: timers
            .map(|timer| view::OpenTimer {
                event_id: timer.id,
                fires_at_ms: timer.fires_ms,
                event: timer.event.clone(),
            })
            .collect(),
        children: children
            .map(|(event_id, service, id)| view::OpenChild {
                event_id: *event_id,
                service: service.clone(),
                id: id.clone(),
            })
            .collect(),
        workflow: shown(of.summary),
        execution_id: of.execution_id,
        input: of.input,
        output: of.output,
        failure: of.failure.map(|failure| view::WorkflowFailure {
            kind: failure.kind,
            message: failure.message,
            stack: failure.stack,
        }),
        turn: match of.turn {
            TurnState::Idle => "idle",
            TurnState::Waiting => "waiting",
            TurnState::Running => "running",
        }
        .to_owned(),
        workers: of.workers,
    }
}

/// The first of what stands in its way.
fn waits(of: &Details) -> Option<String> {
    use archipel_workflow::OrchestrationStatus as Is;
    if of.summary.ended_ms.is_some() {
        return None;
    }
    let app = &of.summary.app;
    let waiting = of.activities.iter().find(|activity| !activity.running);
    Some(match (&of.summary.parked, of.summary.status) {
        (Some(why), _) => format!("given up: {why}; raise an event or resume it to try again"),
        (None, Is::Stalled) => "stalled: see the last event of its history".to_owned(),
        (None, Is::Suspended) => "suspended until somebody resumes it".to_owned(),
        _ if of.limit.is_some() => format!(
            "a place: at most {} of `{}` run at once",
            of.limit.unwrap_or_default(),
            of.summary.name
        ),
        _ if of.turn == TurnState::Waiting && of.workers == 0 => {
            format!("a worker: no program of `{app}` is connected")
        }
        _ if of.turn == TurnState::Waiting => format!("a worker of `{app}` with room"),
        _ if of.turn == TurnState::Running => format!("its code, which runs in `{app}`"),
        _ => match (waiting, of.activities.first(), of.children.first(), of.timers.first()) {
            (Some(open), ..) => format!("a worker of `{}` for activity `{}`", open.app, open.name),
            (_, Some(open), ..) => format!("activity `{}` in `{}`", open.name, open.app),
            (_, _, Some((_, app, id)), _) => format!("its child `{id}` in `{app}`"),
            (.., Some(timer)) => match &timer.event {
                Some(event) => format!("event `{event}`"),
                None => "a timer".to_owned(),
            },
            _ => "an event".to_owned(),
        },
    })
}

fn event(of: Entry, payload_max: usize) -> view::WorkflowEvent {
    let payload_bytes = of.payload.as_ref().map(String::len);
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(payload_max.min(text.len())));
        text
    };
    view::WorkflowEvent {
        event_id: of.id,
        at_ms: of.at_ms,
        kind: of.kind.to_owned(),
        name: of.name,
        of: of.of,
        service: of.app,
        about: of.about,
        payload: of.payload.map(cut),
        payload_bytes: payload_bytes.map(|bytes| bytes as u64),
        failure: of.failure,
        trace_id: of.trace_id,
    }
}

fn instant(ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
