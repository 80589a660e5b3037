//! Where the database is, and how it is spoken to.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use super::tls::Tls;
use crate::StorageError;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// After this long without an answer from the machine, a connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Plans that were made while a table was small must not scan it when it has grown.
const SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
                       SET enable_mergejoin = off; SET jit = off; SET client_min_messages = warning";

/// `postgres://user:password@host:port/database?sslmode=…`; shown without its password.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    tls: Option<Tls>,
    shown: String,
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresUrl({})", self.shown)
    }
}

impl std::fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PostgresUrl {
    /// # Errors
    /// [`StorageError::Invalid`] says which part is wrong, without showing the URL.
    pub fn parse(url: &str) -> Result<Self, StorageError> {
        let bad = |reason: String| {
            StorageError::Invalid(format!(
                "the URL of a PostgreSQL database does not read as one: {reason}; it is \
                 `postgres://user:password@host:port/database`"
            ))
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("it does not begin with `postgres://`".to_owned()));
        }
        let (url, mode, roots) = take_tls(url);
        let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
            // The cause names the part that is wrong, not the URL with its password.
            bad(std::error::Error::source(&e).map_or(e.to_string(), ToString::to_string))
        })?;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => {
                format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
            }
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(bad("it has no host".to_owned())),
        };
        let Some(database) = config.get_dbname() else {
            return Err(bad("it names no database".to_owned()));
        };
        let shown = format!("{host}/{database}");
        let tls = match mode.as_deref() {
            None | Some("disable" | "allow" | "prefer") => None,
            Some("require" | "verify-ca" | "verify-full") => {
                Some(Tls::new(roots.as_deref()).map_err(bad)?)
            }
            Some(other) => {
                let text = format!(
                    "`sslmode={other}` is not one of disable, prefer, require and verify-full"
                );
                return Err(bad(text));
            }
        };
        config
            .ssl_mode(match tls {
                Some(_) => tokio_postgres::config::SslMode::Require,
                None => tokio_postgres::config::SslMode::Disable,
            })
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX)
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("archipel");
        }
        Ok(Self { config, tls, shown })
    }

    /// `heard` is called with the payload of each notification.
    pub(super) async fn connect(
        &self,
        heard: impl Fn(&str) + Send + 'static,
    ) -> Result<Session, StorageError> {
        let unreachable = |source: tokio_postgres::Error| self.unreachable(source);
        let connecting = async {
            let session = match &self.tls {
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Session::new(client, connection, heard)
                }
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    Session::new(client, connection, heard)
                }
            };
            session.client.batch_execute(SESSION).await?;
            Ok(session)
        };
        // The time-out of the configuration ends with the TCP connection.
        match clock::timeout(2 * CONNECT_MAX, connecting).await {
            Ok(done) => done.map_err(unreachable),
            Err(_) => Err(StorageError::Unreachable {
                store: self.shown.clone(),
                source: Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            }),
        }
    }

    fn unreachable(&self, source: tokio_postgres::Error) -> StorageError {
        StorageError::Unreachable { store: self.shown.clone(), source: Arc::new(source) }
    }

    /// What a statement said that was part of no commit.
    pub(super) fn failed(
        &self,
        action: &'static str,
        source: tokio_postgres::Error,
    ) -> StorageError {
        let store = self.shown.clone();
        match source.as_db_error() {
            Some(_) => StorageError::Refused { store, action, source: Arc::new(source) },
            None => StorageError::Io { store, action, source: Arc::new(source) },
        }
    }
}

/// The URL without what tokio-postgres does not know, the mode, and the file with authorities.
fn take_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for pair in query.split('&') {
        let decode =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into();
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => roots = Some(decode(value)),
            _ => rest.push(pair),
        }
    }
    (format!("{base}?{}", rest.join("&")), mode, roots)
}

/// One connection, with the task that drives it; the task ends with it.
pub(super) struct Session {
    pub(super) client: Client,
    _driver: tokio::task::JoinSet<()>,
}

impl Session {
    fn new<S, T>(
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
        heard: impl Fn(&str) + Send + 'static,
    ) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        use tokio_postgres::AsyncMessage;
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async move {
            while let Some(message) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                match message {
                    Ok(AsyncMessage::Notification(what)) => heard(what.payload()),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a connection to PostgreSQL ended");
                        break;
                    }
                }
            }
        });
        Self { client, _driver: driver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password_and_wrong_ones_are_explained() {
        let url = PostgresUrl::parse("postgres://me:secret@db.example:6432/shop?sslmode=prefer");
        let url = url.expect("reads");
        assert_eq!(url.to_string(), "db.example:6432/shop");
        assert!(!format!("{url:?}").contains("secret"));
        for (bad, says) in [
            ("mysql://u:secret@h/x", "begin with"),
            ("postgres://u:secret@h:port/x", "port"),
            ("postgres://u:secret@h:5432", "names no database"),
            ("postgres://u:secret@h/x?sslmode=maybe", "sslmode=maybe"),
            ("postgres://u:secret@h/x?sslmode=require&sslrootcert=%2Fnot%2Fthere", "/not/there"),
        ] {
            let error = PostgresUrl::parse(bad).expect_err("refused").to_string();
            assert!(error.contains(says) && !error.contains("secret"), "{bad}: {error}");
        }
    }
}
