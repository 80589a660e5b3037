//! What browsers must not do with our pages.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::App;

/// Nothing is allowed but files, forms and connections of our own; where the card page lives on
/// another origin, forms may lead there. No inline script, no inline style, no frames.
pub(crate) fn policy(pay_page: &str) -> String {
    let origin = match pay_page.split_once("://") {
        Some((scheme, rest)) => {
            format!(" {scheme}://{}", rest.split('/').next().unwrap_or_default())
        }
        None => String::new(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'{origin}; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
    )
}

pub(crate) async fn headers(State(shop): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&shop.policy)
    {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
