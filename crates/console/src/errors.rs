//! Groups of errors in the admin API.

use archipel_rt::clock;
use archipel_telemetry::ErrorGroup;
use http::StatusCode;

use crate::admin::{Done, Query};
use crate::answer::{self, problem};
use crate::server::Shared;
use crate::view;

const LIMIT_MAX: u64 = 500;
const DAY_MS: u64 = 24 * 3_600_000;

/// Groups that happened since, the latest first; of one service when asked.
pub(crate) fn list(shared: &Shared, query: &Query) -> Done {
    let since = query.number("since_ms")?.unwrap_or(clock::wall_ms().saturating_sub(DAY_MS));
    let limit = query.number("limit")?.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut groups = shared.parts.errors.since(since);
    if let Some(service) = query.one("service") {
        groups.retain(|group| group.service == service);
    }
    let total = groups.len() as u64;
    let errors = groups.into_iter().take(limit).map(group).collect();
    Ok(answer::json(&view::Errors { schema: view::Errors::SCHEMA.to_owned(), total, errors }))
}

pub(crate) fn one(shared: &Shared, id: &str) -> Done {
    match shared.parts.errors.one(id) {
        Some(found) => Ok(answer::json(&group(found))),
        None => Err(problem(StatusCode::NOT_FOUND, format!("there is no error `{id}`"), Some(2))),
    }
}

fn group(of: ErrorGroup) -> view::ErrorGroup {
    view::ErrorGroup {
        id: of.id,
        source: format!("{:?}", of.source).to_lowercase(),
        service: of.service,
        title: of.title,
        place: of.place,
        count: of.count,
        first_ms: of.first_ms,
        last_ms: of.last_ms,
        instances: of.instances.into_iter().collect(),
        releases: of.releases.into_iter().collect(),
        example: of.example,
        trace_id: of.trace_id,
        span_id: of.span_id,
        steps: of.steps.into_iter().collect(),
    }
}
