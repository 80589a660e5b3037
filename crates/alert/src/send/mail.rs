//! Mail by SMTP: one message, one connection.
//!
//! Small on purpose: EHLO, STARTTLS, AUTH PLAIN, and a text in base64, so that no line of it can
//! be taken for a command.

use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Mail, MailTls};
use archipel_rt::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Outcome;
use crate::client::{config, connect, handshake_with};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that says more is none.
const REPLY_BYTES_MAX: usize = 16 << 10;

/// Why it was not sent, and whether another try may do better.
struct Fault {
    why: String,
    for_good: bool,
    /// By the server, with which the talk may go on.
    answered: bool,
}

fn fault(why: impl std::fmt::Display) -> Fault {
    Fault { why: why.to_string(), for_good: false, answered: false }
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
    let trust = || config(false);
    match clock::timeout(TIMEOUT, talk(mail, password, &letter, trust)).await {
        Ok(Ok(())) => Outcome::Delivered,
        Ok(Err(Fault { why, for_good: true, .. })) => Outcome::Refused(why),
        Ok(Err(Fault { why, .. })) => Outcome::Later(why, None),
        Err(_) => Outcome::Later("the mail server did not answer in time".to_owned(), None),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Talk<S>(BufReader<S>);

async fn talk(
    mail: &Mail,
    password: Option<&str>,
    letter: &str,
    trust: impl Fn() -> Result<Arc<ClientConfig>, String>,
) -> Result<(), Fault> {
    let shake = async |tcp| {
        let trust = trust().map_err(fault)?;
        let (stream, _) = handshake_with(trust, tcp, &mail.host).await.map_err(fault)?;
        Ok::<_, Fault>(Talk(BufReader::new(stream)))
    };
    let tcp = connect(&mail.host, mail.port, None).await.map_err(fault)?;
    match mail.tls {
        MailTls::Off => {
            let mut talk = Talk(BufReader::new(tcp));
            talk.greet().await?;
            talk.rest(mail, password, letter).await
        }
        MailTls::Always => {
            let mut talk = shake(tcp).await?;
            talk.greet().await?;
            talk.rest(mail, password, letter).await
        }
        MailTls::Starttls => {
            let mut talk: Talk<TcpStream> = Talk(BufReader::new(tcp));
            talk.greet().await?;
            talk.say("STARTTLS", 220).await?;
            // What was sent before the handshake is not taken for an answer after it.
            let mut talk = shake(talk.0.into_inner()).await?;
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
        // One address that the server does not take must not keep the others from being told; and
        // trying again for its sake would tell them twice.
        let mut refused = None;
        let mut taken = 0;
        for to in &mail.to {
            match self.say(&format!("RCPT TO:<{to}>"), 250).await {
                Ok(()) => taken += 1,
                Err(no) if no.answered => {
                    tracing::warn!(%to, why = no.why, "a mail server does not take this recipient");
                    // Worth another try, if any of them is.
                    if refused.as_ref().is_none_or(|known: &Fault| known.for_good) {
                        refused = Some(no);
                    }
                }
                Err(broken) => return Err(broken),
            }
        }
        if let Some(no) = refused.filter(|_| taken == 0) {
            return Err(no);
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
            let for_good = (500..600).contains(&code);
            return Err(Fault { why, for_good, answered: code > 0 });
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
    use tokio_rustls::TlsAcceptor;

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

    fn mail(tls: MailTls, port: u16) -> Mail {
        Mail {
            to: vec!["gone@example.org".into(), "here@example.org".into()],
            from: "b@example.org".into(),
            host: "localhost".into(),
            port,
            tls,
            user: Some("ops".into()),
            password: None,
        }
    }

    /// Talks as far as it goes, under TLS from `secure_at` on; everything said to it, and what of
    /// it was in the clear.
    async fn serve(
        stream: TcpStream,
        tls: TlsAcceptor,
        at_once: bool,
        refuse: &'static [&'static str],
    ) -> (String, String) {
        let (mut clear, mut all) = (String::new(), String::new());
        let mut stream: Box<dyn Stream> = match at_once {
            true => Box::new(tls.accept(stream).await.expect("a handshake")),
            false => {
                let mut talk = BufReader::new(stream);
                talk.write_all(b"220 hello\r\n").await.expect("written");
                for answer in ["250 STARTTLS", "220 go on"] {
                    talk.read_line(&mut clear).await.expect("a line");
                    talk.write_all(format!("{answer}\r\n").as_bytes()).await.expect("written");
                }
                Box::new(tls.accept(talk.into_inner()).await.expect("a handshake"))
            }
        };
        if at_once {
            stream.write_all(b"220 hello\r\n").await.expect("written");
        }
        let mut stream = BufReader::new(stream);
        let mut letter = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return (clear, all);
            }
            let said = line.trim();
            let answer = match said {
                "." => "250 taken",
                _ if letter => "",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ if said.starts_with("AUTH") => "235 welcome",
                _ if refuse.iter().any(|word| said.contains(word)) => "550 nobody of that name",
                _ => "250 ok",
            };
            letter = (letter || said == "DATA") && said != ".";
            if !answer.is_empty() {
                let answer = format!("{answer}\r\n");
                // Who has been told good-bye may have gone.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.flush().await;
            }
            all.push_str(&line);
        }
    }

    /// A server of a certain name and one who trusts it.
    fn pair() -> (TlsAcceptor, Arc<ClientConfig>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = own.signing_key.serialize_der().try_into().expect("a key");
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own.cert.der().clone()).expect("an authority");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (TlsAcceptor::from(Arc::new(server)), Arc::new(client))
    }

    async fn sent(
        tls: MailTls,
        trusted: bool,
        refuse: &'static [&'static str],
    ) -> (Result<(), (String, bool)>, (String, String)) {
        let (acceptor, client) = pair();
        let listener = tokio::net::TcpListener::bind("localhost:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let client = if trusted { client } else { pair().1 };
        let mail = mail(tls, port);
        let talk = talk(&mail, Some("pw"), "Subject: x\r\n\r\nbody", || Ok(client.clone()));
        let server = async {
            let (stream, _) = listener.accept().await.expect("a client");
            if trusted {
                return serve(stream, acceptor, tls == MailTls::Always, refuse).await;
            }
            assert!(acceptor.accept(stream).await.is_err(), "nobody trusts it");
            Default::default()
        };
        let (told, heard) = tokio::join!(talk, server);
        (told.map_err(|no| (no.why, no.for_good)), heard)
    }

    #[tokio::test]
    async fn a_password_goes_only_under_tls_at_once_or_after_starttls() {
        let auth = format!("AUTH PLAIN {}", STANDARD.encode("\0ops\0pw"));
        for tls in [MailTls::Always, MailTls::Starttls] {
            let (told, (clear, all)) = sent(tls, true, &[]).await;
            assert_eq!(told, Ok(()));
            assert!(all.contains(&auth) && all.contains("body"), "{all}");
            assert!(!clear.contains("AUTH") && !clear.contains("MAIL"), "{clear}");
        }
        let (told, _) = sent(MailTls::Always, false, &[]).await;
        let (why, for_good) = told.expect_err("not who it says");
        assert!(why.contains("no TLS with localhost") && !for_good, "{why}");
    }

    #[tokio::test]
    async fn one_recipient_who_is_refused_does_not_keep_the_letter_from_the_others() {
        let (told, (_, all)) = sent(MailTls::Always, true, &["RCPT TO:<gone@"]).await;
        assert_eq!(told, Ok(()));
        assert!(all.contains("RCPT TO:<here@example.org>") && all.contains("body"), "{all}");
        let (told, (_, all)) = sent(MailTls::Always, true, &["RCPT"]).await;
        let (why, for_good) = told.expect_err("nobody is left");
        assert!(why.contains("550") && for_good && !all.contains("DATA"), "{why}: {all}");
    }

    #[test]
    fn no_text_can_become_a_command_or_a_header() {
        let mail = mail(MailTls::Off, 25);
        let letter = letter(&mail, "ä\r\nBcc: c@example.org", "x\r\n.\r\nQUIT", "i", 0);
        assert!(!letter.contains("Bcc") && !letter.contains("QUIT"), "{letter}");
        assert!(letter.lines().all(|line| line != "." && line.len() < 100), "{letter}");
    }
}
