//! When there is no page, or not the one that was wanted.

use axum::body::HttpBody;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::App;
use crate::layout::Page;
use crate::parts::icon;
use crate::visit::Visit;

pub(crate) async fn no_page(visit: Visit) -> Response {
    not_found(visit).await
}

/// A page that only takes forms was opened, or the other way round.
pub(crate) async fn no_method(visit: Visit) -> Response {
    bad_form(visit, StatusCode::METHOD_NOT_ALLOWED).await
}

pub(crate) async fn not_found(visit: Visit) -> Response {
    let title = visit.t("There is nothing here", "Il n’y a rien ici");
    let text = visit.t(
        "The tide may have taken it, or the address has a slip of the pen. The shelves are where they were.",
        "La marée l’a peut-être emporté, ou l’adresse contient une coquille. Les rayons, eux, n’ont pas bougé.",
    );
    let page = sorry(
        "boat",
        title,
        html! { p { (text) } },
        vec![
            ("/", visit.t("To the shop", "Vers la boutique")),
            ("/search", visit.t("Search", "Chercher")),
        ],
    );
    visit.page(Page::new(title, page).status(StatusCode::NOT_FOUND)).await
}

/// A service that this page cannot do without does not answer.
pub(crate) async fn away(visit: Visit, title: &str, text: &str) -> Response {
    let again = visit.here.clone();
    let body = sorry(
        "boat",
        title,
        html! { p { (text) } },
        vec![
            (again.as_str(), visit.t("Try again", "Réessayer")),
            ("/", visit.t("To the shop", "Vers la boutique")),
        ],
    );
    visit.page(Page::new(title, body).status(StatusCode::SERVICE_UNAVAILABLE)).await
}

/// The same for something that was to be done and was not.
pub(crate) async fn not_done(mut visit: Visit, back: &str, text: &str) -> Response {
    visit.here = back.to_owned();
    let title = visit.t("That did not go through", "Cela n’a pas abouti");
    away(visit, title, text).await
}

pub(crate) async fn old_form(visit: Visit) -> Response {
    let title = visit.t("Please try that once more", "Encore une fois, s’il vous plaît");
    let text = visit.t(
        "The page you sent was an old one, or your browser does not keep cookies for this shop. Nothing was changed.",
        "La page envoyée était ancienne, ou votre navigateur ne garde pas les cookies de cette boutique. Rien n’a été modifié.",
    );
    let body = sorry(
        "warn",
        title,
        html! { p { (text) } },
        vec![
            ("/cart", visit.t("To the basket", "Vers le panier")),
            ("/", visit.t("To the shop", "Vers la boutique")),
        ],
    );
    visit.page(Page::new(title, body).status(StatusCode::FORBIDDEN)).await
}

pub(crate) async fn bad_form(visit: Visit, status: StatusCode) -> Response {
    let title = visit.t("That form could not be read", "Ce formulaire est illisible");
    let text = visit.t(
        "Something in it was missing or too long. Nothing was changed.",
        "Il y manquait quelque chose, ou c’était trop long. Rien n’a été modifié.",
    );
    let body = sorry(
        "warn",
        title,
        html! { p { (text) } },
        vec![("/", visit.t("To the shop", "Vers la boutique"))],
    );
    visit.page(Page::new(title, body).status(status)).await
}

pub(crate) fn sorry(mark: &str, title: &str, text: Markup, ways: Vec<(&str, &str)>) -> Markup {
    html! {
        section.sorry.wrap.narrow {
            div.sorry-mark { (icon(mark)) }
            h1 { (title) }
            (text)
            p.ways {
                @for (i, (to, words)) in ways.iter().enumerate() {
                    a.button.quiet[i > 0] href=(to) { (words) }
                }
            }
        }
    }
}

/// Errors that were not written for people (an extractor's refusal, a wrong method) become a
/// page like the others, unless a program asked.
pub(crate) async fn as_page(State(shop): State<App>, request: Request, next: Next) -> Response {
    let wants_page = request.headers().get(header::ACCEPT).is_none_or(|accept| {
        accept.to_str().is_ok_and(|text| text.contains("text/html") || text.contains("*/*"))
    });
    let for_program =
        request.uri().path().starts_with("/static/") || request.uri().path().starts_with("/media/");
    let (mut parts, body) = request.into_parts();
    let visit = if wants_page && !for_program {
        // Cannot fail.
        Visit::from_request_parts(&mut parts, &shop).await.ok()
    } else {
        None
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    let status = response.status();
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let failed = status.is_client_error() || status.is_server_error();
    match visit {
        Some(visit) if failed && !is_page => {
            tracing::info!(
                status = status.as_u16(),
                bytes = response.body().size_hint().lower(),
                "an error became a page"
            );
            match status {
                StatusCode::NOT_FOUND => not_found(visit).await,
                status if status.is_client_error() => bad_form(visit, status).await,
                _ => {
                    let title = visit
                        .t("Something broke on our side", "Quelque chose a cassé de notre côté");
                    let text = visit.t(
                        "We have a note of it. Your basket is safe.",
                        "C’est noté. Votre panier est en sûreté.",
                    );
                    away(visit, title, text).await
                }
            }
        }
        _ => response.into_response(),
    }
}
