//! Whether an answer is as it should be, and what is taken out of it.

use archipel_model::HttpStep;
use serde_json::Value;

use crate::client::Answer;

/// A certificate that ends sooner is a failure, where the step says nothing else.
const CERTIFICATE_MS: u64 = 14 * 86_400_000;
const SHOWN_CHARS: usize = 80;

pub(super) fn judge(step: &HttpStep, answer: &Answer, now_ms: u64) -> Result<(), String> {
    let status = answer.status;
    let wanted = match step.status.is_empty() {
        true => (200..400).contains(&status),
        false => step.status.contains(&status),
    };
    if !wanted {
        return Err(match step.status.as_slice() {
            [] => format!("it answered {status}"),
            [one] => format!("it answered {status} instead of {one}"),
            _ => format!("it answered {status}, which is none of those that are well"),
        });
    }
    if let Some(most) = step.max_latency
        && answer.took > most
    {
        let (took, most) = (answer.took.as_millis(), most.as_millis());
        return Err(format!("it took {took} ms, and {most} ms is the most"));
    }
    if let Some(ends) = answer.certificate_ends_ms {
        let least = step
            .certificate
            .map_or(CERTIFICATE_MS, |least| u64::try_from(least.as_millis()).unwrap_or(u64::MAX));
        let left = ends.saturating_sub(now_ms);
        if left < least {
            return Err(format!("its certificate ends in {} days", left / 86_400_000));
        }
    }
    if let Some(text) = &step.contains
        && !String::from_utf8_lossy(&answer.body).contains(text)
    {
        return Err(format!("its answer does not contain `{}`", shown(text)));
    }
    if step.json.is_empty() {
        return Ok(());
    }
    let body = json(answer)?;
    for (path, wanted) in &step.json {
        let found = at(&body, path)?;
        if text_of(found) != *wanted
            && serde_json::from_str::<Value>(wanted).ok().as_ref() != Some(found)
        {
            let found = shown(&found.to_string());
            return Err(format!("`{path}` is {found} instead of `{}`", shown(wanted)));
        }
    }
    Ok(())
}

pub(super) fn extract(from: &str, answer: &Answer) -> Result<String, String> {
    match from.split_once(':') {
        Some(("json", path)) => Ok(text_of(at(&json(answer)?, path)?)),
        Some(("header", name)) => {
            let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned).ok_or_else(|| format!("it has no header `{name}`"))
        }
        Some(("body", pattern)) => {
            let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            let body = String::from_utf8_lossy(&answer.body);
            let found = pattern.captures(&body).and_then(|found| found.get(1));
            // What stands in HTML is written for HTML.
            let plain = |text: &str| text.replace("&amp;", "&").replace("&#x2F;", "/");
            found
                .map(|part| plain(part.as_str()))
                .ok_or_else(|| format!("its answer has nothing like `{}`", shown(pattern.as_str())))
        }
        _ => Err("it is not said what to take out".to_owned()),
    }
}

fn json(answer: &Answer) -> Result<Value, String> {
    serde_json::from_slice(&answer.body).map_err(|_| "its answer is no JSON".to_owned())
}

/// `$.items[0].id`
fn at<'v>(value: &'v Value, path: &str) -> Result<&'v Value, String> {
    let mut here = value;
    let missing = || format!("its answer has no `{path}`");
    for member in path.trim_start_matches('$').split('.').filter(|member| !member.is_empty()) {
        let (name, places) = member.split_at(member.find('[').unwrap_or(member.len()));
        if !name.is_empty() {
            here = here.get(name).ok_or_else(missing)?;
        }
        for place in places.split('[').filter(|place| !place.is_empty()) {
            let place: usize = place.trim_end_matches(']').parse().map_err(|_| missing())?;
            here = here.get(place).ok_or_else(missing)?;
        }
    }
    Ok(here)
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            took: Duration::from_millis(40),
            certificate_ends_ms: None,
        }
    }

    fn step(change: impl Fn(&mut HttpStep)) -> HttpStep {
        let mut step = crate::check::plain_step("/");
        change(&mut step);
        step
    }

    fn why(step: &HttpStep, answer: &Answer) -> String {
        judge(step, answer, 0).err().unwrap_or_default()
    }

    #[test]
    fn an_answer_is_judged_by_all_that_is_asked() {
        let body = r#"{"ok":true,"items":[{"id":"a1","n":2}]}"#;
        assert_eq!(why(&step(|_| {}), &answer(302, "")), "");
        assert_eq!(why(&step(|_| {}), &answer(503, "")), "it answered 503");
        assert_eq!(why(&step(|s| s.status = vec![404]), &answer(404, "")), "");
        assert!(
            why(&step(|s| s.contains = Some("cart".into())), &answer(200, body)).contains("`cart`")
        );
        let slow = step(|s| s.max_latency = Some(Duration::from_millis(10)));
        assert_eq!(why(&slow, &answer(200, "")), "it took 40 ms, and 10 ms is the most");
        let json = |path: &str, value: &str| {
            let (path, value) = (path.to_owned(), value.to_owned());
            why(
                &step(move |s| drop(s.json.insert(path.clone(), value.clone()))),
                &answer(200, body),
            )
        };
        assert_eq!(json("$.ok", "true"), "");
        assert_eq!(json("$.items[0].id", "a1"), "");
        assert_eq!(json("$.items[0].n", "2"), "");
        assert_eq!(json("$.items[0].n", "3"), "`$.items[0].n` is 2 instead of `3`");
        assert!(json("$.items[1].n", "3").contains("has no"));
        let mut ending = answer(200, "");
        ending.certificate_ends_ms = Some(3 * 86_400_000);
        assert_eq!(why(&step(|_| {}), &ending), "its certificate ends in 3 days");
        let soon = step(|s| s.certificate = Some(Duration::from_secs(86_400)));
        assert_eq!(why(&soon, &ending), "");
    }

    #[test]
    fn parts_are_taken_out() {
        let page = answer(200, r#"<a href="/products/p-1?a=1&amp;b=2">"#);
        assert_eq!(
            extract(r#"body:href="(/products/[^"]+)"#, &page).unwrap(),
            "/products/p-1?a=1&b=2"
        );
        assert!(extract("body:none(x)", &page).is_err());
        assert_eq!(extract("json:$.a[0]", &answer(200, r#"{"a":[7]}"#)).unwrap(), "7");
        assert!(extract("header:location", &page).is_err());
    }
}
