//! Mail by SMTP: one message, one connection.
//!
//! Small on purpose: EHLO, STARTTLS, AUTH PLAIN, and a text in base64, so that no line of it can
//! be taken for a command.

use std::time::Duration;

use archipel_model::{Mail, MailTls};
use archipel_rt::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Outcome;
use crate::client::{connect, handshake};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that says more is none.
const REPLY_BYTES_MAX: usize = 16 << 10;

/// Why it was not sent, and whether another try may do better.
struct Fault {
    why: String,
    for_good: bool,
}

fn fault(why: impl std::fmt::Display) -> Fault {
    Fault { why: why.to_string(), for_good: false }
}

pub(super) async fn send(
    mail: &Mail,
    password: Option<&str>,
    subject: &str,
    text: &str,
    id: &str,
    now_ms: u64,
) -> Outcome {
    let letter = letter(mail, subject, text, id, now_ms);
    match clock::timeout(TIMEOUT, talk(mail, password, &letter)).await {
        Ok(Ok(())) => Outcome::Delivered,
        Ok(Err(Fault { why, for_good: true })) => Outcome::Refused(why),
        Ok(Err(Fault { why, .. })) => Outcome::Later(why, None),
        Err(_) => Outcome::Later("the mail server did not answer in time".to_owned(), None),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Talk<S>(BufReader<S>);

async fn talk(mail: &Mail, password: Option<&str>, letter: &str) -> Result<(), Fault> {
    let tcp = connect(&mail.host, mail.port, None).await.map_err(fault)?;
    match mail.tls {
        MailTls::Off => {
            let mut talk = Talk(BufReader::new(tcp));
            talk.greet().await?;
            talk.rest(mail, password, letter).await
        }
        MailTls::Always => {
            let (stream, _) = handshake(tcp, &mail.host, false).await.map_err(fault)?;
            let mut talk = Talk(BufReader::new(stream));
            talk.greet().await?;
            talk.rest(mail, password, letter).await
        }
        MailTls::Starttls => {
            let mut talk: Talk<TcpStream> = Talk(BufReader::new(tcp));
            talk.greet().await?;
            talk.say("STARTTLS", 220).await?;
            // What was sent before the handshake is not taken for an answer after it.
            let (stream, _) =
                handshake(talk.0.into_inner(), &mail.host, false).await.map_err(fault)?;
            let mut talk = Talk(BufReader::new(stream));
            talk.say("EHLO archipel", 250).await?;
            talk.rest(mail, password, letter).await
        }
    }
}

impl<S: Stream> Talk<S> {
    async fn greet(&mut self) -> Result<(), Fault> {
        self.reply(220).await?;
        self.say("EHLO archipel", 250).await
    }

    async fn rest(
        &mut self,
        mail: &Mail,
        password: Option<&str>,
        letter: &str,
    ) -> Result<(), Fault> {
        if let (Some(user), Some(password)) = (&mail.user, password) {
            let plain = STANDARD.encode(format!("\0{user}\0{password}"));
            self.say(&format!("AUTH PLAIN {plain}"), 235).await?;
        }
        self.say(&format!("MAIL FROM:<{}>", mail.from), 250).await?;
        for to in &mail.to {
            self.say(&format!("RCPT TO:<{to}>"), 250).await?;
        }
        self.say("DATA", 354).await?;
        self.say(&format!("{letter}\r\n."), 250).await?;
        // It has it; whether it says good-bye does not matter.
        let _ = self.say("QUIT", 221).await;
        Ok(())
    }

    async fn say(&mut self, line: &str, expected: u16) -> Result<(), Fault> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.map_err(fault)?;
        self.0.get_mut().flush().await.map_err(fault)?;
        self.reply(expected).await
    }

    async fn reply(&mut self, expected: u16) -> Result<(), Fault> {
        // As bytes: some say it in an alphabet of their own. And no more than is asked for, also
        // of a line that has no end.
        let mut left = REPLY_BYTES_MAX as u64;
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(left).read_until(b'\n', &mut line).await;
            left -= read.map_err(fault)? as u64;
            if !line.ends_with(b"\n") {
                return Err(fault("the mail server broke off"));
            }
            let line = String::from_utf8_lossy(&line);
            // `250-` goes on, `250 ` ends.
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            if code == expected {
                return Ok(());
            }
            let why = format!("the mail server answered: {}", line.trim());
            return Err(Fault { why, for_good: (500..600).contains(&code) });
        }
    }
}

fn letter(mail: &Mail, subject: &str, text: &str, id: &str, now_ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms / 1_000).unwrap_or(0));
    let date =
        at.ok().and_then(|at| at.format(&time::format_description::well_known::Rfc2822).ok());
    let host = mail.from.rsplit_once('@').map_or("archipel", |(_, host)| host);
    let mut body = String::new();
    for line in STANDARD.encode(text).as_bytes().chunks(76) {
        body.push_str(&String::from_utf8_lossy(line));
        body.push_str("\r\n");
    }
    format!(
        "From: Archipel <{}>\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{id}@{host}>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{body}",
        mail.from,
        mail.to.join(", "),
        encoded_words(subject),
        date.unwrap_or_default(),
    )
}

/// A header of any text: words of at most 75 bytes, on lines of their own.
fn encoded_words(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    if plain.is_ascii() && plain.len() <= 60 {
        return plain;
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for c in plain.chars() {
        if word.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    encoded.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn replied(said: &'static [u8]) -> Result<(), String> {
        let (mut server, client) = tokio::io::duplex(64 << 10);
        server.write_all(said).await.expect("room");
        // Still open: an answer without an end must not be waited for.
        let reply = async { Talk(BufReader::new(client)).reply(250).await.map_err(|f| f.why) };
        let reply = clock::timeout(Duration::from_secs(20), reply).await;
        drop(server);
        reply.expect("it ends by itself")
    }

    #[tokio::test]
    async fn replies_are_bounded_and_of_any_alphabet() {
        assert_eq!(replied(b"250-gr\xfc\xdfe\r\n250 SIZE\r\n").await, Ok(()));
        let refused = replied(b"451 sp\xe4ter\r\n").await;
        assert!(refused.is_err_and(|why| why.contains("451")));
        static ENDLESS: [u8; 32 << 10] = [b'2'; 32 << 10];
        assert!(replied(&ENDLESS).await.is_err());
    }

    #[test]
    fn no_text_can_become_a_command_or_a_header() {
        let mail = Mail {
            to: vec!["a@example.org".into()],
            from: "b@example.org".into(),
            host: "h".into(),
            port: 25,
            tls: MailTls::Off,
            user: None,
            password: None,
        };
        let letter = letter(&mail, "ä\r\nBcc: c@example.org", "x\r\n.\r\nQUIT", "i", 0);
        assert!(!letter.contains("Bcc") && !letter.contains("QUIT"), "{letter}");
        assert!(letter.lines().all(|line| line != "." && line.len() < 100), "{letter}");
    }
}
