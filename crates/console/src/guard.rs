//! Who may come in by the browser's door.
//!
//! It opens with a key that `archipel dashboard` prints, which becomes a cookie. A request whose
//! `Host` or `Origin` is not this address is refused, because a page in the same browser could
//! otherwise reach it under a name of its own (DNS rebinding); and one that changes something must
//! say that it comes from our own page.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use crate::answer::{Answer, with};

/// Why a request gets no answer but this one.
pub(crate) fn refuse(request: &request::Parts, key: &str, port: u16) -> Option<Answer> {
    let headers = &request.headers;
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let host_ok = text(headers, header::HOST).is_some_and(|host| own.iter().any(|o| o == host));
    let origin = text(headers, header::ORIGIN);
    let origin_ok = match origin {
        Some(origin) => {
            origin.strip_prefix("http://").is_some_and(|at| own.iter().any(|o| o == at))
        }
        // Browsers name the origin of everything that changes something.
        None => matches!(request.method, Method::GET | Method::HEAD),
    };
    if !host_ok || !origin_ok {
        let text = "this page answers only under its own loopback address";
        return Some(with(StatusCode::FORBIDDEN, TEXT, text));
    }
    // Cookies know no ports: each application's console needs a name of its own.
    let cookie = format!("archipel-{port}");
    let query = request.uri.query().unwrap_or_default();
    let given = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    if given.is_some_and(|given| same(given, key)) {
        return Some(let_in(request.uri.path(), &cookie, key));
    }
    let cookies = text(headers, header::COOKIE).unwrap_or_default();
    let known = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let known = known.into_iter().any(|(name, given)| name == cookie && same(given, key));
    (!known).then(|| {
        let text = "open this page with the address that `archipel dashboard` prints";
        with(StatusCode::UNAUTHORIZED, TEXT, text)
    })
}

/// The same for a program, which has no cookies and shows the key as a bearer token: no page of
/// another origin can make a browser send that.
pub(crate) fn refuse_scraper(request: &request::Parts, key: &str, port: u16) -> Option<Answer> {
    let shown = text(&request.headers, header::AUTHORIZATION);
    match shown.and_then(|shown| shown.strip_prefix("Bearer ")) {
        Some(given) if same(given, key) => None,
        _ => refuse(request, key, port),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// To the same page without the key, which is not to stay in the address bar.
fn let_in(path: &str, cookie: &str, key: &str) -> Answer {
    let mut answer: Answer =
        Response::new(http_body_util::BodyExt::boxed_unsync(http_body_util::Empty::new()));
    *answer.status_mut() = StatusCode::SEE_OTHER;
    // `//host/` would lead to another site.
    let path = if path.starts_with("//") || path.contains('\\') { "/" } else { path };
    let cookie = format!("{cookie}={key}; HttpOnly; SameSite=Strict; Path=/");
    for (name, value) in [(header::LOCATION, path), (header::SET_COOKIE, cookie.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// In constant time for equal lengths.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, headers: &[(&str, &str)], expected: Option<u16>) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).expect("a request").into_parts();
        let status = refuse(&request, "k3y", 9999).map(|answer| answer.status().as_u16());
        assert_eq!(status, expected, "{method} {path} {headers:?}");
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:9999");
    const COOKIE: (&str, &str) = ("cookie", "a=b; archipel-9999=k3y");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:9999");

    #[test]
    fn only_our_own_page_with_the_key_comes_in() {
        check("GET", "/", &[HOST, COOKIE], None);
        check("GET", "/", &[HOST], Some(401));
        check("GET", "/", &[HOST, ("cookie", "archipel-9999=k3z")], Some(401));
        check("GET", "/", &[HOST, ("cookie", "archipel-1=k3y")], Some(401));
        check("GET", "/", &[("host", "evil.example:9999"), COOKIE], Some(403));
        check("GET", "/", &[HOST, COOKIE, ("origin", "http://evil.example")], Some(403));
        check("POST", "/api/v1/restart", &[HOST, COOKIE, ORIGIN], None);
        check("POST", "/api/v1/restart", &[HOST, COOKIE], Some(403));
        check("POST", "/api/v1/restart", &[HOST, COOKIE, ("origin", "null")], Some(403));
        check("POST", "/api/v1/restart", &[HOST, ORIGIN], Some(401));
    }

    #[test]
    fn a_scraper_shows_the_key_as_a_bearer_token() {
        for (shown, expected) in
            [("Bearer k3y", None), ("Bearer k3z", Some(401)), ("k3y", Some(401))]
        {
            let request = http::Request::builder().uri("/metrics").header("host", HOST.1);
            let request = request.header("authorization", shown);
            let (request, ()) = request.body(()).expect("a request").into_parts();
            let answer = refuse_scraper(&request, "k3y", 9999);
            assert_eq!(answer.map(|answer| answer.status().as_u16()), expected, "{shown}");
        }
    }

    #[test]
    fn the_key_leads_to_the_page_that_was_asked_for_and_never_elsewhere() {
        for (asked, led_to) in
            [("/?key=k3y", "/"), ("/logs?key=k3y", "/logs"), ("//evil.example/?key=k3y", "/")]
        {
            let request = http::Request::builder().uri(asked).header("host", HOST.1);
            let (request, ()) = request.body(()).expect("a request").into_parts();
            let answer = refuse(&request, "k3y", 9999).expect("a redirect");
            assert_eq!(answer.status(), StatusCode::SEE_OTHER);
            assert_eq!(answer.headers()[header::LOCATION], led_to);
        }
    }
}
