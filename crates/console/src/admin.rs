//! The admin API: what can be asked over the control socket.

use std::sync::Arc;

use archipel_broker::{
    BrokerError, DeadError, DeadFilter, DeadId, DeadLetter, DeadState, ReplayFrom, SubscriberState,
};
use archipel_control::Operation;
use archipel_model::{InstanceId, ServiceName, TopicName, suggest};
use archipel_storage::Seq;
use archipel_telemetry::{Filter, Level, LogRecord};
use futures_util::future;
use futures_util::stream::{self, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::answer::{self, Answer, Form, bad, control_problem, problem};
use crate::live::{self, statuses};
use crate::server::{Parts, Request as Ask, Shared};
use crate::{
    alerts, errors, explore, faults, find, log_summary, present, publish, routes, samples,
    settings, sql, topology, traces, view, workflows,
};

/// Bodies are commands of a few lines, or one event.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let form = Form::wanted(request.headers());
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return bad(format!("the request could not be read: {error}")),
    };
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let done = match (&method, words.as_slice()) {
        (&Method::GET, ["v1", "status"]) => status(shared, &query, form),
        (&Method::GET, ["v1", "live"]) => Ok(answer::messages(live::live(shared))),
        (&Method::GET, ["v1", "graph"]) => graph(shared),
        (&Method::GET, ["v1", "traffic"]) => Ok(answer::json(&shared.traffic.whole())),
        (&Method::GET, ["v1", "routes"]) => routes_of(shared),
        (&Method::POST, ["v1", "cache", "purge"]) => purge(shared, &body),
        (&Method::GET, ["v1", "databases"]) => databases(shared).await,
        (&Method::GET, ["v1", "databases", name, "tables"]) => sql::tables(shared, name).await,
        (&Method::POST, ["v1", "databases", name, "query"]) => {
            sql::query(shared, name, &body).await
        }
        (&Method::GET, ["v1", "apis"]) => explore::list(shared),
        (&Method::GET, ["v1", "apis", name]) => explore::one(shared, name).await,
        (&Method::POST, ["v1", "apis", name, "send"]) => explore::send(shared, name, &body).await,
        (&Method::GET, ["v1", "settings"]) => settings::settings(shared).await,
        (&Method::GET, ["v1", "dashboard"]) => Ok(dashboard(shared)),
        (&Method::GET, ["v1", "services", name]) => describe(shared, name).await,
        (&Method::GET, ["v1", "services", name, "env"]) => environment(shared, name).await,
        (&Method::GET, ["v1", "logs"]) => logs(shared, &query, form).await,
        (&Method::GET, ["v1", "logs", "summary"]) => log_summary(shared, &query).await,
        (&Method::GET, ["v1", "traces"]) => traces::list(shared, &query).await,
        (&Method::GET, ["v1", "traces", "histogram"]) => traces::histogram(shared, &query).await,
        (&Method::GET, ["v1", "traces", "by"]) => traces::by(shared, &query).await,
        (&Method::GET, ["v1", "traces", id]) => traces::one(shared, id).await,
        (&Method::GET, ["v1", "spans"]) => traces::spans(shared, &query).await,
        (&Method::GET, ["v1", "edges"]) => traces::edges(shared, &query).await,
        (&Method::GET, ["v1", "find"]) => find::find(shared, &query).await,
        (&Method::GET, ["v1", "metrics", "received"]) => Ok(samples::received(shared)),
        (&Method::GET, ["v1", "metrics"]) => samples::lines(shared, &query).await,
        (&Method::GET, ["v1", "errors"]) => errors::list(shared, &query),
        (&Method::GET, ["v1", "errors", id]) => errors::one(shared, id),
        (&Method::GET, ["v1", "alerts"]) => alerts::list(shared),
        (&Method::GET, ["v1", "checks"]) => alerts::checks(shared),
        (&Method::POST, ["v1", "alerts", "silences"]) => alerts::silence(shared, &body),
        (&Method::POST, ["v1", "alerts", "silences", id, "end"]) => alerts::end_silence(shared, id),
        (&Method::POST, ["v1", "alerts", "test", channel]) => alerts::test(shared, channel).await,
        (&Method::GET, ["v1", "jobs"]) => jobs(shared).await,
        (&Method::GET, ["v1", "events", "topics"]) => Ok(answer::json(&topics(shared))),
        (&Method::GET, ["v1", "events", "topics", topic]) => {
            events(shared, topic, &query, form).await
        }
        (&Method::GET, ["v1", "events", "topics", topic, "schema"]) => {
            publish::schema(shared, topic)
        }
        (&Method::GET, ["v1", "events", "dead"]) => dead(shared, &query).await,
        (&Method::GET, ["v1", "events", "dead", id]) => dead_letter(shared, id).await,
        (&Method::GET, ["v1", "workflows"]) => workflows::list(shared, &query).await,
        (&Method::GET, ["v1", "workflows", service, id]) => {
            workflows::describe(shared, service, id).await
        }
        (&Method::GET, ["v1", "workflows", service, id, "history"]) => {
            workflows::history(shared, service, id, &query).await
        }
        (&Method::POST, ["v1", "workflows"]) => workflows::change(shared, &body).await,
        (&Method::POST, ["v1", "workflows", service]) => {
            workflows::start(shared, service, &body).await
        }
        (&Method::POST, ["v1", "workflows", service, id, "rerun"]) => {
            workflows::rerun(shared, service, id, &body).await
        }
        (&Method::POST, ["v1", "restart"]) => operate(shared, Operation::Restart, &body).await,
        (&Method::POST, ["v1", "stop"]) => operate(shared, Operation::Stop, &body).await,
        (&Method::POST, ["v1", "start"]) => operate(shared, Operation::Start, &body).await,
        (&Method::POST, ["v1", "reload"]) => reload(shared, &body).await,
        (&Method::POST, ["v1", "shutdown"]) => shutdown(shared, &body).await,
        (&Method::POST, ["v1", "jobs", name, "run"]) => run_job(shared, name).await,
        (&Method::GET, ["v1", "faults"]) => Ok(answer::json(&faults::list(&shared.parts.gateway))),
        (&Method::POST, ["v1", "faults"]) => add_fault(shared, &body),
        (&Method::POST, ["v1", "faults", "heal"]) => {
            shared.parts.gateway.set_faults(Vec::new());
            Ok(accepted(Vec::new()))
        }
        (&Method::POST, ["v1", "events", "topics", topic]) => {
            publish::publish(shared, topic, &body).await
        }
        (&Method::POST, ["v1", "events", "replay"]) => replay(shared, &body).await,
        (&Method::POST, ["v1", "events", "discard"]) => discard(shared, &body).await,
        _ => Err(problem(StatusCode::NOT_FOUND, format!("{method} {path} is not served"), None)),
    };
    done.unwrap_or_else(|refusal| refusal)
}

