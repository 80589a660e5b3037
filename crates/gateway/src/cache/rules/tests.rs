use http::{HeaderName, HeaderValue};

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;
const NOBODY: Asked = Asked { unstorable: false, authorized: false, cookies: false };

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

fn now() -> SystemTime {
    httpdate::parse_http_date("Tue, 24 Nov 2026 12:00:00 GMT").unwrap()
}

fn term_of(asked: Asked, lines: &[(&str, &str)], ttl: Option<u64>) -> Option<Term> {
    let defaults = Defaults { ttl: ttl.map(S), ..Defaults::default() };
    storable(asked, StatusCode::OK, &map(lines), &defaults, now(), Duration::ZERO)
}

#[test]
fn the_more_particular_time_holds() {
    let check = |lines: &[(&str, &str)], ttl: Option<u64>, expected: Option<u64>| {
        let fresh_for = term_of(NOBODY, lines, ttl).map(|term| term.fresh_for);
        assert_eq!(fresh_for, expected.map(S), "{lines:?}");
    };
    let later = ("expires", "Tue, 24 Nov 2026 12:01:40 GMT");
    let date = ("date", "Tue, 24 Nov 2026 12:00:00 GMT");
    check(&[], None, None);
    check(&[], Some(7), Some(7));
    check(&[later, date], Some(7), Some(100));
    check(&[("cache-control", "max-age=10"), later, date], Some(7), Some(10));
    check(&[("cache-control", "max-age=10, s-maxage=20"), later, date], None, Some(20));
    check(&[("expires", "0"), ("etag", "x")], Some(7), Some(0));
    check(&[("expires", "0")], Some(7), None);
}

#[test]
fn age_counts_from_where_the_answer_was_made() {
    let age = |lines: &[(&str, &str)]| {
        let lines = [&[("cache-control", "max-age=3600")], lines].concat();
        term_of(NOBODY, &lines, None).unwrap().age
    };
    assert_eq!(age(&[]), S(0));
    assert_eq!(age(&[("age", "30")]), S(30));
    assert_eq!(age(&[("date", "Tue, 24 Nov 2026 11:59:00 GMT")]), S(60));
    assert_eq!(age(&[("date", "Tue, 24 Nov 2026 11:59:00 GMT"), ("age", "90")]), S(90));
    assert_eq!(age(&[("date", "Tue, 24 Nov 2026 13:00:00 GMT"), ("age", "-1")]), S(0));
}

#[test]
fn who_is_recognised_gets_an_answer_of_its_own() {
    let authorized = Asked { authorized: true, cookies: true, ..NOBODY };
    let cookies = Asked { cookies: true, ..NOBODY };
    assert!(term_of(authorized, &[("cache-control", "max-age=9")], Some(9)).is_none());
    for said in ["max-age=9, public", "s-maxage=9", "max-age=9, must-revalidate"] {
        assert!(term_of(authorized, &[("cache-control", said)], None).is_some(), "{said}");
    }
    assert!(term_of(cookies, &[], Some(9)).is_none());
    assert!(term_of(cookies, &[("cache-control", "max-age=9")], None).is_some());
}

#[test]
fn what_must_be_understood_is_stored_by_who_understands_it() {
    let said = [("cache-control", "must-understand, no-store, max-age=9")];
    assert!(term_of(NOBODY, &said, None).is_some());
    let odd = StatusCode::from_u16(299).unwrap();
    let defaults = Defaults::default();
    assert!(storable(NOBODY, odd, &map(&said), &defaults, now(), S(0)).is_none());
}

#[test]
fn the_caller_may_be_stricter_and_more_patient() {
    let stale_for = |said: &str| {
        let lines = [("cache-control", said), ("etag", "x")];
        term_of(NOBODY, &lines, None).unwrap()
    };
    let check = |said: &str, age: u64, wants: &str, expected: Verdict| {
        let control = Control::of(&map(&[("cache-control", wants)]));
        assert_eq!(verdict(&stale_for(said), S(age), &control), expected, "{said} {age} {wants}");
    };
    let (ask, ask_or_stale) = (Verdict::Ask { if_error: false }, Verdict::Ask { if_error: true });
    check("max-age=60", 59, "", Verdict::Fresh);
    check("max-age=60", 60, "", ask);
    check("max-age=60", 10, "max-age=5", ask_or_stale);
    check("max-age=60", 10, "min-fresh=50", ask_or_stale);
    check("max-age=60", 10, "no-cache", ask_or_stale);
    check("max-age=60", 70, "max-stale", Verdict::StaleAllowed);
    check("max-age=60", 70, "max-stale=10", Verdict::StaleAllowed);
    check("max-age=60", 71, "max-stale=10", ask);
    check("max-age=60, must-revalidate", 70, "max-stale", ask);
    check("s-maxage=60", 70, "max-stale", ask);
    check("max-age=60, no-cache", 1, "", ask);
    check("max-age=60, stale-while-revalidate=30", 89, "", Verdict::StaleMeanwhile);
    check("max-age=60, stale-while-revalidate=30", 90, "", ask);
    check("max-age=60, stale-while-revalidate=30, must-revalidate", 70, "", ask);
    check("max-age=60, stale-if-error=30", 89, "", ask_or_stale);
    check("max-age=60, stale-if-error=30", 90, "", ask);
}
