//! HTTP/2 written by hand, so that it may say what no library would.

use std::net::SocketAddr;

use archipel_rt::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::PATIENCE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as HPACK literals without names from a table.
pub(crate) fn fields(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte for the length");
            block.push(text.len() as u8);
            block.extend(text);
        }
    }
    block
}

pub(crate) async fn open(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    stream.write_all(&hello).await.unwrap();
    stream
}

/// One frame: kind, stream, payload.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], id, payload))
}

/// Sends one request and returns its status; `None` when the stream or the connection ends first.
pub(super) async fn exchange(
    addr: SocketAddr,
    headers: &[(Vec<u8>, Vec<u8>)],
    body: &[u8],
) -> Option<u16> {
    let mut stream = open(addr).await;
    let ends = if body.is_empty() { END_STREAM } else { 0 };
    let mut request = frame(HEADERS, END_HEADERS | ends, 1, &fields(headers));
    if !body.is_empty() {
        request.extend(frame(DATA, END_STREAM, 1, body));
    }
    stream.write_all(&request).await.unwrap();
    let reading = async {
        loop {
            match read_frame(&mut stream).await? {
                (HEADERS, 1, block) => return status(&block),
                (RST_STREAM, 1, _) | (GOAWAY, _, _) => return None,
                _ => {}
            }
        }
    };
    clock::timeout(PATIENCE, reading).await.expect("an answer or an end")
}

/// The first field of a block of ours: `:status`, by the static table or as a literal.
fn status(block: &[u8]) -> Option<u16> {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match block.first()? {
        first @ 0x88..=0x8e => Some(known[usize::from(first - 0x88)]),
        _ => {
            // A literal with an indexed name: three digits, plain or by Huffman's code, where
            // `0`, `1`, `2` have five bits and the rest six.
            let length = block.get(1)?;
            let value = block.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                return std::str::from_utf8(value).ok()?.parse().ok();
            }
            let mut bits = value.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
                << (64 - value.len() * 8);
            let mut number = 0;
            for _ in 0..3 {
                let five = (bits >> 59) as u16;
                let (digit, used) = match five {
                    0..=2 => (five, 5),
                    _ => ((bits >> 58) as u16 - 0x19 + 3, 6),
                };
                number = number * 10 + digit;
                bits <<= used;
            }
            Some(number)
        }
    }
}
