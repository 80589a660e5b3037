//! How much a request matters, told from hop to hop.
//!
//! What a route or an edge says of it (`priority`) goes with the trace, in two ways. Libraries for
//! tracing make a span of their own and pass `tracestate` on, so it has a member of ours. Services
//! that do it by hand pass on `traceparent` as it came, so a call names the hop that it is made
//! for, and that is remembered while the hop lasts. An edge that says nothing itself takes what it
//! finds. Nobody outside is believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use archipel_model::{Priority, SpanId};
use http::{HeaderMap, HeaderValue};

use crate::message::trace::TRACESTATE;
use crate::record::flow::Flight;
use crate::shared::Shared;

/// Hops under way that matter more or less than others. Each is a request that holds its own
/// place, so their number is bounded by that of requests.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    count: AtomicUsize,
    hops: Mutex<HashMap<SpanId, Priority>>,
}

impl Ranks {
    fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    fn of(&self, hop: SpanId) -> Option<Priority> {
        self.lock().get(&hop).copied()
    }

    fn remember(&self, hop: SpanId, priority: Priority) {
        let mut hops = self.lock();
        hops.insert(hop, priority);
        self.count.store(hops.len(), Relaxed);
    }

    pub(crate) fn forget(&self, hop: SpanId) {
        let mut hops = self.lock();
        hops.remove(&hop);
        self.count.store(hops.len(), Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SpanId, Priority>> {
        self.hops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out how much a request matters, and remembers it for the calls that are made for it.
pub(crate) fn settle(shared: &Shared, flight: &mut Flight, headers: &HeaderMap, outside: bool) {
    let own = flight.way.policy.safeguards.priority;
    if own.is_none() && !outside && (flight.way.limiter.is_some() || shared.ranks.any()) {
        let of_parent = |parent| shared.ranks.of(parent);
        flight.inherited = read(headers).or_else(|| flight.trace.parent.and_then(of_parent));
    }
    if let Some(priority) = own.or(flight.inherited)
        && priority != Priority::Normal
    {
        shared.ranks.remember(flight.trace.span, priority);
        flight.ranked = true;
    }
}

const KEY: &str = "archipel";
/// Members of a list that are passed on (W3C Trace Context, section 3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// Tells the app, and takes back what somebody outside has told it.
pub(crate) fn pass_on(flight: &Flight, headers: &mut HeaderMap, outside: bool) {
    let priority = flight.way.policy.safeguards.priority.or(flight.inherited);
    let untrue = || outside && claims(headers);
    if priority.is_some() || (flight.trace.parent.is_some() && untrue()) {
        write(headers, priority);
    }
}

/// Whether something is said in our name, or may be: a line that is no list is not read here, and
/// libraries may find members in it nevertheless, which they would pass on as their own.
fn claims(headers: &HeaderMap) -> bool {
    headers.get_all(TRACESTATE).iter().any(|line| line.to_str().is_err())
        || members(headers).any(|member| own(member).is_some())
}

/// What the one who calls is doing this for.
fn read(headers: &HeaderMap) -> Option<Priority> {
    let member = members(headers).find_map(own)?;
    [Priority::Critical, Priority::Normal, Priority::Low].into_iter().find(|p| word(*p) == member)
}

/// Says `priority` and nothing else.
fn write(headers: &mut HeaderMap, priority: Option<Priority>) {
    let said = priority.map(|priority| format!("{KEY}={}", word(priority)));
    let others = members(headers).filter(|member| own(member).is_none());
    let others = others.map(ToOwned::to_owned);
    let all: Vec<String> = said.into_iter().chain(others).take(MEMBERS_MAX).collect();
    headers.remove(TRACESTATE);
    if let Ok(value) = HeaderValue::try_from(all.join(","))
        && !all.is_empty()
    {
        headers.insert(TRACESTATE, value);
    }
}

fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "critical",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

fn own(member: &str) -> Option<&str> {
    // As libraries read it that do not mind spaces.
    member.strip_prefix(KEY)?.trim_start().strip_prefix('=').map(str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_one_of_several_and_the_others_stay() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.append(TRACESTATE, HeaderValue::from_static("a=1, archipel=low"));
        headers.append(TRACESTATE, HeaderValue::from_static("archipelago=critical,b=2"));
        assert_eq!(read(&headers), Some(Priority::Low));
        write(&mut headers, Some(Priority::Critical));
        assert_eq!(headers[TRACESTATE], "archipel=critical,a=1,archipelago=critical,b=2");
        assert_eq!(read(&headers), Some(Priority::Critical));
        write(&mut headers, None);
        assert_eq!(headers[TRACESTATE], "a=1,archipelago=critical,b=2");
        assert_eq!(read(&headers), None);
        headers.insert(TRACESTATE, HeaderValue::from_static("archipel=best"));
        assert_eq!(read(&headers), None);
        write(&mut headers, None);
        assert!(headers.is_empty());
    }

    #[test]
    fn nothing_outside_is_believed_however_it_is_written() {
        for said in [
            b"archipel=critical".as_slice(),
            b"a=1,\tarchipel=critical",
            b"archipel = critical",
            b"a=\xff,archipel=critical",
        ] {
            let mut headers = HeaderMap::new();
            headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
            headers.append(TRACESTATE, HeaderValue::from_bytes(said).unwrap());
            assert!(claims(&headers), "{said:?}");
            write(&mut headers, None);
            let left = headers[TRACESTATE].to_str().unwrap();
            assert!(!left.contains("critical") && left.contains("b=2"), "{said:?}: {left}");
        }
        let harmless = HeaderMap::from_iter([(
            TRACESTATE,
            HeaderValue::from_static("archipelago=1,a=archipel=critical"),
        )]);
        assert!(!claims(&harmless));
    }
}
