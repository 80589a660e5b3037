//! What a collector's answer means, by the specification of OTLP.

use std::time::Duration;

use base64::Engine;
use http::HeaderMap;
use prost::Message;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// So many were refused, for good.
    Partial(u64, String),
    /// The same again may help, not before so long.
    Again(Option<Duration>, String),
    /// It will not.
    Refused(String),
}

/// Of the answers, which are alike: what was refused, and why.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial: Option<Partial>,
}

#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    reason: String,
}

/// `google.rpc.Status`, with when to try again among its details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn taken(message: &[u8]) -> Verdict {
    // What cannot be read was nevertheless a yes.
    match Answer::decode(message).unwrap_or_default().partial {
        Some(of) if of.rejected > 0 => Verdict::Partial(of.rejected.unsigned_abs(), of.reason),
        _ => Verdict::Taken,
    }
}

pub(super) fn of_http(status: u16, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let why = || {
        let told = Status::decode(body).map(|status| status.message).unwrap_or_default();
        let told = if told.is_empty() { String::from_utf8_lossy(body) } else { told.into() };
        format!("{status} {}", told.chars().take(200).collect::<String>())
    };
    match status {
        200..=299 => taken(body),
        429 | 502..=504 => {
            let after = headers.get(http::header::RETRY_AFTER).and_then(|of| of.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Verdict::Again(after, why())
        }
        _ => Verdict::Refused(why()),
    }
}

/// `headers` are the trailers, or the only ones.
pub(super) fn of_grpc(status: u16, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = word("grpc-status").and_then(|code| code.parse::<u16>().ok()) else {
        let why = format!("{status}, and no status of gRPC");
        let passing = matches!(status, 429 | 502..=504);
        return if passing { Verdict::Again(None, why) } else { Verdict::Refused(why) };
    };
    let message = percent_encoding::percent_decode_str(word("grpc-message").unwrap_or_default());
    let why = format!("gRPC status {code}: {}", message.decode_utf8_lossy());
    let delay = word("grpc-status-details-bin").and_then(delay);
    match code {
        0 => taken(body.get(5..).unwrap_or_default()),
        // Exhausted: only when it says until when.
        8 if delay.is_none() => Verdict::Refused(why),
        1 | 4 | 8 | 10 | 11 | 14 | 15 => Verdict::Again(delay, why),
        _ => Verdict::Refused(why),
    }
}

fn delay(details: &str) -> Option<Duration> {
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD;
    let bytes = bytes.decode(details.trim_end_matches('=')).ok()?;
    let details = Status::decode(&*bytes).ok()?.details;
    let info = details.iter().find(|of| of.kind.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn over_http_only_some_answers_ask_for_another_try() {
        let none = HeaderMap::new();
        assert_eq!(of_http(200, &none, b""), Verdict::Taken);
        let partial = Answer { partial: Some(Partial { rejected: 3, reason: "old".into() }) };
        let partial = of_http(200, &none, &partial.encode_to_vec());
        assert_eq!(partial, Verdict::Partial(3, "old".into()));
        let later = of_http(503, &headers(&[("retry-after", "7")]), b"busy");
        assert_eq!(later, Verdict::Again(Some(Duration::from_secs(7)), "503 busy".into()));
        assert!(matches!(of_http(429, &none, b""), Verdict::Again(None, _)));
        for status in [400, 401, 404, 413, 500] {
            assert!(matches!(of_http(status, &none, b""), Verdict::Refused(_)), "{status}");
        }
    }

    #[test]
    fn over_grpc_only_some_codes_do() {
        let of = |code: &str| of_grpc(200, &headers(&[("grpc-status", code)]), b"");
        assert_eq!(of("0"), Verdict::Taken);
        for code in ["1", "4", "10", "11", "14", "15"] {
            assert!(matches!(of(code), Verdict::Again(None, _)), "{code}");
        }
        for code in ["2", "3", "7", "8", "12", "16"] {
            assert!(matches!(of(code), Verdict::Refused(_)), "{code}");
        }
        let delay = RetryInfo { delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let kind = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Any { kind, value: delay.encode_to_vec() }];
        let status = Status { code: 8, message: String::new(), details }.encode_to_vec();
        let told = base64::engine::general_purpose::STANDARD.encode(status);
        let all = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &told)]);
        let later = of_grpc(200, &all, b"");
        assert!(matches!(later, Verdict::Again(Some(after), _) if after.as_millis() == 2_500));
        assert!(matches!(of_grpc(503, &HeaderMap::new(), b""), Verdict::Again(..)));
        assert!(matches!(of_grpc(404, &HeaderMap::new(), b""), Verdict::Refused(_)));
    }
}
