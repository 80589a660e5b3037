//! An app that reads as RFC 9112 has it and not a bit more kindly.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLAIMS: [&str; 4] =
    ["content-length", "transfer-encoding", "x-forwarded-for", "dapr-caller-app-id"];

/// One request as the app saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) target: String,
    pub(super) host: String,
    /// Its body ended as it said.
    pub(super) is_whole: bool,
    /// What somebody else might have read differently.
    pub(super) faults: Vec<String>,
}

/// Answers each request with its target, until one is not whole.
pub(super) async fn serve(mut stream: TcpStream, notes: Arc<Mutex<Vec<Reading>>>) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = fill_until(&mut stream, &mut buffer, b"\r\n\r\n").await else { return };
        let head: Vec<u8> = buffer.drain(..end).collect();
        let (mut reading, framing) = read_head(&head[..head.len() - 4]);
        reading.is_whole = match framing {
            Framing::Length(length) => fill(&mut stream, &mut buffer, length).await,
            Framing::Chunked => chunks(&mut stream, &mut buffer, &mut reading.faults).await,
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
            reading.target.len(),
            reading.target
        );
        let goes_on = reading.is_whole;
        notes.lock().unwrap().push(reading);
        if !goes_on || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

fn read_head(head: &[u8]) -> (Reading, Framing) {
    let mut reading = Reading::default();
    let mut framing: Vec<Framing> = Vec::new();
    let mut hosts = 0;
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut fault = |text: String| reading.faults.push(text);
    if head.contains(&0) {
        fault("a zero byte".to_owned());
    }
    let first = lines.next().unwrap_or_default();
    let words: Vec<&[u8]> =
        first.strip_suffix(b"\r").unwrap_or(first).split(|b| *b == b' ').collect();
    if words.len() != 3 || words[2] != b"HTTP/1.1" || !words[1].starts_with(b"/") {
        fault(format!("the line {:?}", String::from_utf8_lossy(first)));
    }
    let target = String::from_utf8_lossy(words.get(1).copied().unwrap_or_default()).into_owned();
    let all: Vec<&[u8]> = lines.collect();
    let mut host = String::new();
    for (at, line) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        let shown = String::from_utf8_lossy(line).into_owned();
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if is_last => line,
            None => {
                fault(format!("a bare line feed: {shown:?}"));
                continue;
            }
        };
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            fault(format!("a line that is no header: {shown:?}"));
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) || line.contains(&b'\r') {
            fault(format!("a malformed header: {shown:?}"));
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = String::from_utf8_lossy(value).into_owned();
        match name.as_str() {
            "content-length" => match value.parse() {
                Ok(length) if value == format!("{length}") => framing.push(Framing::Length(length)),
                _ => fault(format!("the length {value:?}")),
            },
            "transfer-encoding" if value == "chunked" => framing.push(Framing::Chunked),
            "transfer-encoding" => fault(format!("the coding {value:?}")),
            "host" => {
                hosts += 1;
                host = value;
            }
            "connection" if value.eq_ignore_ascii_case("upgrade") => {}
            "upgrade" if value.contains("h2c") => fault("a wish for h2c".to_owned()),
            // By CGI, WSGI and their like these are the same as with hyphens.
            name if name.contains('_') => {
                let hyphens = name.replace('_', "-");
                if CLAIMS.contains(&hyphens.as_str()) {
                    fault(format!("{hyphens} with underscores"));
                }
            }
            "x-forwarded-for" if value != "127.0.0.1" => fault(format!("the client {value}")),
            _ => {}
        }
    }
    if hosts != 1 {
        fault(format!("{hosts} hosts"));
    }
    if framing.len() > 1 {
        fault("two framings".to_owned());
    }
    (reading.target, reading.host) = (target, host);
    (reading, framing.pop().unwrap_or(Framing::Length(0)))
}

async fn chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>, faults: &mut Vec<String>) -> bool {
    loop {
        let Some(end) = fill_until(stream, buffer, b"\r\n").await else { return false };
        let line: Vec<u8> = buffer.drain(..end).collect();
        let text = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let Ok(size) = usize::from_str_radix(&text, 16) else {
            faults.push(format!("the chunk size {text:?}"));
            return false;
        };
        if size == 0 {
            break;
        }
        if !fill(stream, buffer, size + 2).await {
            return false;
        }
    }
    loop {
        let Some(end) = fill_until(stream, buffer, b"\r\n").await else { return false };
        let line: Vec<u8> = buffer.drain(..end).collect();
        if line == b"\r\n" {
            return true;
        }
        let name = String::from_utf8_lossy(&line).to_ascii_lowercase();
        let name = name.split(':').next().unwrap_or_default().to_owned();
        if ["content-length", "transfer-encoding", "host", "x-forwarded-for"]
            .contains(&name.as_str())
        {
            faults.push(format!("`{name}` in a trailer"));
        }
    }
}

/// Takes `count` bytes away, if they come.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, count: usize) -> bool {
    while buffer.len() < count {
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return false;
        }
    }
    buffer.drain(..count);
    true
}

/// Where the bytes after `mark` begin.
async fn fill_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            return Some(at + mark.len());
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}
