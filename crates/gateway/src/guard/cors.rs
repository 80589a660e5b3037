//! Which pages of other origins may read an answer (Fetch standard, CORS protocol).
//!
//! A preflight is answered here and never reaches the app. An origin that is not allowed gets no
//! CORS headers, and its browser keeps the answer from the page; the request itself is served as
//! it would be from anywhere, because an origin is nobody's identity.

use archipel_model::Cors;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::message::body::Body;
use crate::refusal::{Problem, Refusal};

/// Browsers keep a preflight's answer no longer than this, whatever they are told.
const MAX_AGE_DEFAULT: u64 = 600;
/// What forms can send without asking.
const SIMPLE: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

pub(crate) struct CorsRule {
    any_origin: bool,
    exact: Vec<Box<[u8]>>,
    below: Vec<Below>,
    methods: HeaderValue,
    named_methods: Vec<Method>,
    any_header: bool,
    headers: Vec<HeaderName>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// `https://*.example.org`
struct Below {
    /// With `://`.
    scheme: Box<[u8]>,
    /// What a host ends with, dot included.
    end: Box<[u8]>,
}

/// A browser asks whether a request of this method would be allowed.
pub(crate) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl CorsRule {
    /// `own`: the method that the route is for, if for one.
    pub(crate) fn new(cors: &Cors, own: Option<&Method>) -> Self {
        let mut rule = Self {
            any_origin: false,
            exact: Vec::new(),
            below: Vec::new(),
            methods: HeaderValue::from_static(""),
            named_methods: cors.methods.iter().filter_map(|m| m.parse().ok()).collect(),
            any_header: cors.headers.iter().any(|name| name == "*"),
            headers: cors.headers.iter().filter_map(|name| name.parse().ok()).collect(),
            expose: HeaderValue::try_from(cors.expose.join(", ")).ok().filter(|v| !v.is_empty()),
            credentials: cors.credentials,
            max_age: HeaderValue::from(cors.max_age.map_or(MAX_AGE_DEFAULT, |age| age.as_secs())),
        };
        if rule.named_methods.is_empty() {
            rule.named_methods = SIMPLE.to_vec();
            rule.named_methods.extend(own.filter(|own| !SIMPLE.contains(own)).cloned());
        }
        let names: Vec<&str> = rule.named_methods.iter().map(Method::as_str).collect();
        if let Ok(methods) = HeaderValue::try_from(names.join(", ")) {
            rule.methods = methods;
        }
        for origin in &cors.origins {
            let origin = origin.to_ascii_lowercase();
            match origin.split_once("://*") {
                _ if origin == "*" => rule.any_origin = true,
                Some((scheme, end)) => {
                    let scheme = format!("{scheme}://").into_bytes().into();
                    rule.below.push(Below { scheme, end: end.as_bytes().into() });
                }
                None => rule.exact.push(origin.into_bytes().into()),
            }
        }
        rule
    }

    fn allows(&self, origin: &[u8]) -> bool {
        self.any_origin
            || self.exact.iter().any(|exact| **exact == *origin)
            || self.below.iter().any(|Below { scheme, end }| {
                origin.strip_prefix(&**scheme).is_some_and(|host| {
                    host.len() > end.len()
                        && host.ends_with(end)
                        && host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(b))
                })
            })
    }

    /// The `access-control-allow-origin` for this request, if its origin is allowed.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.any_origin && !self.credentials {
            return Some(HeaderValue::from_static("*"));
        }
        self.allows(origin.as_bytes()).then(|| origin.clone())
    }

    /// The answer to a preflight, or why there is none.
    pub(crate) fn answer(
        &self,
        asked: &Method,
        headers: &HeaderMap,
        rule: &str,
    ) -> Result<Response<Body>, Refusal> {
        let refuse = |detail: String| {
            Err(Refusal::new(Problem::OriginDenied, format!("cors of {rule}"), detail))
        };
        let Some(origin) = self.origin(headers) else {
            let origin = headers.get(header::ORIGIN).map_or(&b""[..], HeaderValue::as_bytes);
            return refuse(format!(
                "pages of `{}` may not call this route; `cors.origins` does not have them",
                String::from_utf8_lossy(&origin[..origin.len().min(200)])
            ));
        };
        if !self.named_methods.contains(asked) {
            return refuse(format!("`cors.methods` of this route does not have {asked}"));
        }
        let mut wanted = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let unknown = wanted.find_map(|line| self.unknown_header(line));
        if let Some(unknown) = unknown {
            return refuse(format!("`cors.headers` of this route does not have `{unknown}`"));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        self.put(answer, Some(origin));
        answer.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            // Each was found to be allowed; with credentials `*` would not mean all.
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer.append(
            header::VARY,
            HeaderValue::from_static(
                "access-control-request-method, access-control-request-headers",
            ),
        );
        Ok(response)
    }

    fn unknown_header(&self, line: &HeaderValue) -> Option<String> {
        let Ok(line) = line.to_str() else { return Some("?".to_owned()) };
        let names = line.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.into_iter().find_map(|name| {
            let known = HeaderName::from_bytes(name.as_bytes())
                .is_ok_and(|name| self.any_header || self.headers.contains(&name));
            (!known).then(|| name.chars().take(100).collect())
        })
    }

    /// On every answer of the route: our word counts, not the app's.
    pub(crate) fn put(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        if !self.any_origin || self.credentials {
            // A cache must not give one origin's answer to another.
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], credentials: bool) -> CorsRule {
        let cors = Cors {
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            methods: vec![],
            headers: vec!["content-type".to_owned()],
            expose: vec![],
            credentials,
            max_age: None,
        };
        CorsRule::new(&cors, None)
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let rule = rule(&["https://shop.example.org", "https://*.example.net"], true);
        let check = |origin: &str, expected: bool| {
            assert_eq!(rule.allows(origin.as_bytes()), expected, "{origin}");
        };
        check("https://shop.example.org", true);
        check("http://shop.example.org", false);
        check("https://shop.example.org.evil.org", false);
        check("https://evilshop.example.org", false);
        check("https://shop.example.org:8443", false);
        check("https://a.example.net", true);
        check("https://a.b.example.net", true);
        check("https://.example.net", false);
        check("https://example.net", false);
        check("https://evilexample.net", false);
        check("https://evil.org/.example.net", false);
        check("null", false);
        check("", false);
    }
}
