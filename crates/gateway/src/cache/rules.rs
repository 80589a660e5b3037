//! Decides, by RFC 9111, what may be stored and what may be given out. Pure: heads and times in,
//! a verdict out.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};

use crate::cache::control::{self, Control};

/// How old an answer is and until when it is good, as told by its head when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// When it arrived it was already as old as this.
    pub(crate) age: Duration,
    /// It is fresh while it is younger.
    pub(crate) fresh_for: Duration,
    /// Beyond being fresh.
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
    /// Must not be used without asking, however fresh.
    pub(crate) ask_always: bool,
    /// Must not be used when stale, whoever would like to.
    pub(crate) never_stale: bool,
    /// The service said nothing about how long: the time is the route's.
    pub(crate) by_default: bool,
}

/// What a route says for answers that do not say it themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) ttl: Option<Duration>,
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
}

/// Of the request that an answer is for, what decides whether it may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `no-store`, or in a way that could have changed the answer without being part of the key.
    pub(crate) unstorable: bool,
    /// Somebody was identified: `Authorization`, or a rule of the gateway.
    pub(crate) authorized: bool,
    /// Has cookies that the route does not account for.
    pub(crate) cookies: bool,
}

/// Statuses that may be kept though the service does not say so, for the route's own time.
/// Errors are not: one bad moment would last.
const DEFAULT_STATUSES: [u16; 7] = [200, 203, 204, 300, 301, 308, 410];

/// How long an answer may be stored and used; `None`: not at all (section 3).
pub(crate) fn storable(
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    defaults: &Defaults,
    now: SystemTime,
    took: Duration,
) -> Option<Term> {
    let control = Control::of(headers);
    let partial = status == StatusCode::PARTIAL_CONTENT || status == StatusCode::NOT_MODIFIED;
    if status.is_informational() || partial || asked.unstorable || control.private {
        return None;
    }
    // Who says `must-understand` means its `no-store` for those who do not know the status.
    let understood = control.must_understand && is_understood(status);
    if !understood && (control.no_store || control.must_understand) {
        return None;
    }
    if headers.contains_key(header::SET_COOKIE) || is_stream(headers) || varies_by_all(headers) {
        return None;
    }
    let shared = control.public || control.s_maxage.is_some() || control.must_revalidate;
    if asked.authorized && !shared {
        return None;
    }
    let said = said(&control, headers, now);
    let default = defaults.ttl.filter(|_| {
        DEFAULT_STATUSES.contains(&status.as_u16()) && !asked.cookies && !control.no_cache
    });
    let has_validator =
        headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let fresh_for = match (said, default) {
        (Some(said), _) => said,
        (None, Some(default)) => default,
        // Nothing is known, so it must be asked for every time; worth it if that can be cheap.
        (None, None) if control.no_cache && has_validator => Duration::ZERO,
        (None, None) => return None,
    };
    let never_stale = control.must_revalidate || control.proxy_revalidate || control.no_cache;
    let by_config = !never_stale && control.s_maxage.is_none();
    let grace = |said: Option<Duration>, config: Duration| match said {
        _ if never_stale => Duration::ZERO,
        Some(said) => said,
        None if by_config => config,
        None => Duration::ZERO,
    };
    let term = Term {
        age: age(headers, now, took),
        fresh_for,
        while_revalidate: grace(control.stale_while_revalidate, defaults.while_revalidate),
        if_error: grace(control.stale_if_error, defaults.if_error),
        ask_always: control.no_cache,
        never_stale: never_stale || control.s_maxage.is_some(),
        by_default: said.is_none() && default.is_some(),
    };
    let useful = term.fresh_for + term.while_revalidate + term.if_error > term.age;
    (useful || has_validator).then_some(term)
}

/// What the service itself says (section 4.2.1).
fn said(control: &Control, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if let Some(time) = control.s_maxage.or(control.max_age) {
        return Some(time);
    }
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let expires = lines.next()?;
    // One that cannot be read, or two that differ, mean the past.
    if lines.any(|other| other != expires) {
        return Some(Duration::ZERO);
    }
    let date = date(headers, header::DATE).unwrap_or(now);
    let left = read_date(expires.as_bytes()).and_then(|at| at.duration_since(date).ok());
    Some(left.unwrap_or_default())
}

/// Section 4.2.3: `took` is how long the service needed, since part of it may have been age.
fn age(headers: &HeaderMap, now: SystemTime, took: Duration) -> Duration {
    let first = headers.get(header::AGE).map_or(&b""[..], |age| age.as_bytes());
    let first = first.split(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    let told = control::seconds(first);
    let told = told.map_or(Duration::ZERO, |age| age + took);
    let date = date(headers, header::DATE);
    let apparent = date.and_then(|date| now.duration_since(date).ok()).unwrap_or_default();
    // `Date` has whole seconds, so a part of one is no age.
    told.max(Duration::from_secs(apparent.as_secs()))
}

fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

/// Has no end that would be worth waiting for.
fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is = |prefix: &[u8]| {
        kind.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    is(b"text/event-stream") || is(b"application/grpc") || is(b"multipart/x-mixed-replace")
}

fn varies_by_all(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::VARY).iter();
    all.flat_map(|line| line.as_bytes().split(|b| *b == b',')).any(|name| name.trim_ascii() == b"*")
}

pub(crate) fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    read_date(headers.get(name)?.as_bytes())
}

pub(crate) fn read_date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?.trim()).ok()
}

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fresh,
    /// Give it out, and ask for a newer one meanwhile.
    StaleMeanwhile,
    /// Give it out: the caller said that it may be old.
    StaleAllowed,
    /// Ask first; if that fails, it may be given out when `if_error`.
    Ask {
        if_error: bool,
    },
}

/// `age`: now.
pub(crate) fn verdict(term: &Term, age: Duration, request: &Control) -> Verdict {
    let past = age.saturating_sub(term.fresh_for);
    let fresh = age < term.fresh_for;
    let stale_by = |more: Duration| !fresh && !more.is_zero() && past < more;
    let if_error = (fresh || stale_by(term.if_error)) && !term.ask_always;
    if term.ask_always || request.no_cache {
        return Verdict::Ask { if_error };
    }
    let young_enough = request.max_age.is_none_or(|max| age <= max);
    let lasts = request.min_fresh.is_none_or(|more| age + more < term.fresh_for);
    if fresh && young_enough && lasts {
        return Verdict::Fresh;
    }
    let old_enough = request.max_stale.is_some_and(|more| past <= more);
    if !fresh && young_enough && old_enough && !term.never_stale {
        return Verdict::StaleAllowed;
    }
    let caller_agrees = request.max_age.is_none() && request.min_fresh.is_none();
    if stale_by(term.while_revalidate) && caller_agrees {
        return Verdict::StaleMeanwhile;
    }
    Verdict::Ask { if_error }
}

/// Its success makes what is stored under the URI doubtful (section 4.4).
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

#[cfg(test)]
mod tests;
