//! One request of one browser: who, in which language, and how to answer it.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store_kit::{Money, Timestamp};

use crate::App;
use crate::back::customers::NotRenewed;
use crate::lang::Lang;
use crate::layout::{self, Page};
use crate::pages::problem;
use crate::session::{self, Seal, Session};

/// A token that ends sooner than this is renewed first.
const RENEW_BEFORE_S: i64 = 45;

pub(crate) struct Visit {
    pub(crate) shop: App,
    pub(crate) session: Session,
    pub(crate) lang: Lang,
    /// Path and query, for coming back.
    pub(crate) here: String,
    before: Session,
    secure: bool,
    new: bool,
}

/// With what to ask on this person's behalf.
pub(crate) enum Pass {
    Token(String),
    /// Not signed in, and no guest either.
    Nobody,
    /// Was signed in until now.
    Ended,
}

impl Visit {
    fn of(parts: &Parts, shop: &App) -> Self {
        let known = cookie(&parts.headers, session::COOKIE).and_then(|value| shop.seal.open(value));
        let new = known.is_none();
        let session = known.unwrap_or_else(|| shop.seal.fresh());
        let text = |name| parts.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let lang = session
            .lang
            .unwrap_or_else(|| Lang::of_header(text("accept-language").unwrap_or_default()));
        let here = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let secure = text("x-forwarded-proto") == Some("https");
        Self { shop: App::clone(shop), before: session.clone(), session, lang, here, secure, new }
    }

    pub(crate) fn t<T>(&self, en: T, fr: T) -> T {
        self.lang.t(en, fr)
    }

    pub(crate) fn money(&self, money: Money) -> String {
        self.lang.money(money)
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.shop.seal
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shop.seal.now()
    }

    /// The hidden field that proves that a form is ours and was made for this browser.
    pub(crate) fn form_token(&self) -> Markup {
        let token = self.seal().token(&self.session, "form");
        html! { input type="hidden" name="form_token" value=(token); }
    }

    /// The member's token, renewed if it must be; else the guest's.
    pub(crate) async fn pass(&mut self) -> Pass {
        let now = self.now().millis() / 1000;
        let Some(member) = &self.session.member else {
            return match &self.session.guest {
                Some(guest) if guest.until > now => Pass::Token(guest.token.clone()),
                _ => Pass::Nobody,
            };
        };
        if member.until - RENEW_BEFORE_S > now {
            return Pass::Token(member.token.clone());
        }
        let refresh = member.refresh.clone();
        match self.shop.back.customers.renew(&refresh).await {
            Ok(tokens) => {
                let member = self.session.member.as_mut().expect("it was there a moment ago");
                member.token = tokens.token.clone();
                member.refresh = tokens.refresh_token;
                member.until = now + tokens.expires_in;
                Pass::Token(tokens.token)
            }
            Err(NotRenewed::Ended) => {
                self.session.member = None;
                Pass::Ended
            }
            // Perhaps a little old; whoever we ask will judge.
            Err(NotRenewed::Away) => Pass::Token(member.token.clone()),
        }
    }

    /// A page, with the parts that all pages have.
    pub(crate) async fn page(self, page: Page) -> Response {
        let status = page.status;
        let body = layout::render(&self, page).await;
        let mut response = (status, axum::response::Html(body.into_string())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-language, cookie"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.lang.tag()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
        }
        self.remember(response)
    }

    /// Sends the browser to a page of ours (303).
    pub(crate) fn go(self, to: &str) -> Response {
        let place = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.headers_mut().insert(header::LOCATION, place);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.remember(response)
    }

    /// Gives the session back to the browser when there is something new in it.
    pub(crate) fn remember(&self, mut response: Response) -> Response {
        if self.new || self.session != self.before {
            let secure = if self.secure { "; Secure" } else { "" };
            let value = self.shop.seal.close(&self.session);
            let cookie = format!(
                "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000{secure}",
                session::COOKIE
            );
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        response
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            pair.trim().split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value)
        })
}

/// A path of ours to go back to; anything else becomes the home page. (`//x` and `/\x` lead to
/// other hosts.)
pub(crate) fn own_path(text: &str) -> &str {
    let ours = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && text.bytes().all(|b| (0x21..0x7f).contains(&b));
    if ours { text } else { "/" }
}

impl FromRequestParts<App> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, shop: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, shop))
    }
}

/// A form that was sent from one of our pages by the browser it was made for.
pub(crate) struct Posted<T> {
    pub(crate) visit: Visit,
    pub(crate) form: T,
}

#[derive(Deserialize)]
struct FormToken {
    #[serde(default)]
    form_token: String,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, shop: &App) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let visit = Visit::of(&parts, shop);
        let elsewhere = parts.headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site");
        let request = Request::from_parts(parts, body);
        let body = match Bytes::from_request(request, shop).await {
            Ok(body) => body,
            Err(rejection) => return Err(problem::bad_form(visit, rejection.status()).await),
        };
        let token = serde_urlencoded::from_bytes::<FormToken>(&body)
            .map(|t| t.form_token)
            .unwrap_or_default();
        if elsewhere || !visit.seal().token_fits(&visit.session, "form", &token) {
            return Err(problem::old_form(visit).await);
        }
        match serde_urlencoded::from_bytes(&body) {
            Ok(form) => Ok(Self { visit, form }),
            Err(error) => {
                tracing::info!(%error, "a form that is not ours");
                Err(problem::bad_form(visit, StatusCode::UNPROCESSABLE_ENTITY).await)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_gone_back_to() {
        for good in ["/", "/p/x?v=1", "/c/lamps/table"] {
            assert_eq!(own_path(good), good);
        }
        for bad in [
            "",
            "x",
            "//evil.test",
            "/\\evil.test",
            "https://evil.test",
            "/a b",
            "/é",
            "/a\r\nx: y",
        ] {
            assert_eq!(own_path(bad), "/", "{bad}");
        }
    }

    #[test]
    fn finds_its_cookie_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; shop=x.y; b=shop=z"));
        assert_eq!(cookie(&headers, "shop"), Some("x.y"));
        assert_eq!(cookie(&headers, "none"), None);
    }
}
