//! One page without scripts that shows what `ps` and `events` show, and refreshes itself.
//!
//! It is what a binary serves that was built without the web console, and what the console leaves
//! to browsers without scripts.

use std::fmt::Write;

use http::StatusCode;

use crate::answer::{Answer, with};
use crate::view::{Status, Topics};

pub(crate) fn page(status: &Status, topics: &Topics) -> Answer {
    let mut html = String::with_capacity(16 << 10);
    head(&mut html, status);
    services(&mut html, status);
    events(&mut html, topics);
    html.push_str("</main></body></html>");
    with(StatusCode::OK, "text/html; charset=utf-8", html)
}

pub(crate) fn style() -> Answer {
    with(StatusCode::OK, "text/css; charset=utf-8", include_str!("plain.css"))
}

fn head(html: &mut String, status: &Status) {
    let app = escape(&status.app);
    let ready = status.services.iter().filter(|s| s.ready >= s.desired).count();
    let _ = write!(
        html,
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=2><title>{app} · Archipel</title><link rel=stylesheet href=/plain.css></head>\
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
    if let Some(why) = archipel_ui::missing() {
        let _ = write!(
            html,
            "<p>This is the plain status page: this binary was built without the web console ({}). \
             Install Node.js 20.19 or later with npm, then run <code>touch ui/package.json</code> and build again.</p>",
            escape(why)
        );
    }
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

pub(crate) fn escape(text: &str) -> String {
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
