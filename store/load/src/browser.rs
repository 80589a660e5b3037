//! One person's browser: cookies, redirects, a limit to patience, and a note of every page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::Instant;

use crate::html::Form;
use crate::report::{Notes, Outcome};

/// After this a person gives up on a page.
const PATIENCE: Duration = Duration::from_secs(15);
const PAGE_BYTES_MAX: usize = 4 << 20;
const REDIRECTS_MAX: usize = 8;

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

pub(crate) struct Browser {
    http: Http,
    base: Arc<str>,
    notes: Arc<Notes>,
    cookies: BTreeMap<String, String>,
    /// When the next click was meant to happen: a page that is late is late from here.
    due: Instant,
}

/// What the person sees.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    /// After redirects, with its query.
    pub(crate) path: String,
    pub(crate) body: String,
}

/// The journey ends here; the step has been noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page did not come")]
pub(crate) struct GaveUp;

impl Browser {
    pub(crate) fn new(http: Http, base: Arc<str>, notes: Arc<Notes>, due: Instant) -> Self {
        Self { http, base, notes, cookies: BTreeMap::new(), due }
    }

    pub(crate) async fn think(&mut self, pause: Duration) {
        self.due = Instant::now() + pause;
        tokio::time::sleep_until(self.due).await;
    }

    pub(crate) async fn open(&mut self, step: &'static str, path: &str) -> Result<Page, GaveUp> {
        self.visit(step, Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn send(&mut self, step: &'static str, form: &Form) -> Result<Page, GaveUp> {
        let body = serde_urlencoded::to_string(&form.fields).unwrap_or_default();
        self.visit(step, Method::POST, &form.action, body.into()).await
    }

    async fn visit(
        &mut self,
        step: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Page, GaveUp> {
        let due = self.due;
        let outcome =
            tokio::time::timeout_at(due + PATIENCE, self.follow(method, path, body)).await;
        self.due = Instant::now();
        let took = self.due - due;
        match outcome {
            Ok(Ok(page)) => {
                let failed = page.status >= 500;
                let outcome = if failed { Outcome::Status(page.status) } else { Outcome::Fine };
                self.notes.add(step, took, outcome);
                if failed { Err(GaveUp) } else { Ok(page) }
            }
            Ok(Err(error)) => {
                self.notes.add(step, took, Outcome::Broken(error));
                Err(GaveUp)
            }
            Err(_) => {
                self.notes.add(step, took, Outcome::TooSlow);
                Err(GaveUp)
            }
        }
    }

    async fn follow(
        &mut self,
        mut method: Method,
        path: &str,
        mut body: Bytes,
    ) -> Result<Page, String> {
        let mut path = path.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&method, &path, std::mem::take(&mut body)).await?;
            match answer {
                Step::Page(status, body) => return Ok(Page { status, path, body }),
                Step::Elsewhere(to) => (path, method) = (to, Method::GET),
            }
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    }

    async fn ask(&mut self, method: &Method, path: &str, body: Bytes) -> Result<Step, String> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|e| format!("{e}"))?;
        let mut request = Request::builder().method(method).uri(uri);
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request = request.header(COOKIE, all.join("; "));
        }
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let answer = self.http.request(request).await.map_err(|e| root_cause(&e))?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap_or_default());
        }
        let status = answer.status();
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        if status.is_redirection()
            && let Some(to) = to
        {
            let to = to.strip_prefix(&*self.base).unwrap_or(to).to_owned();
            return Ok(Step::Elsewhere(to));
        }
        let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|e| format!("the page broke off: {e}"))?.to_bytes();
        Ok(Step::Page(status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
    }

    fn keep(&mut self, cookie: &str) {
        let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('='))
        else {
            return;
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0") {
            self.cookies.remove(&name);
        } else {
            self.cookies.insert(name, value);
        }
    }
}

enum Step {
    Page(u16, String),
    Elsewhere(String),
}

/// The last of a chain of errors says what happened.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
