//! Answers that a route gives by itself: redirects, and what stands in the manifest.

use archipel_model::{Respond, Template};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};

use crate::message::body::Body;

pub(crate) enum Own {
    Redirect { to: Template, status: StatusCode },
    Respond { status: StatusCode, body: Bytes, content_type: HeaderValue },
}

impl Own {
    pub(crate) fn redirect(to: Template, status: u16) -> Self {
        Self::Redirect { to, status: StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND) }
    }

    pub(crate) fn respond(respond: Respond) -> Self {
        Self::Respond {
            status: StatusCode::from_u16(respond.status).unwrap_or(StatusCode::OK),
            body: respond.body.into(),
            content_type: HeaderValue::try_from(respond.content_type)
                .unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8")),
        }
    }

    pub(crate) fn answer(&self, method: &Method, uri: &Uri) -> Response<Body> {
        match self {
            Self::Redirect { to, status } => {
                let mut location = to.fill(uri.path());
                // An address with a query of its own is complete.
                if let Some(query) = uri.query().filter(|_| !location.contains('?')) {
                    location.push('?');
                    location.push_str(query);
                }
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = *status;
                match HeaderValue::try_from(location) {
                    Ok(location) => {
                        answer.headers_mut().insert(header::LOCATION, location);
                    }
                    // A path that hyper took is fit for a header; without it nobody is sent off.
                    Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
                }
                answer
            }
            Self::Respond { status, body, content_type } => {
                let head = *method == Method::HEAD;
                let mut answer =
                    Response::new(if head { Body::empty() } else { Body::full(body.clone()) });
                *answer.status_mut() = *status;
                if !body.is_empty() {
                    answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
                    if head {
                        let length = HeaderValue::from(body.len());
                        answer.headers_mut().insert(header::CONTENT_LENGTH, length);
                    }
                }
                answer
            }
        }
    }
}
