//! A browser without scripts: follows redirects, keeps cookies, fills in forms.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

pub struct Browser {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    pub cookies: BTreeMap<String, String>,
    pub language: &'static str,
}

#[derive(Clone)]
pub struct Page {
    pub status: u16,
    /// Where it ended after redirects.
    pub url: String,
    pub html: String,
    pub headers: HeaderMap,
}

impl Browser {
    pub fn new(base: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base: base.into(), client, cookies: BTreeMap::new(), language: "en" }
    }

    /// Another window of the same browser.
    pub fn window(&self) -> Self {
        let (base, client) = (self.base.clone(), self.client.clone());
        Self { base, client, cookies: self.cookies.clone(), language: self.language }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.go(Method::GET, path, None, &[]).await
    }

    /// Sends the form whose `action` is given, with what the page has in it, changed by `fill`.
    pub async fn submit(&mut self, page: &Page, action: &str, fill: &[(&str, &str)]) -> Page {
        let mut fields = page.form(action);
        for (name, value) in fill {
            fields.retain(|(n, _)| n != name);
            fields.push(((*name).into(), (*value).into()));
        }
        self.post(action, &fields).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(String, String)]) -> Page {
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.go(Method::POST, path, Some(body), &[]).await
    }

    /// One exchange and the redirects after it.
    pub async fn go(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Page {
        let mut page = self.once(method, path, body, headers).await;
        for _ in 0..8 {
            let Some(to) = page.headers.get(header::LOCATION).filter(|_| page.status == 303) else {
                return page;
            };
            let to = to.to_str().unwrap().to_owned();
            page = self.once(Method::GET, &to, None, &[]).await;
        }
        panic!("redirects without end at {}", page.url);
    }

    pub async fn once(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Page {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("accept", "text/html").header("accept-language", self.language);
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        for value in head.headers.get_all(header::SET_COOKIE) {
            let pair = value.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.into(), value.into());
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        let html = String::from_utf8_lossy(&bytes).into_owned();
        Page { status: head.status.as_u16(), url: path.into(), html, headers: head.headers }
    }

    /// The start of a stream; call `next` on it.
    pub async fn stream(&mut self, path: &str) -> (u16, Stream) {
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let request = Request::builder()
            .uri(format!("{}{path}", self.base))
            .header("accept", "text/event-stream")
            .header("cookie", cookies.join("; "))
            .body(Full::new(Bytes::new()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        (response.status().as_u16(), Stream { body: response.into_body(), rest: String::new() })
    }
}

pub struct Stream {
    body: hyper::body::Incoming,
    rest: String,
}

impl Stream {
    /// The next event as (name, data); `None` at the end.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.rest = rest;
                let field = |name: &str| -> String {
                    let lines = frame.lines().filter_map(|l| l.strip_prefix(name));
                    lines.map(|l| l.trim_start_matches(' ')).collect::<Vec<_>>().join("\n")
                };
                if !field("data:").is_empty() {
                    return Some((field("event:"), field("data:")));
                }
                continue;
            }
            let frame = self.body.frame().await?.ok()?;
            self.rest.push_str(&String::from_utf8_lossy(frame.data_ref()?));
        }
    }
}

