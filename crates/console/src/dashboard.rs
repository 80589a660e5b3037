//! A status page for browsers, on a loopback port.
//!
//! Until the console proper exists this is one page without scripts that shows what `ps` and
//! `events` show and refreshes itself. It already has the console's guard: the page opens with a
//! key that `archipel dashboard` prints, which becomes a cookie; and a request whose `Host` or
//! `Origin` is not this address is refused, because a page in the same browser could otherwise
//! reach it under a name of its own (DNS rebinding).

use std::fmt::Write;

use http::{HeaderMap, Response, StatusCode, header};

use crate::answer::{Answer, with};
use crate::view::{Status, Topics};

const COOKIE: &str = "archipel";

/// Why a request gets no page.
pub(crate) fn refuse(headers: &HeaderMap, query: &str, key: &str, port: u16) -> Option<Answer> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let host_ok = text(header::HOST).is_some_and(|host| own.iter().any(|name| name == host));
    let origin_ok = text(header::ORIGIN).is_none_or(|origin| {
        own.iter().any(|name| origin.strip_prefix("http://") == Some(name.as_str()))
    });
    if !host_ok || !origin_ok {
        let text = "this page answers only under its own loopback address";
        return Some(with(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text));
    }
    let given = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    if given.is_some_and(|given| same(given, key)) {
        let mut answer: Answer =
            Response::new(http_body_util::BodyExt::boxed_unsync(http_body_util::Empty::new()));
        *answer.status_mut() = StatusCode::SEE_OTHER;
        let cookie = format!("{COOKIE}={key}; HttpOnly; SameSite=Strict; Path=/");
        for (name, value) in [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, cookie)] {
            if let Ok(value) = header::HeaderValue::from_str(&value) {
                answer.headers_mut().insert(name, value);
            }
        }
        return Some(answer);
    }
    let cookies = text(header::COOKIE).unwrap_or_default();
    let known = cookies.split(';').any(|cookie| {
        cookie
            .trim()
            .strip_prefix(COOKIE)
            .and_then(|c| c.strip_prefix('='))
            .is_some_and(|given| same(given, key))
    });
    (!known).then(|| {
        let text = "open this page with the address that `archipel dashboard` prints";
        with(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", text)
    })
}

/// In constant time for equal lengths.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

pub(crate) fn page(status: &Status, topics: &Topics) -> Answer {
    let mut html = String::with_capacity(16 << 10);
    head(&mut html, status);
    services(&mut html, status);
    events(&mut html, topics);
    html.push_str("</main></body></html>");
    let mut answer = with(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = "default-src 'none'; style-src 'self'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        answer.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    answer
}

pub(crate) fn style() -> Answer {
    with(StatusCode::OK, "text/css; charset=utf-8", include_str!("dashboard.css"))
}

fn head(html: &mut String, status: &Status) {
    let app = escape(&status.app);
    let ready = status.services.iter().filter(|s| s.ready >= s.desired).count();
    let _ = write!(
        html,
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=2><title>{app} · Archipel</title><link rel=stylesheet href=style.css></head>\
         <body><header><h1>{app}</h1><p>{ready} of {} service{} ready</p>",
        status.services.len(),
        if status.services.len() == 1 { "" } else { "s" }
    );
    if let Some(gateway) = &status.gateway {
        let _ = match &gateway.error {
            None => write!(html, "<p><a href=\"{0}\">{0}</a></p>", escape(&gateway.url)),
            Some(error) => write!(html, "<p class=bad>{}</p>", escape(error)),
        };
    }
    html.push_str("</header><main>");
    for problem in &status.problems {
        let _ = write!(html, "<p class=bad>{}</p>", escape(problem));
    }
}

fn services(html: &mut String, status: &Status) {
    html.push_str(
        "<section><h2>Services</h2><table><thead><tr><th>Service<th>State<th>Ready<th>Memory<th>Limit<th>Restarts<th>Note</thead><tbody>",
    );
    for service in &status.services {
        let limit = service.memory_limit.map(|limit| archipel_model::Bytes(limit).to_string());
        let _ = write!(
            html,
            "<tr><th scope=row>{}<td><span class=\"state {state}\">{state}</span><td>{}/{}<td>{}<td>{}<td>{}<td>{}",
            escape(&service.name),
            service.ready,
            service.desired,
            archipel_model::Bytes(service.memory_bytes),
            limit.unwrap_or_default(),
            service.restarts,
            escape(service.reason.as_deref().unwrap_or_default()),
            state = service.state,
        );
        if !service.last_lines.is_empty() {
            let lines = escape(&service.last_lines.join("\n"));
            let _ = write!(html, "<tr class=lines><td colspan=7><pre>{lines}</pre>");
        }
    }
    html.push_str("</tbody></table></section>");
}

fn events(html: &mut String, topics: &Topics) {
    if topics.topics.is_empty() {
        return;
    }
    html.push_str(
        "<section><h2>Events</h2><table><thead><tr><th>Topic<th>Publisher<th>Events<th>Subscribers<th>Lag<th>Dead</thead><tbody>",
    );
    for topic in &topics.topics {
        let names: Vec<&str> = topic.subscribers.iter().map(|s| s.service.as_str()).collect();
        let lag: u64 = topic.subscribers.iter().map(|s| s.lag).sum();
        let dead: u64 = topic.subscribers.iter().map(|s| s.dead).sum();
        let _ = write!(
            html,
            "<tr><th scope=row>{}<td>{}<td>{}<td>{}<td>{lag}<td{}>{dead}",
            escape(&topic.name),
            escape(topic.publisher.as_deref().unwrap_or_default()),
            topic.events,
            escape(&names.join(", ")),
            if dead > 0 { " class=bad" } else { "" },
        );
    }
    html.push_str("</tbody></table></section>");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