pub(crate) type Done = Result<Answer, Answer>;

fn status(shared: &Shared, query: &Query, form: Form) -> Done {
    if query.flag("follow") {
        return Ok(answer::lines(statuses(shared.status.clone()), form));
    }
    let latest = shared.status.borrow().clone();
    latest.map(|status| answer::json(&*status)).ok_or_else(starting)
}

pub(crate) fn starting() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "Archipel is just starting".to_owned(), Some(1))
}

fn dashboard(shared: &Shared) -> Answer {
    let schema = "archipel.dashboard/1";
    answer::json(&match &shared.dashboard {
        Ok(door) => json!({ "schema": schema, "url": door.url(), "error": null }),
        Err(error) => json!({ "schema": schema, "url": null, "error": error }),
    })
}

async fn describe(shared: &Shared, name: &str) -> Done {
    let control = &shared.parts.control;
    let environment = control.environment(name).await.map_err(|e| control_problem(&e))?;
    let snapshot = control.watch().borrow().clone().ok_or_else(starting)?;
    let name = ServiceName::new(name).map_err(|error| bad(error.to_string()))?;
    let Parts { about, gateway, .. } = &shared.parts;
    let found = present::description(&snapshot, &name, &environment.own, about, gateway);
    found.map(|about| answer::json(&about)).ok_or_else(starting)
}

fn graph(shared: &Shared) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    Ok(answer::json(&topology::graph(&snapshot, &shared.parts.broker.topics())))
}

