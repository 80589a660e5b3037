//! Workflows that begin by the clock.
//!
//! The name of an instance is made of its schedule and its time, and a name is given once. So a
//! time is used at most once, over restarts and by however many processes. What passed while
//! nobody was there is made up for within [`GRACE`], the last time of each only.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use croner::Cron;
use dapr_durabletask_proto::CreateInstanceRequest;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::engine::{Engine, Reuse};
use crate::error::WorkflowError;
use crate::stored::{self, MarkV1, Record as _};

const GRACE: Duration = Duration::from_secs(300);
/// The longest that the clock may jump unnoticed, and the pause after a failure.
const LOOK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schedule {
    /// Instances are called after it.
    pub name: String,
    pub workflow: String,
    /// Five fields.
    pub cron: String,
    /// UTC without.
    pub timezone: Option<String>,
    pub input: Option<String>,
}

type Looked = BTreeMap<(Arc<str>, Schedule), Timestamp>;

pub(crate) async fn run(engine: &Engine, stop: &CancellationToken) {
    let changed = Arc::clone(&engine.shared.lock().schedules_changed);
    let mut looked = Looked::new();
    loop {
        let pause = match look(engine, &mut looked).await {
            Ok(pause) => pause.min(LOOK),
            Err(WorkflowError::Closing) => return,
            Err(error) => {
                tracing::warn!(error = archipel_rt::chain(&error), "a schedule waits");
                LOOK
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = clock::sleep(pause) => {}
        }
    }
}

/// Begins what is due, and says how long there is nothing to do.
async fn look(engine: &Engine, looked: &mut Looked) -> Result<Duration, WorkflowError> {
    let declared = engine.shared.lock().schedules.clone();
    let all = declared.into_iter().flat_map(|(app, of)| {
        of.into_iter().map(move |schedule| (Arc::clone(&app), schedule)).collect::<Vec<_>>()
    });
    let all: Vec<_> = all.collect();
    looked.retain(|key, _| all.contains(key));
    let (mut pause, mut failed) = (LOOK, None);
    for key in all {
        let (app, schedule) = &key;
        let now = now();
        let last = match looked.get(&key) {
            Some(last) => *last,
            None => since(engine, app, &schedule.name, now).await?,
        };
        // A machine that slept is as one that was off.
        let last = last.max(now.checked_sub(GRACE).unwrap_or(last));
        if let Some(due) = schedule.last_between(last, now)
            && let Err(error) = begin(engine, app, schedule, &due).await
        {
            // Tried again from where it was; the others need not wait for it.
            failed = Some(error);
            continue;
        }
        if looked.insert(key.clone(), now) != Some(now) {
            let mark = MarkV1 {
                version: 0,
                incarnation: u64::try_from(now.as_millisecond()).unwrap_or_default(),
            };
            let record = stored::schedule_key(app, &schedule.name);
            engine.shared.change(|_, unit| unit.put(record, mark.write())).wait().await?;
        }
        if let Some(next) = schedule.next(now) {
            let wait = u64::try_from(next.timestamp().as_millisecond() - now.as_millisecond());
            pause = pause.min(Duration::from_millis(wait.unwrap_or_default()));
        }
    }
    failed.map_or(Ok(pause), Err)
}

/// Up to when a schedule was looked at in an earlier life; now, if it is new.
async fn since(
    engine: &Engine,
    app: &str,
    name: &str,
    now: Timestamp,
) -> Result<Timestamp, WorkflowError> {
    let record = stored::schedule_key(app, name);
    let Some(entry) = engine.shared.kv.get(&record).await? else { return Ok(now) };
    let ms = i64::try_from(MarkV1::read(&record, &entry.value)?.incarnation).unwrap_or(i64::MAX);
    let oldest = now.checked_sub(GRACE).unwrap_or(now);
    Ok(Timestamp::from_millisecond(ms).unwrap_or(now).clamp(oldest, now))
}

async fn begin(
    engine: &Engine,
    app: &str,
    schedule: &Schedule,
    due: &Zoned,
) -> Result<(), WorkflowError> {
    let request = CreateInstanceRequest {
        instance_id: schedule.instance(due),
        name: schedule.workflow.clone(),
        input: schedule.input.clone(),
        ..Default::default()
    };
    match engine.create(app, request, Reuse::Purged).await {
        Ok(_) => Ok(()),
        // Before a crash, or by another process.
        Err(WorkflowError::AlreadyActive { .. } | WorkflowError::AlreadyExists { .. }) => Ok(()),
        Err(
            error @ (WorkflowError::Closing
            | WorkflowError::Storage(_)
            | WorkflowError::Unavailable(_)),
        ) => Err(error),
        Err(error) => {
            tracing::warn!(app, schedule = schedule.name, %error, "a scheduled workflow was not begun");
            Ok(())
        }
    }
}

impl Schedule {
    fn instance(&self, due: &Zoned) -> String {
        format!("{}@{}", self.name, due.timestamp().strftime("%Y-%m-%dT%H:%MZ"))
    }

    fn next(&self, after: Timestamp) -> Option<Zoned> {
        let zone = match &self.timezone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).ok()?,
        };
        let cron = Cron::from_str(&self.cron).ok()?;
        cron.find_next_occurrence(&after.to_zoned(zone), false).ok()
    }

    /// The last time after `from`, up to and with `to`.
    fn last_between(&self, from: Timestamp, to: Timestamp) -> Option<Zoned> {
        let (mut last, mut at) = (None, from);
        while let Some(next) = self.next(at).filter(|next| next.timestamp() <= to) {
            at = next.timestamp();
            last = Some(next);
        }
        last
    }
}

fn now() -> Timestamp {
    let ms = i64::try_from(clock::wall_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn where_clocks_are_set_time_goes_on_and_each_has_its_own_name() {
        let of = |cron: &str, zone: &str| Schedule {
            name: "s".to_owned(),
            workflow: "w".to_owned(),
            cron: cron.to_owned(),
            timezone: Some(zone.to_owned()),
            input: None,
        };
        for zone in ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"] {
            for cron in ["*/15 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * *", "45 1 * * 0"] {
                let schedule = of(cron, zone);
                for from in ["2026-03-01T00:00:00Z", "2026-09-25T00:00:00Z"] {
                    let (mut at, mut names) = (at(from), std::collections::BTreeSet::new());
                    let end = at.checked_add(Duration::from_secs(60 * 86_400)).expect("a time");
                    while at < end {
                        let next = schedule.next(at).expect("there is always another");
                        assert!(next.timestamp() > at, "{zone} {cron}: {next} after {at}");
                        assert!(names.insert(schedule.instance(&next)), "{zone} {cron}: {next}");
                        at = next.timestamp();
                    }
                }
            }
        }
    }

    #[test]
    fn of_what_was_missed_the_last_counts_and_each_time_has_its_own_name() {
        let nightly = Schedule {
            name: "nightly".to_owned(),
            workflow: "reconcile".to_owned(),
            cron: "*/2 3 * * *".to_owned(),
            timezone: Some("Europe/Paris".to_owned()),
            input: None,
        };
        let (from, to) = (at("2026-07-01T01:00:30Z"), at("2026-07-01T01:05:00Z"));
        let due = nightly.last_between(from, to).expect("two have passed");
        assert_eq!(nightly.instance(&due), "nightly@2026-07-01T01:04Z", "three in Paris");
        assert_eq!(nightly.last_between(at("2026-07-01T01:04:00Z"), to), None, "used already");
        assert_eq!(nightly.last_between(to, at("2026-07-01T01:05:59Z")), None);
    }
}
