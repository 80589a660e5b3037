//! How long the one who calls will still wait, as requests tell it from hop to hop.
//!
//! Two forms are in common use and both are understood: `grpc-timeout` of the gRPC protocol, and
//! the milliseconds that Envoy puts into `x-envoy-expected-rq-timeout-ms`. Each says what is left,
//! not until when, so clocks need not agree. A callee is told what is left at the moment its
//! request is sent; when it passes the header on with its own calls, they end with its caller's
//! patience. The outside may shorten its own gRPC calls, as every gRPC client does, and no others.

use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const EXPECTED_MS: HeaderName =
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Whoever waits longer than this does not wait for us.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Takes what the request says out of its headers. Nonsense says nothing.
pub(crate) fn take(headers: &mut HeaderMap, outside: bool) -> Option<Instant> {
    let grpc = headers.remove(GRPC_TIMEOUT).and_then(|value| read_grpc(value.as_bytes()));
    let expected = headers.remove(EXPECTED_MS).filter(|_| !outside);
    let expected = expected.and_then(|value| read_millis(value.as_bytes()));
    let left = grpc.into_iter().chain(expected).min()?;
    (left <= LONGEST).then(|| clock::now() + left)
}

/// Tells the callee what is left, in the form that its protocol has for it.
pub(crate) fn put(headers: &mut HeaderMap, left: Duration, grpc: bool) {
    if grpc {
        let text = write_grpc(left);
        let value = HeaderValue::try_from(text).expect("digits and a letter");
        headers.insert(GRPC_TIMEOUT, value);
    } else {
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        headers.insert(EXPECTED_MS, HeaderValue::from(millis));
    }
}

/// At most eight digits and a unit.
fn read_grpc(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let count = read_number(digits).filter(|_| digits.len() <= 8)?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

fn read_millis(value: &[u8]) -> Option<Duration> {
    read_number(value).map(Duration::from_millis)
}

/// Of digits alone: `parse` would take a sign.
fn read_number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// In the finest unit that has room for it, rounded down: promising more than there is would let
/// the callee work for nobody.
fn write_grpc(left: Duration) -> String {
    const ROOM: u128 = 100_000_000;
    match () {
        () if left.as_micros() < ROOM => format!("{}u", left.as_micros()),
        () if left.as_millis() < ROOM => format!("{}m", left.as_millis()),
        () => format!("{}S", left.as_secs().min(99_999_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read_and_the_shorter_counts() {
        let check = |grpc: &str, expected: &str, outside: bool, want: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(grpc).unwrap());
            headers.insert(EXPECTED_MS, HeaderValue::from_str(expected).unwrap());
            let before = clock::now();
            let deadline = take(&mut headers, outside);
            assert!(headers.is_empty(), "what is left is told anew");
            let left = deadline.map(|at| (at - before).as_secs());
            assert_eq!(left, want, "{grpc} {expected}");
        };
        check("20S", "90000", false, Some(20));
        check("20S", "10000", false, Some(10));
        check("20S", "10000", true, Some(20));
        check("", "10000", true, None);
        check("2M", "", false, Some(120));
        check("1H", "-5", false, Some(3_600));
        check("99999999H", "99999999999999999999", false, None);
        for bad in ["123456789S", "S", "5", "+5S", "5 S", "5s"] {
            check(bad, bad.trim_end_matches('5'), false, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_longer(micros in 0..30 * 86_400_000_000_u64) {
            let left = Duration::from_micros(micros);
            for grpc in [true, false] {
                let mut headers = HeaderMap::new();
                put(&mut headers, left, grpc);
                let value = headers.values().next().unwrap().as_bytes();
                let read = if grpc { read_grpc(value) } else { read_millis(value) }.unwrap();
                prop_assert!(read <= left && left - read <= left / 1_000 + Duration::from_millis(1));
            }
        }

        #[test]
        fn nothing_that_is_sent_panics(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = (read_grpc(&bytes), read_millis(&bytes));
        }
    }
}
