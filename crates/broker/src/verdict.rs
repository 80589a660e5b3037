//! What an app's answer means for the event.

use std::time::Duration;

use crate::deliver::Answer;

/// Longer pauses than this are the platform's to end: the app may be well again earlier.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Of an answer's body, for people.
const EXCERPT_BYTES_MAX: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// The app does not want it (`{"status":"DROP"}`).
    Drop,
    /// Try again; counts as an attempt.
    Retry(Failure),
    /// An earlier fact is missing: its key waits, nothing is counted.
    NotYet(Failure),
    /// The app asks for a pause; nothing is counted.
    Busy(Failure, Duration),
    /// Will never be taken.
    Poison(Failure),
    /// Nobody was there to take it; nothing is counted.
    Unavailable,
}

/// What a person is told about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: Option<u16>,
    /// The beginning of the answer's body, or what went wrong on the way.
    pub detail: String,
}

pub(crate) fn judge(answer: Answer) -> Verdict {
    let (status, body, retry_after) = match answer {
        Answer::NoInstance => return Verdict::Unavailable,
        Answer::Failed { reason } => {
            return Verdict::Retry(Failure { status: None, detail: reason });
        }
        Answer::Http { status, body, retry_after } => (status, body, retry_after),
    };
    let failure = || Failure { status: Some(status), detail: excerpt(&body) };
    match (status, retry_after) {
        (200..300, _) => match dapr_status(&body).as_deref() {
            None | Some("" | "SUCCESS") => Verdict::Done,
            Some("DROP") => Verdict::Drop,
            Some(_) => Verdict::Retry(failure()),
        },
        (404 | 422, _) => Verdict::Poison(failure()),
        (409, _) => Verdict::NotYet(failure()),
        (429 | 503, Some(pause)) => Verdict::Busy(failure(), pause.min(RETRY_AFTER_MAX)),
        _ => Verdict::Retry(failure()),
    }
}

/// The word in Dapr's `{"status":"…"}`, when the body is such.
fn dapr_status(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Reply {
        status: String,
    }
    serde_json::from_slice::<Reply>(body).ok().map(|reply| reply.status)
}

/// The beginning as text, cut at a character.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES_MAX)]);
    let mut end = text.len().min(EXCERPT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end_matches('\u{fffd}').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        let check = |status, body: &'static str, retry_after_s: Option<u64>, expected: &str| {
            let retry_after = retry_after_s.map(Duration::from_secs);
            let verdict = judge(Answer::Http { status, body: body.into(), retry_after });
            let name = format!("{verdict:?}");
            assert!(name.starts_with(expected), "{status} {body}: {name}");
        };
        check(200, "", None, "Done");
        check(204, "", None, "Done");
        check(200, "thanks", None, "Done");
        check(200, r#"{"ok":true}"#, None, "Done");
        check(200, r#"{"status":""}"#, None, "Done");
        check(200, r#"{"status":"SUCCESS"}"#, None, "Done");
        check(200, r#"{"status":"RETRY"}"#, None, "Retry");
        check(200, r#"{"status":"DROP"}"#, None, "Drop");
        check(200, r#"{"status":"drop"}"#, None, "Retry");
        check(404, "", None, "Poison");
        check(422, "", None, "Poison");
        check(409, "", None, "NotYet");
        check(429, "", Some(3), "Busy");
        check(503, "", Some(9_999_999), "Busy(Failure { status: Some(503), detail: \"\" }, 300s");
        check(503, "", None, "Retry");
        check(400, "", None, "Retry");
        check(302, "", None, "Retry");
        check(500, "boom", Some(3), "Retry");
        assert_eq!(judge(Answer::NoInstance), Verdict::Unavailable);
    }

    #[test]
    fn an_excerpt_is_text_of_at_most_a_kilobyte() {
        let long = "é".repeat(2_000);
        assert_eq!(excerpt(long.as_bytes()), "é".repeat(512));
        assert!(excerpt(&[0xff; 5_000]).len() <= EXCERPT_BYTES_MAX);
        assert_eq!(excerpt(b"why"), "why");
    }
}
