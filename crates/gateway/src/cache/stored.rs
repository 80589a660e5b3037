//! An answer in memory.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::blocking;
use archipel_rt::clock::{self, Instant};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::OnceCell;

use crate::cache::control::Control;
use crate::cache::key::Variant;
use crate::cache::ledger::Charge;
use crate::cache::rules::Term;
use crate::compress::{self, Coding};
use crate::message::trace::REQUEST_ID;

/// One answer with all that decides about its use. Never changes: a newer one takes its place.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    /// As they go out, without `Age`, `Content-Length` and what is about the moment.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Arc<Payload>,
    pub(crate) variant: Variant,
    /// The gateway may encode it for who likes that.
    pub(crate) compressible: bool,
    pub(crate) term: Term,
    pub(crate) since: Instant,
}

/// The content, shared by the answers before and after they were found to be still good.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) identity: Bytes,
    encoded: [OnceCell<Option<Bytes>>; Coding::ALL.len()],
    /// As long as anybody holds this, its bytes count.
    charge: Charge,
}

impl Payload {
    pub(crate) fn new(identity: Bytes, charge: Charge) -> Self {
        Self { identity, encoded: Default::default(), charge }
    }

    /// The content in a coding, made once; `None` where that would not make it smaller.
    pub(crate) async fn encoded(self: &Arc<Self>, coding: Coding) -> (Option<Bytes>, Made) {
        let cell = &self.encoded[coding as usize];
        if let Some(known) = cell.get() {
            return (known.clone(), Made::Before);
        }
        let mut made = Made::Before;
        let encoded = cell
            .get_or_init(|| async {
                made = Made::Now;
                let identity = self.identity.clone();
                let whole = blocking(move || compress::whole(coding, &identity)).await;
                let smaller = whole.filter(|w| w.len() < self.identity.len()).map(Bytes::from);
                smaller.filter(|bytes| self.charge.grow(bytes.len()))
            })
            .await;
        (encoded.clone(), made)
    }

    fn bytes(&self) -> usize {
        self.charge.bytes()
    }
}

/// Whether something that takes room came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Now,
    Before,
}

impl Stored {
    pub(crate) fn age(&self) -> Duration {
        self.term.age + clock::now().saturating_duration_since(self.since)
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        size_of::<Self>() + headers + self.variant.bytes() + self.payload.bytes()
    }

    /// It was asked for again and is still good: `newer` is the head that said so.
    pub(crate) fn freshened(&self, newer: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in newer.keys() {
            let about_content = [
                header::CONTENT_LENGTH,
                header::CONTENT_ENCODING,
                header::CONTENT_TYPE,
                header::CONTENT_RANGE,
            ];
            if about_content.contains(name) {
                continue;
            }
            headers.remove(name);
            for value in newer.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        if !newer.contains_key(header::AGE) {
            headers.remove(header::AGE);
        }
        headers
    }
}

/// The headers worth keeping, each in memory of its own: those that came share one buffer with
/// everything else that was read, which would be kept with them.
pub(crate) fn kept(headers: &HeaderMap) -> HeaderMap {
    let unkept = Control::of(headers).unkept;
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let about_the_moment: [HeaderName; 3] = [REQUEST_ID, header::CONTENT_LENGTH, CACHE_STATUS];
        if about_the_moment.contains(name) || unkept.contains(name) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            kept.append(name, value);
        }
    }
    kept
}

/// RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
