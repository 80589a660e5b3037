//! `/orders/{id}/live`: an order's page kept current.
//!
//! The service that owns orders says when something changed (SSE, with the customer's token,
//! which the browser's script never sees); we send on the piece of the page that shows it. When
//! orders is away the stream stays open, says that it is waiting, and asks again, so a restart
//! behind the shop is a pause in the page and not an error.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::BodyDataStream;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use store_kit::{Backoff, OrderId, jitter};
use tokio::sync::OwnedSemaphorePermit;

use crate::App;
use crate::back::orders::Order;
use crate::pages::orders::just_sent;
use crate::timeline;
use crate::visit::{Pass, Visit};

/// Orders sends at least a comment every 15 s; a stream that is silent for longer is dead.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A browser comes back by itself, with a fresh session.
const LIFE_MAX: Duration = Duration::from_secs(20 * 60);
const FRAME_BYTES_MAX: usize = 256 * 1024;
const AGAIN: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(5) };

pub(crate) async fn live(mut visit: Visit, Path(id): Path<OrderId>) -> Response {
    let token = match visit.pass().await {
        Pass::Token(token) => token,
        // 204 tells the browser not to come back.
        Pass::Nobody | Pass::Ended => return StatusCode::NO_CONTENT.into_response(),
    };
    let shop = App::clone(&visit.shop);
    let Ok(seat) = Arc::clone(&shop.live).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response();
    };
    let remember = visit.remember(StatusCode::OK.into_response());
    let watch = Watch {
        visit,
        id,
        token,
        from: None,
        ready: VecDeque::new(),
        failures: 0,
        began: Instant::now(),
        over: false,
        _seat: seat,
    };
    let mut response = Sse::new(events(shop, watch)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if let Some(cookie) = remember.headers().get(header::SET_COOKIE) {
        response.headers_mut().insert(header::SET_COOKIE, cookie.clone());
    }
    response
}

fn events(shop: App, watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((shop, watch), |(shop, mut watch)| async move {
        let event = tokio::select! {
            biased;
            () = shop.stop.stopped() => None,
            event = watch.next() => event,
        };
        event.map(|event| (Ok(event), (shop, watch)))
    })
}

/// One browser watching one order.
struct Watch {
    visit: Visit,
    id: OrderId,
    token: String,
    from: Option<Upstream>,
    ready: VecDeque<Event>,
    failures: u32,
    began: Instant,
    over: bool,
    /// Given back when the browser goes away.
    _seat: OwnedSemaphorePermit,
}

struct Upstream {
    body: BodyDataStream,
    frames: Frames,
}

impl Watch {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over || self.began.elapsed() > LIFE_MAX {
                return None;
            }
            if self.from.is_some() {
                self.read().await;
            } else {
                self.connect().await;
            }
        }
    }

    async fn connect(&mut self) {
        if self.failures > 0 {
            tokio::time::sleep(AGAIN.wait(self.failures, 0.5 + jitter() / 2.0)).await;
        }
        let answer = self.visit.shop.back.orders.events(&self.token, &self.id).await;
        let status = answer.as_ref().map_or(503, |r| r.status().as_u16());
        match answer {
            Ok(response) if status == 200 => {
                self.failures = 0;
                self.from = Some(Upstream {
                    body: response.into_body().into_data_stream(),
                    frames: Frames::default(),
                });
            }
            // Sent a moment ago: checkout has it and orders does not know it yet.
            _ if status == 404 && just_sent(&self.visit, &self.id) => self.wait(),
            _ if matches!(status, 401 | 403 | 404) => {
                self.over = true;
                self.ready.push_back(Event::default().event("ended").data("-"));
            }
            _ => self.wait(),
        }
    }

    fn wait(&mut self) {
        self.failures += 1;
        let words = self
            .visit
            .t("Waiting for news of this order…", "En attente de nouvelles de cette commande…");
        self.ready.push_back(Event::default().event("waiting").data(words));
    }

    async fn read(&mut self) {
        let Some(from) = &mut self.from else { return };
        match tokio::time::timeout(SILENCE_MAX, from.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                let frames = from.frames.push(&bytes);
                match frames {
                    Some(frames) => {
                        if frames.is_empty() {
                            self.ready.push_back(Event::default().comment("-"));
                        }
                        for frame in frames {
                            self.show(&frame);
                        }
                    }
                    None => self.lose("a frame without end"),
                }
            }
            Ok(Some(Err(error))) => self.lose(&error.to_string()),
            Ok(None) => self.lose("it ended"),
            Err(_) => self.lose("it fell silent"),
        }
    }

    fn lose(&mut self, why: &str) {
        tracing::info!(why, order_id = %self.id, "the stream of an order broke off; asking again");
        self.from = None;
        self.wait();
    }

    fn show(&mut self, frame: &Frame) {
        if frame.event != "order" {
            return;
        }
        match serde_json::from_str::<Order>(&frame.data) {
            Ok(order) => {
                let piece = timeline::piece(&self.visit, &order).into_string();
                self.ready.push_back(Event::default().event("order").data(piece));
                self.over = order.is_over();
            }
            Err(error) => tracing::warn!(%error, order_id = %self.id, "an order of another shape"),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Frame {
    event: String,
    data: String,
}

/// Cuts a byte stream into server-sent events.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    /// The events that are complete with these bytes; `None` when one grows beyond all bounds.
    fn push(&mut self, bytes: &[u8]) -> Option<Vec<Frame>> {
        self.rest.extend(bytes.iter().filter(|b| **b != b'\r'));
        let mut frames = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let frame: Vec<u8> = self.rest.drain(..end + 2).collect();
            let frame = parse(&String::from_utf8_lossy(&frame));
            if !frame.data.is_empty() {
                frames.push(frame);
            }
        }
        (self.rest.len() <= FRAME_BYTES_MAX).then_some(frames)
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut frame.event),
            "data" => {
                if !frame.data.is_empty() {
                    frame.data.push('\n');
                }
                frame.data.push_str(value);
            }
            _ => {}
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let whole = b": hello\n\nevent: order\ndata: {\"a\":\ndata: 1}\n\nevent:x\r\ndata:y\r\n\r\nevent: order\nda";
        for cut in 1..whole.len() {
            let mut frames = Frames::default();
            let mut found = frames.push(&whole[..cut]).unwrap();
            found.extend(frames.push(&whole[cut..]).unwrap());
            assert_eq!(
                found,
                [
                    Frame { event: "order".into(), data: "{\"a\":\n1}".into() },
                    Frame { event: "x".into(), data: "y".into() }
                ],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_frame_without_end_is_given_up() {
        let mut frames = Frames::default();
        assert!((0..10).any(|_| frames.push(&[b'x'; 64 * 1024]).is_none()));
    }
}