impl Page {
    pub fn has(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    /// The fields of a form, as a browser would send them untouched.
    pub fn form(&self, action: &str) -> Vec<(String, String)> {
        let start = self
            .html
            .find(&format!("action=\"{action}\""))
            .unwrap_or_else(|| panic!("no form for {action} on {}:\n{}", self.url, self.html));
        let form = self.html[start..].split("</form>").next().unwrap();
        let mut fields = Vec::new();
        for tag in tags(form, "input") {
            let (name, value) =
                (attribute(tag, "name"), attribute(tag, "value").unwrap_or_default());
            let radio = attribute(tag, "type").as_deref() == Some("radio");
            if let Some(name) = name.filter(|_| !radio || tag.contains(" checked")) {
                fields.push((name, value));
            }
        }
        for select in form.split("<select").skip(1) {
            let name = attribute(select, "name").unwrap();
            let options = tags(select.split("</select>").next().unwrap(), "option");
            let chosen = options.iter().find(|o| o.contains(" selected")).or(options.first());
            fields.push((name, chosen.and_then(|o| attribute(o, "value")).unwrap_or_default()));
        }
        fields
    }

    pub fn link(&self, containing: &str) -> String {
        let link = tags(&self.html, "a")
            .into_iter()
            .filter_map(|a| attribute(a, "href"))
            .find(|h| h.contains(containing));
        link.unwrap_or_else(|| panic!("no link with {containing} on {}", self.url))
    }
}

pub fn tags<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    let open = format!("<{name}");
    html.match_indices(&open)
        .filter(|(at, _)| html[at + open.len()..].starts_with([' ', '>', '/']))
        .map(|(at, _)| html[at..].split('>').next().unwrap())
        .collect()
}

pub fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag[start..].split('"').next()?;
    Some(
        value
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

/// What must hold on every page: one heading, landmarks, labels, nothing inline.
pub fn check_page(page: &Page) {
    let (html, url) = (&page.html, &page.url);
    assert!(html.starts_with("<!DOCTYPE html>"), "{url}: {html:.300}");
    let csp = page.headers["content-security-policy"].to_str().unwrap();
    assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{url}: {csp}");
    for (name, n) in [("h1", 1), ("main", 1), ("title", 1)] {
        assert_eq!(tags(html, name).len(), n, "{url} has another number of <{name}>");
    }
    assert!(attribute(tags(html, "html")[0], "lang").is_some(), "{url} does not say its language");
    assert!(html.contains("class=\"skip\" href=\"#main\""), "{url} has no skip link");
    for script in tags(html, "script") {
        assert!(attribute(script, "src").is_some(), "{url} has an inline script");
    }
    assert!(tags(html, "style").is_empty(), "{url} has inline style");
    let mut ids = Vec::new();
    for tag in html.split('<').filter(|t| !t.starts_with(['/', '!'])) {
        let tag = tag.split('>').next().unwrap();
        for forbidden in
            [" style=", " onclick=", " onload=", " onsubmit=", " onerror=", "javascript:"]
        {
            assert!(!tag.contains(forbidden), "{url}: {forbidden} in <{tag}>");
        }
        if let Some(id) = attribute(tag, "id") {
            assert!(!ids.contains(&id), "{url}: the id {id} occurs twice");
            ids.push(id);
        }
    }
    for image in tags(html, "img") {
        assert!(image.contains(" alt=") && image.contains(" width="), "{url}: {image}");
    }
    for form in html.split("<form").skip(1) {
        let form = form.split("</form>").next().unwrap();
        if form.contains("method=\"post\"") {
            assert!(form.contains("name=\"form_token\""), "{url}: a form without token");
        }
    }
    let labels: Vec<String> =
        tags(html, "label").iter().filter_map(|l| attribute(l, "for")).collect();
    for field in tags(html, "input").into_iter().chain(tags(html, "select")) {
        if attribute(field, "type").as_deref() == Some("hidden") {
            continue;
        }
        let named = attribute(field, "id").is_some_and(|id| labels.contains(&id))
            || inside_label(html, field);
        assert!(named, "{url}: a field without a label: {field}");
        for about in attribute(field, "aria-describedby")
            .into_iter()
            .flat_map(|a| a.split(' ').map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(ids.contains(&about), "{url}: {field} is described by nothing");
        }
    }
}

fn inside_label(html: &str, field: &str) -> bool {
    let at = html.find(field).unwrap();
    let before = &html[..at];
    before
        .rfind("<label")
        .is_some_and(|open| before.rfind("</label").is_none_or(|close| close < open))
}
