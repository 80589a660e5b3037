//! A corpus of requests that two programs on the way might read differently.
//!
//! Each is sent as it stands to the gateway, with an app behind that reads as strictly as can be
//! and notes everything: no request with two readings may reach it, none that nobody sent, and a
//! visitor who comes next must get an answer of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_gateway::Limits;
use archipel_rt::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

pub(crate) mod frames;
mod strict;

use strict::Reading;

/// A case of the corpus.
struct Case {
    name: String,
    verdict: String,
    lines: Vec<String>,
}

fn corpus(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("= ") {
            let (name, verdict) = head.split_once(": ").unwrap();
            let (name, verdict) = (name.to_owned(), verdict.to_owned());
            cases.push(Case { name, verdict, lines: Vec::new() });
        } else {
            cases.last_mut().unwrap().lines.push(line.to_owned());
        }
    }
    cases
}

/// `\r`, `\n`, `\t`, `\\` and `\x00` as the bytes they stand for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        match rest.next().unwrap() {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                let digits = [*rest.next().unwrap(), *rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            other => panic!("nobody knows \\{}", char::from(*other)),
        }
    }
    bytes
}

/// The gateway, and the app that notes all it is sent.
struct Stage {
    world: World,
    seen: Arc<Mutex<Vec<Reading>>>,
}

impl Stage {
    async fn new() -> Self {
        let limits = Limits {
            upload_window: Duration::from_millis(200),
            head_timeout: Duration::from_millis(400),
            ..Limits::default()
        };
        let world = World::with(limits);
        let (listener, addr) = world.raw().await;
        let seen: Arc<Mutex<Vec<Reading>>> = Arc::default();
        let (notes, tasks, stop) =
            (Arc::clone(&seen), world.tasks.clone(), world.tasks.stop_token());
        world.tasks.spawn("test.strict", async move {
            loop {
                let (stream, _) = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                tasks.spawn("test.strict-connection", strict::serve(stream, Arc::clone(&notes)));
            }
        });
        let routes = ["a.test/** -> a", "b.test/** -> a"];
        let plan = Plan::default().service("a", &[addr]).public(&["a.test", "b.test"], &routes);
        world.apply(plan.table()).await;
        Self { world, seen }
    }

    fn addr(&self) -> SocketAddr {
        self.world.addr("public")
    }

    /// What is wrong with how the case went; `answer` is the first status, if any came.
    async fn judge(&self, case: &Case, answer: Option<u16>) -> Vec<String> {
        let mut faults = Vec::new();
        let victim = self.victim().await;
        if victim != "/victim" {
            faults.push(format!("the next visitor got the answer for `{victim}`"));
        }
        let seen: Vec<Reading> = std::mem::take(&mut *self.seen.lock().unwrap());
        let whole: Vec<&Reading> = seen.iter().filter(|r| r.target != "/victim").collect();
        for reading in &whole {
            faults.extend(reading.faults.iter().map(|fault| format!("the app saw {fault}")));
            if reading.target.contains("smuggled") {
                faults.push("the app saw the request that nobody sent".to_owned());
            }
        }
        let whole = whole.iter().filter(|r| r.is_whole && r.target != "/sentinel").count();
        let verdict: Vec<&str> = case.verdict.split(' ').collect();
        match verdict[0] {
            "refused" => {
                if answer.is_some_and(|status| status < 400) || whole > 0 {
                    faults.push(format!("not refused: {answer:?}, the app saw {whole}"));
                }
            }
            "broken" => {
                if answer.is_some_and(|status| status < 400) || whole > 0 {
                    faults.push(format!("not broken off: {answer:?}, the app saw {whole}"));
                }
            }
            "reset" => {
                if answer.is_some_and(|status| status < 400) || whole > 1 {
                    faults.push(format!("not reset: {answer:?}, the app saw {whole}"));
                }
            }
            "one" => {
                if answer != Some(200) || whole != 1 {
                    faults.push(format!("expected one request: {answer:?}, the app saw {whole}"));
                }
                let host = verdict.get(1).and_then(|word| word.strip_prefix("host="));
                if host.is_some_and(|host| seen.iter().all(|reading| reading.host != host)) {
                    faults.push(format!("not for that host: {seen:?}"));
                }
            }
            other => faults.push(format!("no verdict is called {other}")),
        }
        faults
    }

    async fn victim(&self) -> String {
        let mut request = get("/victim");
        request.headers_mut().insert("host", "a.test".parse().unwrap());
        text(self.world.send(self.addr(), request).await).await
    }
}

fn report(all: &[(String, Vec<String>)]) {
    let bad: Vec<String> = all
        .iter()
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(name, faults)| format!("{name}: {}", faults.join("; ")))
        .collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), all.len(), bad.join("\n"));
}

#[tokio::test]
async fn nothing_with_two_readings_comes_through_over_http1() {
    let stage = Stage::new().await;
    let mut all = Vec::new();
    for case in corpus(include_str!("smuggling/http1.txt")) {
        let raw: Vec<u8> =
            case.lines.iter().flat_map(|line| bytes(line.strip_prefix('|').unwrap())).collect();
        let mut stream = TcpStream::connect(stage.addr()).await.unwrap();
        stream.write_all(&raw).await.unwrap();
        let first = answer(&mut stream).await;
        // Whatever is left in between would become part of this one.
        let sentinel = b"GET /sentinel HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        if stream.write_all(sentinel).await.is_ok() {
            let _ = clock::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
        }
        let faults = stage.judge(&case, first).await;
        all.push((case.name, faults));
    }
    report(&all);
}

/// The status of the first answer, once its head is here.
async fn answer(stream: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    loop {
        let read = clock::timeout(PATIENCE, stream.read_buf(&mut head)).await.expect("an end");
        let interim = head.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n");
        if interim {
            head.drain(..25);
        }
        if let Some(line) = head.windows(2).position(|two| two == b"\r\n") {
            let line = std::str::from_utf8(&head[..line]).ok()?;
            return line.split(' ').nth(1)?.parse().ok();
        }
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
}

#[tokio::test]
async fn nothing_with_two_readings_comes_through_over_http2() {
    let stage = Stage::new().await;
    let mut all = Vec::new();
    for case in corpus(include_str!("smuggling/http2.txt")) {
        let mut headers = Vec::new();
        let mut body = Vec::new();
        for line in &case.lines {
            match line.strip_prefix('~') {
                Some(data) => body.extend(bytes(data)),
                None => {
                    let (name, value) = line.split_once(" =").unwrap();
                    headers.push((bytes(name), bytes(value.strip_prefix(' ').unwrap_or(""))));
                }
            }
        }
        let first = frames::exchange(stage.addr(), &headers, &body).await;
        let faults = stage.judge(&case, first).await;
        all.push((case.name, faults));
    }
    report(&all);
}
