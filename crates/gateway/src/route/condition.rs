//! Conditions of a route on headers and query.

use std::borrow::Cow;

use archipel_model::{Condition, Part};
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;

/// Whether all hold. Of a header or parameter that comes twice, the first counts.
pub(crate) fn hold(conditions: &[Condition], headers: &HeaderMap, query: Option<&str>) -> bool {
    conditions.iter().all(|condition| match condition.part {
        Part::Header => {
            let value = headers.get(condition.name.as_str()).map(HeaderValue::as_bytes);
            condition.want.holds(value)
        }
        Part::Query => {
            let value = query.and_then(|query| parameter(query, &condition.name));
            condition.want.holds(value.as_deref())
        }
    })
}

/// The decoded value of the first parameter of this name.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decode(key) == *name.as_bytes()).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use archipel_model::Want;

    #[test]
    fn headers_and_parameters_are_looked_at() {
        let mut headers = HeaderMap::new();
        headers.insert("x-beta", HeaderValue::from_static("yes please"));
        let check = |part, name: &str, want, query: &str, expected: bool| {
            let condition = Condition { part, name: name.to_owned(), want };
            let text = condition.to_string();
            assert_eq!(hold(&[condition], &headers, Some(query)), expected, "{text} in {query}");
        };
        let exact = |text: &str| Want::Exact(text.to_owned());
        let prefix = |text: &str| Want::Prefix(text.to_owned());
        check(Part::Header, "x-beta", exact("yes please"), "", true);
        check(Part::Header, "x-beta", exact("yes"), "", false);
        check(Part::Header, "x-beta", prefix("yes"), "", true);
        check(Part::Header, "x-beta", Want::Absent, "", false);
        check(Part::Header, "x-other", Want::Absent, "", true);
        check(Part::Query, "v", exact("2"), "a=1&v=2", true);
        check(Part::Query, "v", exact("2"), "a=1&v=3&v=2", false);
        check(Part::Query, "v w", exact("a b"), "v%20w=a+b", true);
        check(Part::Query, "debug", Want::Present, "debug", true);
        check(Part::Query, "debug", Want::Present, "debugger=1", false);
        check(Part::Query, "debug", Want::Absent, "", true);
    }
}
