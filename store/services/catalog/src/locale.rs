//! The language of an answer.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// One of the two languages the goods are described in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Fr,
}

impl Lang {
    /// The better of English and French by `Accept-Language`; English where neither is named.
    pub(crate) fn of_header(value: &str) -> Self {
        let weight = |tag: &str| -> f32 {
            value
                .split(',')
                .filter_map(|part| {
                    let mut pieces = part.split(';').map(str::trim);
                    let name = pieces.next()?;
                    let same = name.get(..2).is_some_and(|two| two.eq_ignore_ascii_case(tag));
                    let exact = name.len() == 2 || name.as_bytes().get(2) == Some(&b'-');
                    let q = pieces
                        .find_map(|p| p.strip_prefix("q="))
                        .map_or(Some(1.0), |q| q.parse().ok())?;
                    (same && exact).then_some(q)
                })
                .fold(0.0, f32::max)
        };
        if weight("fr") > weight("en") { Self::Fr } else { Self::En }
    }

    /// The name of the column of `field` in this language.
    pub(crate) fn column(self, field: &str) -> String {
        format!("{field}_{}", self.tag())
    }

    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// JSON in this language.
    pub(crate) fn json(self, body: &impl serde::Serialize) -> Response {
        let mut response = axum::Json(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.tag()));
        headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
        response
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Lang {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
        Ok(Self::of_header(header.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_language_with_the_greater_weight() {
        for (header, lang) in [
            ("", Lang::En),
            ("de", Lang::En),
            ("fr", Lang::Fr),
            ("fr-CA,en;q=0.8", Lang::Fr),
            ("en-GB,en;q=0.9,fr;q=0.8", Lang::En),
            ("en;q=0.3, FR;q=0.4", Lang::Fr),
            ("fra, fy", Lang::En),
            ("fr;q=x", Lang::En),
        ] {
            assert_eq!(Lang::of_header(header), lang, "{header}");
        }
    }
}
