//! `archipel events`.

use archipel_console::view::{Accepted, DeadLetters, Event, Topics};
use serde_json::json;

use super::{Query, Versioned, connect, instant, print_json};
use crate::cli::{EventsVerb, Global};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::show::table::{Table, age};

const EVENT: &str = "archipel.event/1";

pub(crate) async fn run(global: &Global, verb: EventsVerb) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    match verb {
        EventsVerb::List => {
            let topics: Topics = client.get("/v1/events/topics").await?;
            if global.json {
                print_json(&topics)?;
            } else if topics.topics.is_empty() && topics.outboxes.is_empty() {
                eprintln!("there are no topics; a service names its own in `publishes`");
            } else {
                show_topics(&topics);
            }
        }
        EventsVerb::Tail { topic, tail, no_follow } => {
            let query = Query::new(&format!("/v1/events/topics/{topic}"))
                .add("tail", tail)
                .add("follow", u8::from(!no_follow));
            let each = |event: Event| {
                if global.json {
                    outln!(
                        "{}",
                        serde_json::to_string(&Versioned::new(EVENT, &event)).unwrap_or_default()
                    );
                } else {
                    show_event(&event);
                }
                true
            };
            client.stream(query.as_str(), each).await?;
        }
        EventsVerb::Dead { topic, subscriber } => {
            let query =
                Query::new("/v1/events/dead").maybe("topic", topic).maybe("subscriber", subscriber);
            let dead: DeadLetters = client.get(query.as_str()).await?;
            if global.json {
                print_json(&dead)?;
            } else if dead.dead.is_empty() {
                eprintln!("there are no dead letters; `archipel events list` shows the topics");
            } else {
                show_dead(&dead);
            }
        }
        EventsVerb::Replay { ids, all, topic, subscriber, from, since } => {
            let body = match topic {
                Some(topic) => {
                    let since = since.as_deref().map(instant).transpose()?;
                    json!({ "topic": topic, "subscriber": subscriber, "from": from, "since_ms": since })
                }
                None if all || !ids.is_empty() => json!({ "ids": ids, "all": all }),
                None => {
                    return Err(Failure::new(exit::USAGE, "name what to replay").help(
                        "ids from `archipel events dead`, or --all, or --topic with --subscriber",
                    ));
                }
            };
            changed(global, &client, "/v1/events/replay", &body).await?;
        }
        EventsVerb::Discard { ids } => {
            changed(global, &client, "/v1/events/discard", &json!({ "ids": ids })).await?;
        }
        EventsVerb::Publish { topic, data } => {
            let text = if data == "-" { std::io::read_to_string(std::io::stdin())? } else { data };
            let data: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
                Failure::new(exit::USAGE, format!("the data is not JSON: {error}"))
            })?;
            let event: Event = client
                .post(&format!("/v1/events/topics/{topic}"), &json!({ "data": data }))
                .await?;
            if global.json {
                print_json(&Versioned::new(EVENT, &event))?;
            } else {
                outln!("{} {}", event.topic, event.seq);
            }
        }
    }
    Ok(0)
}

async fn changed(
    global: &Global,
    client: &Client,
    path: &str,
    body: &serde_json::Value,
) -> Result<(), Failure> {
    let accepted: Accepted = client.post(path, body).await?;
    if global.json {
        return print_json(&Versioned::new("archipel.accepted/1", &accepted));
    }
    for target in &accepted.targets {
        outln!("{target}");
    }
    Ok(())
}

fn show_topics(topics: &Topics) {
    let mut table = Table::new(&[
        "TOPIC",
        "PUBLISHER",
        "EVENTS",
        "SUBSCRIBER",
        "LAG",
        "OLDEST",
        "IN FLIGHT",
        "PARKED",
        "DEAD",
    ]);
    for topic in &topics.topics {
        let publisher = topic.publisher.clone().unwrap_or_default();
        let head = || {
            vec![
                topic.name.as_str().into(),
                publisher.clone().into(),
                topic.events.to_string().into(),
            ]
        };
        if topic.subscribers.is_empty() {
            table.row(head());
        }
        for (i, subscriber) in topic.subscribers.iter().enumerate() {
            let mut row = if i == 0 { head() } else { vec!["".into(), "".into(), "".into()] };
            row.extend([
                subscriber.service.as_str().into(),
                subscriber.lag.to_string().into(),
                subscriber.oldest_age_ms.map(age).unwrap_or_default().into(),
                subscriber.inflight.to_string().into(),
                subscriber.parked.to_string().into(),
                match subscriber.dead_dropped {
                    0 => subscriber.dead.to_string(),
                    gone => format!("{} (+{gone} removed)", subscriber.dead),
                }
                .into(),
            ]);
            table.row(row);
        }
    }
    table.print();
    for outbox in &topics.outboxes {
        if let Some(problem) = &outbox.problem {
            let (service, path) = (&outbox.service, &outbox.path);
            outln!("the outbox of {service} ({path}) cannot be pulled: {problem}");
        }
    }
}

fn show_event(event: &Event) {
    let text = |name: &str| event.event.get(name).and_then(|v| v.as_str()).unwrap_or_default();
    let data = event.event.get("data").map(ToString::to_string).unwrap_or_default();
    outln!("{:>8} {} {} {} {data}", event.seq, text("time"), text("source"), text("subject"));
}

fn show_dead(dead: &DeadLetters) {
    let now = archipel_rt::clock::wall_ms();
    let mut table = Table::new(&["ID", "TOPIC", "SUBSCRIBER", "ATTEMPTS", "AGE", "REASON"]);
    for letter in &dead.dead {
        table.row(vec![
            letter.id.as_str().into(),
            letter.topic.as_str().into(),
            letter.subscriber.as_str().into(),
            letter.attempts.to_string().into(),
            age(now.saturating_sub(letter.last_at_ms)).into(),
            letter.reason.lines().next().unwrap_or_default().into(),
        ]);
    }
    table.print();
}
