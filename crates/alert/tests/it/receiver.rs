//! Servers that a test talks to: one that remembers what it was sent, a small shop, a mail server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_testkit::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    asked: usize,
    taken: Vec<Taken>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Taken> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Taken { line: line.trim().to_owned(), headers, body })
}

async fn answer(stream: &mut BufReader<TcpStream>, status: u16, headers: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await;
}

#[expect(clippy::disallowed_methods, reason = "ends with the test")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

impl Receiver {
    /// The first answers are these, then it takes all.
    pub(crate) async fn start(first: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        let shared = Arc::clone(&seen);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Some(taken) = read(&mut stream).await else { continue };
                let status = {
                    let mut seen = shared.lock().unwrap();
                    seen.asked += 1;
                    let status = first.get(seen.asked - 1).copied().unwrap_or(204);
                    if status < 300 {
                        seen.taken.push(taken);
                    }
                    status
                };
                answer(&mut stream, status, "", "").await;
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn asked(&self) -> usize {
        self.seen.lock().unwrap().asked
    }

    pub(crate) async fn taken(&self, count: usize) -> Vec<Taken> {
        eventually(Duration::from_secs(30), || async {
            let taken = self.seen.lock().unwrap().taken.clone();
            if taken.len() >= count { Ok(taken) } else { Err(taken) }
        })
        .await
    }

    /// A home page with a product, and a cart that is only shown to who has the cookie.
    pub(crate) async fn shop() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Some(asked) = read(&mut stream).await else { continue };
                let cookie = asked.headers.get("cookie").cloned().unwrap_or_default();
                assert_eq!(asked.headers["host"], "shop.test");
                let body = String::from_utf8_lossy(&asked.body).into_owned();
                match asked.line.split(' ').nth(1).unwrap() {
                    "/" => {
                        let page = "<a href=\"/products/p-1?a=1&amp;b=2\">one</a>";
                        answer(&mut stream, 200, "set-cookie: visit=v1; Path=/\r\n", page).await;
                    }
                    "/products/p-1?a=1&b=2" if cookie == "visit=v1" => {
                        // Larger than what is looked at.
                        let page = format!("this is p-1{}", " ".repeat(3 << 20));
                        answer(&mut stream, 200, "", &page).await;
                    }
                    "/cart" if cookie == "visit=v1" && body == "add=/products/p-1?a=1&b=2" => {
                        answer(&mut stream, 303, "location: /cart\r\n", "").await;
                    }
                    _ => answer(&mut stream, 404, "", "").await,
                }
            }
        });
        Self { address, seen }
    }
}

/// Takes one mail; gives its port and what was said to it.
pub(crate) async fn smtp() -> (u16, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, talk) = oneshot::channel();
    spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut all = String::new();
        let mut say = "220 hello\r\n";
        let mut in_letter = false;
        loop {
            if !say.is_empty() && stream.get_mut().write_all(say.as_bytes()).await.is_err() {
                break;
            }
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                break;
            }
            all.push_str(&line);
            say = match (in_letter, line.trim()) {
                (true, ".") => {
                    in_letter = false;
                    "250 taken\r\n"
                }
                (true, _) => "",
                (false, "DATA") => {
                    in_letter = true;
                    "354 go on\r\n"
                }
                (false, "QUIT") => "221 bye\r\n",
                (false, line) if line.starts_with("AUTH") => "235 welcome\r\n",
                (false, line) if line.starts_with("EHLO") => "250-here\r\n250 AUTH PLAIN\r\n",
                _ => "250 ok\r\n",
            };
        }
        let _ = told.send(all);
    });
    (port, talk)
}
