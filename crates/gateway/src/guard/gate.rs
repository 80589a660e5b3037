//! What every request of a public entrance passes, also one that finds no route.

use std::net::IpAddr;
use std::sync::Arc;

use archipel_model::Cidr;
use archipel_rt::clock::Instant;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use crate::guard::auth::Identity;
use crate::guard::bots::BotRules;
use crate::guard::client::Client;
use crate::guard::harden::Hardening;
use crate::guard::limit::{Limit, Told, Who};
use crate::guard::log::{Note, Writer};
use crate::hop::outgoing::Origin;
use crate::message::body::Body;
use crate::refusal::{REFUSED, Refusal};

pub(crate) struct Gate {
    pub(crate) trusted: Vec<Cidr>,
    pub(crate) bots: Option<BotRules>,
    pub(crate) limits: Vec<Arc<Limit>>,
    pub(crate) hardening: Hardening,
    pub(crate) reasons: bool,
    /// By which apps learn who it is: from outside they mean nothing.
    pub(crate) identity_headers: Vec<HeaderName>,
    pub(crate) log: Option<Arc<Writer>>,
    pub(crate) epoch: Instant,
    pub(crate) connections_max: usize,
    /// The number was given, and so counts for everybody.
    pub(crate) connections_told: bool,
    pub(crate) head_max: Option<u64>,
    pub(crate) headers_max: Option<u32>,
}

/// Why a request does not go on to the app.
#[derive(Debug)]
pub(crate) enum Stop {
    Refuse(Refusal),
    /// It is answered, and well.
    Answer(Box<Response<Body>>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// What becomes known of one request on its way in, for its answer and the log.
pub(crate) struct Visit {
    pub(crate) client: Client,
    pub(crate) now: u64,
    pub(crate) told: Told,
    /// What a browser is told about who may read the answer.
    pub(crate) origin: Option<HeaderValue>,
    /// How to prove who one is.
    pub(crate) challenge: Option<HeaderValue>,
    pub(crate) identity: Option<Arc<Identity>>,
}

impl Visit {
    pub(crate) fn origin(&self) -> Origin {
        Origin::Outside(self.client.value.clone(), self.client.secure)
    }
}

impl Gate {
    /// What the log will say of a request, if there is one.
    pub(crate) fn note<B>(&self, request: &Request<B>, visit: &Visit) -> Option<Box<Note>> {
        let to = Arc::clone(self.log.as_ref()?);
        Some(Box::new(Note {
            to,
            client: visit.client.value.clone(),
            user: None,
            referer: request.headers().get(header::REFERER).cloned(),
            agent: request.headers().get(header::USER_AGENT).cloned(),
            version: request.version(),
        }))
    }

    pub(crate) fn name(&self, note: &mut Option<Box<Note>>, visit: &Visit) {
        if let (Some(note), Some(identity)) = (note, &visit.identity) {
            note.user = identity.user.clone().or_else(|| identity.consumer.clone());
        }
    }

    pub(crate) fn visit(
        &self,
        peer: IpAddr,
        value: &HeaderValue,
        secure: bool,
        headers: &HeaderMap,
        started: Instant,
    ) -> Visit {
        Visit {
            client: Client::of(&self.trusted, peer, value, secure, headers),
            now: u64::try_from((started - self.epoch).as_nanos()).unwrap_or(u64::MAX / 2),
            told: Told::default(),
            origin: None,
            challenge: None,
            identity: None,
        }
    }

    pub(crate) fn pass<B>(
        &self,
        request: &mut Request<B>,
        visit: &mut Visit,
        route: &str,
    ) -> Result<(), Stop> {
        for name in &self.identity_headers {
            request.headers_mut().remove(name);
        }
        let headers = request.headers();
        let who = Who { ip: visit.client.addr, headers, consumer: None, user: None, route };
        if let Some(bots) = &self.bots {
            if let Some(robots) = &bots.robots
                && request.uri().path() == "/robots.txt"
                && matches!(*request.method(), Method::GET | Method::HEAD)
            {
                return Err(Stop::Answer(Box::new(text(robots))));
            }
            if let (Some(crawler), Some(limit)) = (bots.look(request.headers())?, &bots.crawl) {
                let standing = limit.take(&Who { consumer: Some(&crawler), ..who }, visit.now);
                visit.told.add(limit, &standing);
                if !standing.admitted {
                    return Err(limit.refusal(&standing).into());
                }
            }
        }
        for limit in &self.limits {
            let standing = limit.take(&who, visit.now);
            visit.told.add(limit, &standing);
            if !standing.admitted {
                return Err(limit.refusal(&standing).into());
            }
        }
        Ok(())
    }

    /// Adds what every answer has.
    pub(crate) fn dress(&self, visit: &mut Visit, headers: &mut HeaderMap) {
        std::mem::take(&mut visit.told).put(headers);
        if let Some(challenge) = visit.challenge.take() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        self.hardening.put(headers, visit.client.secure);
        if !self.reasons {
            headers.remove(REFUSED);
        }
    }
}

fn text(text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(text.to_owned()));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