fn routes_of(shared: &Shared) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    Ok(answer::json(&routes::routes(&snapshot, &shared.parts.gateway)))
}

fn purge(shared: &Shared, body: &[u8]) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let purged = routes::purge(&snapshot, &shared.parts.gateway, parse(body)?).map_err(bad)?;
    Ok(answer::json(&purged))
}

async fn databases(shared: &Shared) -> Done {
    let control = &shared.parts.control;
    let snapshot = control.watch().borrow().clone().ok_or_else(starting)?;
    Ok(answer::json(&topology::databases(control, &snapshot).await))
}

async fn environment(shared: &Shared, name: &str) -> Done {
    let environment =
        shared.parts.control.environment(name).await.map_err(|e| control_problem(&e))?;
    Ok(answer::json(&view::Environment {
        schema: view::Environment::SCHEMA.to_owned(),
        cwd: environment.cwd.display().to_string(),
        env: environment.whole,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    names: Vec<String>,
}

async fn operate(shared: &Shared, operation: Operation, body: &[u8]) -> Done {
    let Names { names } = parse(body)?;
    let targets =
        shared.parts.control.operate(operation, names).await.map_err(|e| control_problem(&e))?;
    Ok(accepted(targets.iter().map(ToString::to_string).collect()))
}

fn add_fault(shared: &Shared, body: &[u8]) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let gateway = &shared.parts.gateway;
    faults::add(gateway, &snapshot, &parse(body)?).map_err(bad)?;
    Ok(answer::json(&faults::list(gateway)))
}

fn accepted(targets: Vec<String>) -> Answer {
    answer::json(&view::Accepted { accepted: true, targets, generation: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    #[serde(default)]
    only: Vec<String>,
    profile: Option<String>,
}

async fn reload(shared: &Shared, body: &[u8]) -> Done {
    let Reload { only, profile } = parse(body)?;
    let (reply, done) = oneshot::channel();
    let asked = shared.parts.requests.send(Ask::Reload { only, profile, reply }).await;
    let stopping =
        || problem(StatusCode::SERVICE_UNAVAILABLE, "Archipel is stopping".into(), Some(4));
    asked.map_err(|_| stopping())?;
    match done.await {
        Ok(Ok(generation)) => Ok(answer::json(&view::Accepted {
            accepted: true,
            targets: Vec::new(),
            generation: Some(generation),
        })),
        Ok(Err(refused)) => {
            Err(problem(StatusCode::UNPROCESSABLE_ENTITY, refused.detail, Some(refused.exit)))
        }
        Err(_) => Err(stopping()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    #[serde(default)]
    leave: bool,
}

async fn shutdown(shared: &Shared, body: &[u8]) -> Done {
    let Stop { leave } = parse(body)?;
    // Asked twice, the second finds nobody any more: it is stopping, as wanted.
    let _ = shared.parts.requests.send(Ask::Shutdown { leave }).await;
    Ok(accepted(Vec::new()))
}

async fn logs(shared: &Shared, query: &Query, form: Form) -> Done {
    let filter = log_filter(shared, query)?;
    let tail = query.number("tail")?.unwrap_or(200);
    let tail = usize::try_from(tail).unwrap_or(usize::MAX).min(100_000);
    let logs = &shared.parts.logs;
    if query.flag("follow") {
        let records = logs.follow(filter, tail).await.map_err(|error| unreadable(&error))?;
        return Ok(answer::lines(records.map(|record| log_line(&record)), form));
    }
    let records = logs.last(&filter, tail).await.map_err(|error| unreadable(&error))?;
    let lines: Vec<view::LogLine> = records.iter().map(log_line).collect();
    Ok(answer::lines(stream::iter(lines), form))
}

fn unreadable(error: &std::io::Error) -> Answer {
    let text = format!("the logs could not be read: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, text, Some(1))
}

async fn log_summary(shared: &Shared, query: &Query) -> Done {
    let filter = log_filter(shared, query)?;
    let buckets = usize::try_from(query.number("buckets")?.unwrap_or(60)).unwrap_or(usize::MAX);
    let until_ms = filter.until_ms.unwrap_or_else(archipel_rt::clock::wall_ms);
    let counts = shared.parts.logs.count(&filter).await;
    let counts = counts.map_err(|error| unreadable(&error))?;
    Ok(answer::json(&log_summary::summary(counts, filter.since_ms, until_ms, buckets)))
}

fn log_filter(shared: &Shared, query: &Query) -> Result<Filter, Answer> {
    let mut filter = Filter {
        since_ms: query.number("since_ms")?,
        until_ms: query.number("until_ms")?,
        trace_id: query.one("trace").map(str::to_ascii_lowercase),
        text: query.one("search").map(str::to_owned),
        level: None,
        expr: traces::expr(query)?,
        ..Filter::default()
    };
    if let Some(word) = query.one("level") {
        let level = Level::of_word(word).ok_or_else(|| bad(format!("`{word}` is no level")))?;
        filter.level = Some(level);
    }
    let snapshot = shared.parts.control.watch().borrow().clone();
    let known = |name: &ServiceName| {
        snapshot.as_ref().is_none_or(|s| s.plan.app.services.contains_key(name))
    };
    for name in query.all("service") {
        let service = ServiceName::new(name).ok().filter(|service| known(service));
        let instance = name.parse::<InstanceId>().ok().filter(|i| known(&i.service));
        match (service, instance) {
            (Some(service), _) => filter.services.insert(service),
            (None, Some(instance)) => filter.instances.insert(instance),
            (None, None) => {
                let names = snapshot.iter().flat_map(|s| s.plan.app.services.keys());
                let known = suggest::there_are(name, names.map(ServiceName::as_str));
                return Err(bad(format!("there is no service or instance `{name}`; {known}")));
            }
        };
    }
    Ok(filter)
}

pub(crate) fn log_line(record: &(impl std::borrow::Borrow<LogRecord> + ?Sized)) -> view::LogLine {
    record.borrow().into()
}

async fn jobs(shared: &Shared) -> Done {
    let jobs = shared.parts.control.jobs().await.map_err(|e| control_problem(&e))?;
    let jobs = jobs.into_iter().map(|state| view::Job {
        name: state.job.name.to_string(),
        service: state.job.service.as_ref().map(ToString::to_string),
        schedule: state.job.schedule.clone(),
        timezone: state.job.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
        next_at_ms: state.next_at_ms,
        running: state.running,
        last: state.runs.first().map(job_run),
        command: state.job.run.show(),
        runs: state.runs.iter().map(job_run).collect(),
    });
    let schema = view::Jobs::SCHEMA.to_owned();
    Ok(answer::json(&view::Jobs { schema, jobs: jobs.collect() }))
}

async fn run_job(shared: &Shared, name: &str) -> Done {
    let outcome = shared.parts.control.run_job(name).await.map_err(|e| control_problem(&e))?;
    Ok(answer::json(&job_run(&outcome)))
}

fn job_run(outcome: &archipel_control::JobOutcome) -> view::JobRun {
    view::JobRun {
        started_at_ms: outcome.started_at_ms,
        took_ms: u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
        exit_code: outcome.exit_code,
        outcome: outcome.outcome.clone(),
    }
}

pub(crate) fn topics(shared: &Shared) -> view::Topics {
    let topics = shared.parts.broker.topics().into_iter().map(|topic| view::Topic {
        name: topic.name.to_string(),
        publisher: topic.publisher.as_ref().map(ToString::to_string),
        events: topic.count,
        bytes: topic.bytes,
        first: topic.first.0,
        next: topic.next.0,
        retain_ms: topic.retain_ms,
        subscribers: topic.subscribers.iter().map(subscriber).collect(),
    });
    let outboxes = shared.parts.broker.outboxes().into_iter().map(|outbox| view::Outbox {
        service: outbox.service.to_string(),
        path: outbox.path,
        cursor: outbox.cursor,
        pulled: outbox.pulled,
        problem: outbox.problem,
    });
    let schema = view::Topics::SCHEMA.to_owned();
    view::Topics { schema, topics: topics.collect(), outboxes: outboxes.collect() }
}

fn subscriber(of: &archipel_broker::SubscriberView) -> view::Subscriber {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    view::Subscriber {
        service: of.service.to_string(),
        lag: of.lag,
        oldest_age_ms: of.oldest_unsettled_ms,
        inflight: count(of.in_flight),
        parked: count(of.parked_keys),
        dead: of.dead,
        dead_dropped: of.dead_dropped,
        state: word_of(of.state),
        path: of.path.clone(),
        waiting: count(of.waiting),
        delivered: of.delivered,
        failed_attempts: of.failed_attempts,
        expired: of.expired,
        lost: of.lost,
    }
}

fn word_of(state: SubscriberState) -> String {
    match state {
        SubscriberState::Flowing => "flowing",
        SubscriberState::Idle => "idle",
        SubscriberState::Absent => "absent",
        SubscriberState::Waiting => "waiting",
        SubscriberState::Full => "full",
        SubscriberState::StorageFailed => "storage-failed",
    }
    .to_owned()
}

/// The last events of a topic, or those from a number on, and with `follow` every new one.
async fn events(shared: &Shared, topic: &str, query: &Query, form: Form) -> Done {
    let topic = topic_named(topic)?;
    let broker = &shared.parts.broker;
    let view = broker.topics().into_iter().find(|view| view.name == topic);
    let Some(view) = view else { return Err(broker_problem(&BrokerError::UnknownTopic(topic))) };
    let tail = query.number("tail")?.unwrap_or(10);
    let from = query.number("from")?;
    let start = from.unwrap_or(view.next.0.saturating_sub(tail)).max(view.first.0);
    let end = from.map_or(view.next.0, |_| start.saturating_add(tail).min(view.next.0));
    let from = Seq(start);
    let follow = query.flag("follow");
    let tail = broker.tail(&topic, Some(from)).map_err(|error| broker_problem(&error))?;
    // Without `follow`, up to where the topic ended when it was asked.
    let until = if follow { u64::MAX } else { end };
    let state = (tail, until, from.0);
    let events = stream::unfold(state, |(mut tail, until, next)| async move {
        if next >= until {
            return None;
        }
        let events = tail.next().await.ok()??;
        let next = events.last().map_or(next, |last| last.seq.0 + 1);
        Some((events, (tail, until, next)))
    });
    let name = topic.to_string();
    let events = events.flat_map(stream::iter);
    // A read gives whole batches: it may hold more than was asked for.
    let events = events.filter(move |stored| future::ready(stored.seq.0 < until));
    let events = events.map(move |stored| view::Event {
        topic: name.clone(),
        seq: stored.seq.0,
        at_ms: stored.at_ms,
        event: serde_json::from_slice(&stored.bytes).unwrap_or(Value::Null),
    });
    Ok(answer::lines(events.boxed(), form))
}

pub(crate) fn topic_named(text: &str) -> Result<TopicName, Answer> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    TopicName::new(&text).map_err(|error| bad(error.to_string()))
}

fn broker_problem(error: &BrokerError) -> Answer {
    let (status, exit) = match error {
        BrokerError::UnknownTopic(_) | BrokerError::NotSubscribed { .. } | BrokerError::Dead(_) => {
            (StatusCode::NOT_FOUND, 2)
        }
        BrokerError::Closing => (StatusCode::SERVICE_UNAVAILABLE, 4),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, 1),
    };
    problem(status, error.to_string(), Some(exit))
}

async fn dead(shared: &Shared, query: &Query) -> Done {
    let subscriber = query.one("subscriber").map(ServiceName::new).transpose();
    let filter = DeadFilter {
        topic: query.one("topic").map(str::to_owned),
        subscriber: subscriber.map_err(|error| bad(error.to_string()))?,
        ..DeadFilter::default()
    };
    let letters = shared.parts.broker.dead_letters(&filter).await;
    let letters = letters.map_err(|error| broker_problem(&error.into()))?;
    let dead = letters.into_iter().map(shown);
    let schema = view::DeadLetters::SCHEMA.to_owned();
    Ok(answer::json(&view::DeadLetters { schema, dead: dead.collect() }))
}

pub(crate) fn shown(letter: DeadLetter) -> view::DeadLetter {
    view::DeadLetter {
        id: letter.id.to_string(),
        topic: letter.topic,
        subscriber: letter.subscriber.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: match letter.state {
            DeadState::Dead => "dead".to_owned(),
            DeadState::Replaying => "replaying".to_owned(),
        },
        reason: letter.reason.to_string(),
        attempts: letter.attempts,
        first_at_ms: letter.first_ms,
        last_at_ms: letter.last_ms,
        event_id: letter.event_id,
        event_type: letter.event_type,
        event_source: letter.event_source,
    }
}

async fn dead_letter(shared: &Shared, id: &str) -> Done {
    let id: DeadId = id.parse().map_err(|error: DeadError| bad(error.to_string()))?;
    let found = shared.parts.broker.dead_letter(id).await;
    let (letter, event) = found.map_err(|error| broker_problem(&error.into()))?;
    let event = serde_json::from_slice(&event)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&event).into_owned()));
    Ok(answer::json(&view::DeadLetterWhole { letter: shown(letter), event }))
}

pub(crate) fn rfc3339(at_ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    let format = &time::format_description::well_known::Rfc3339;
    at.ok().and_then(|at| at.format(format).ok()).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
    topic: Option<String>,
    subscriber: Option<String>,
    from: Option<u64>,
    since_ms: Option<u64>,
}

async fn replay(shared: &Shared, body: &[u8]) -> Done {
    let replay: Replay = parse(body)?;
    let broker = &shared.parts.broker;
    if let Some(topic) = &replay.topic {
        let topic = topic_named(topic)?;
        let subscriber = replay.subscriber.as_deref().unwrap_or_default();
        let subscriber = ServiceName::new(subscriber).map_err(|error| bad(error.to_string()))?;
        let from = match (replay.from, replay.since_ms) {
            (Some(seq), _) => ReplayFrom::Seq(Seq(seq)),
            (None, Some(ms)) => ReplayFrom::TimeMs(ms),
            (None, None) => ReplayFrom::Seq(Seq::FIRST),
        };
        let from = broker.replay(&topic, &subscriber, from).await;
        let from = from.map_err(|error| broker_problem(&error))?;
        return Ok(accepted(vec![format!("{topic} to {subscriber} from {from}")]));
    }
    let ids = if replay.all { all_dead(shared).await? } else { dead_ids(&replay.ids)? };
    done_with(broker.replay_dead(&ids).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Discard {
    ids: Vec<String>,
}

async fn discard(shared: &Shared, body: &[u8]) -> Done {
    let Discard { ids } = parse(body)?;
    done_with(shared.parts.broker.discard_dead(&dead_ids(&ids)?).await)
}

/// All that could be done was done; the first that could not is told.
fn done_with(results: Vec<(DeadId, Result<(), DeadError>)>) -> Done {
    let mut targets = Vec::new();
    let mut failed = None;
    for (id, result) in results {
        match result {
            Ok(()) => targets.push(id.to_string()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        None => Ok(accepted(targets)),
        Some(error) => Err(broker_problem(&error.into())),
    }
}

fn dead_ids(texts: &[String]) -> Result<Vec<DeadId>, Answer> {
    let parse = |text: &String| text.parse().map_err(|error: DeadError| bad(error.to_string()));
    texts.iter().map(parse).collect()
}

async fn all_dead(shared: &Shared) -> Result<Vec<DeadId>, Answer> {
    let filter = DeadFilter { max: usize::MAX, ..DeadFilter::default() };
    let letters = shared.parts.broker.dead_letters(&filter).await;
    let letters = letters.map_err(|error| broker_problem(&error.into()))?;
    let dead = letters.into_iter().filter(|letter| letter.state == DeadState::Dead);
    Ok(dead.map(|letter| letter.id).collect())
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Answer> {
    serde_json::from_slice(body)
        .map_err(|error| bad(format!("the request is not understood: {error}")))
}

/// The query of a request, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn one(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn flag(&self, key: &str) -> bool {
        self.one(key).is_some_and(|value| matches!(value, "1" | "true" | ""))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Answer> {
        let parse = |text: &str| text.parse().map_err(|_| bad(format!("`{key}` is not a number")));
        self.one(key).map(parse).transpose()
    }
}
