//! A role and a database of its own on a PostgreSQL server.
//!
//! The role owns the database and nothing else. `PUBLIC` loses every right on it: without that,
//! PostgreSQL lets every role of the server connect to every database.

use archipel_model::{AppName, ServiceName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use super::ProvisionError;

/// PostgreSQL cuts longer identifiers off without an error, and two could become one.
const IDENTIFIER_MAX: usize = 63;

const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Clone, PartialEq, Eq)]
pub struct PostgresDatabase {
    /// `postgres://role:password@host:port/database`
    pub url: String,
    pub role: String,
    pub database: String,
}

impl std::fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresDatabase({} of {})", self.database, self.role)
    }
}

/// Makes the role `<app>_<service>` with `password`, and the database `<app>_<name>` that it
/// owns and nobody else can connect to. What exists is kept, the password and the rights are set
/// anew. The password goes to the server as a SCRAM verifier, so it shows in no server log.
///
/// `server_url` names a role that may create roles and databases. The connection is not
/// encrypted: for a server on this machine or behind a trusted network only.
///
/// # Errors
/// [`ProvisionError`] says which step failed and why. What was done before it stays, and
/// repeating the call goes on from there.
pub async fn postgres_database(
    server_url: &str,
    app: &AppName,
    service: &ServiceName,
    name: &str,
    password: &str,
) -> Result<PostgresDatabase, ProvisionError> {
    check_name(name)?;
    let role = identifier(app, service.as_str());
    let database = identifier(app, name);
    let server = Server::parse(server_url)?;

    let admin = server.connect(None).await?;
    make_role(&admin, &role, password).await?;
    make_database(&admin, &role, &database).await?;
    admin.close().await;

    // The schema's rights can only be changed from inside the database.
    let inside = server.connect(Some(&database)).await?;
    let role_name = quote_identifier(&role);
    let rights = format!(
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO {role_name}"
    );
    inside.run("close the schema `public` to others", &rights).await?;
    inside.close().await;
    Ok(PostgresDatabase { url: server.url_of(&role, password, &database), role, database })
}

/// Drops what [`postgres_database`] made, with everything in it. What is not there is no error.
///
/// # Errors
/// As [`postgres_database`].
pub async fn drop_postgres_database(
    server_url: &str,
    app: &AppName,
    service: &ServiceName,
    name: &str,
) -> Result<(), ProvisionError> {
    check_name(name)?;
    let server = Server::parse(server_url)?;
    let role = identifier(app, service.as_str());
    let database = identifier(app, name);
    let admin = server.connect(None).await?;
    if let Some(owner) = admin.owner(&database).await? {
        admin.check_owner(&database, &owner, &role)?;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(&database));
        admin.run(&format!("drop the database `{database}`"), &drop).await?;
    }
    let drop = format!("DROP ROLE IF EXISTS {}", quote_identifier(&role));
    admin.run(&format!("drop the role `{role}`"), &drop).await?;
    admin.close().await;
    Ok(())
}

async fn make_role(admin: &Session, role: &str, password: &str) -> Result<(), ProvisionError> {
    let action = format!("make the role `{role}`");
    let name = quote_identifier(role);
    let exists = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1";
    let found = admin.client.query_opt(exists, &[&role]).await;
    if found.map_err(|e| admin.refused(&action, e))?.is_none() {
        admin.run(&action, &format!("CREATE ROLE {name}")).await?;
    }
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let alter = format!(
        "ALTER ROLE {name} LOGIN INHERIT NOCREATEDB NOCREATEROLE PASSWORD {}",
        quote_literal(&verifier)
    );
    admin.run(&action, &alter).await
}

async fn make_database(admin: &Session, role: &str, database: &str) -> Result<(), ProvisionError> {
    let action = format!("make the database `{database}`");
    let (name, owner_name) = (quote_identifier(database), quote_identifier(role));
    match admin.owner(database).await? {
        Some(owner) => admin.check_owner(database, &owner, role)?,
        None => {
            // Only a member of a role may give it a database; a superuser is one of all.
            let member = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
            let row = admin.client.query_one(member, &[]).await;
            if !row.map_err(|e| admin.refused(&action, e))?.get::<_, bool>(0) {
                admin.run(&action, &format!("GRANT {owner_name} TO CURRENT_USER")).await?;
            }
            let create = format!("CREATE DATABASE {name} OWNER {owner_name}");
            admin.run(&action, &create).await?;
        }
    }
    let close = format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC");
    admin.run(&format!("close the database `{database}` to others"), &close).await
}

/// `<app>_<part>`. A label has no underscore, so two different pairs never give one name; a name
/// that is too long ends in a digest of the whole.
fn identifier(app: &AppName, part: &str) -> String {
    let whole = format!("{app}_{part}");
    if whole.len() <= IDENTIFIER_MAX {
        return whole;
    }
    let digest = Sha256::digest(whole.as_bytes());
    let short: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}_{short}", &whole[..IDENTIFIER_MAX - 13])
}

pub(super) fn check_name(name: &str) -> Result<(), ProvisionError> {
    let good = name.len() <= 63
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if good { Ok(()) } else { Err(ProvisionError::Name { name: name.to_owned() }) }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quote_literal(text: &str) -> String {
    // E'' so that a backslash means the same whatever `standard_conforming_strings` says.
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

struct Server {
    config: Config,
    /// For messages: host and port, never the password.
    shown: String,
}

impl Server {
    fn parse(url: &str) -> Result<Self, ProvisionError> {
        let bad = |reason: String| ProvisionError::ServerUrl { reason };
        let config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
            // The cause names the part that is wrong, not the URL with its password.
            bad(std::error::Error::source(&e).map_or(e.to_string(), ToString::to_string))
        })?;
        let shown = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{}", port(&config)),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(bad("it has no host".to_owned())),
        };
        Ok(Self { config, shown })
    }

    async fn connect(&self, database: Option<&str>) -> Result<Session, ProvisionError> {
        let mut config = self.config.clone();
        config.connect_timeout(std::time::Duration::from_secs(5));
        match (database, config.get_dbname()) {
            (Some(database), _) => drop(config.dbname(database)),
            // Otherwise PostgreSQL takes the database named like the user.
            (None, None) => drop(config.dbname("postgres")),
            (None, Some(_)) => {}
        }
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected
            .map_err(|source| ProvisionError::Connect { server: self.shown.clone(), source })?;
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        Ok(Session { client, driver, server: self.shown.clone() })
    }

    fn url_of(&self, role: &str, password: &str, database: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, IN_URL).to_string();
        let (role, password, database) = (encode(role), encode(password), encode(database));
        let port = port(&self.config);
        match self.config.get_hosts().first() {
            Some(Host::Unix(path)) => {
                let path = encode(&path.to_string_lossy());
                format!("postgres://{role}:{password}@/{database}?host={path}&port={port}")
            }
            Some(Host::Tcp(host)) if host.contains(':') => {
                format!("postgres://{role}:{password}@[{host}]:{port}/{database}")
            }
            Some(Host::Tcp(host)) => {
                format!("postgres://{role}:{password}@{host}:{port}/{database}")
            }
            None => unreachable!("checked by `parse`"),
        }
    }
}

fn port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(5432)
}

/// One connection, with the task that drives it.
struct Session {
    client: Client,
    driver: tokio::task::JoinSet<()>,
    server: String,
}

impl Session {
    async fn run(&self, action: &str, sql: &str) -> Result<(), ProvisionError> {
        self.client.batch_execute(sql).await.map_err(|source| self.refused(action, source))
    }

    async fn owner(&self, database: &str) -> Result<Option<String>, ProvisionError> {
        let sql = "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database \
                   WHERE datname = $1";
        let row = self.client.query_opt(sql, &[&database]).await;
        let row = row.map_err(|e| self.refused(&format!("look for `{database}`"), e))?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Somebody else's database is never touched.
    fn check_owner(&self, database: &str, owner: &str, role: &str) -> Result<(), ProvisionError> {
        if owner == role {
            return Ok(());
        }
        Err(ProvisionError::Owner {
            server: self.server.clone(),
            database: database.to_owned(),
            owner: owner.to_owned(),
            role: role.to_owned(),
        })
    }

    fn refused(&self, action: &str, source: tokio_postgres::Error) -> ProvisionError {
        let right = source.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
        let hint = right.then(|| {
            "; the role in the server's URL needs the rights CREATEDB and CREATEROLE".to_owned()
        });
        ProvisionError::Refused {
            server: self.server.clone(),
            action: action.to_owned(),
            hint,
            source,
        }
    }

    async fn close(mut self) {
        drop(self.client);
        while self.driver.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_distinct() {
        let app = AppName::new("a-rather-long-name-of-an-application-here").expect("a name");
        let one = identifier(&app, "a-rather-long-name-of-a-service-number-one");
        let two = identifier(&app, "a-rather-long-name-of-a-service-number-two");
        assert!(one.len() <= IDENTIFIER_MAX && two.len() <= IDENTIFIER_MAX);
        assert_ne!(one, two);
        let app = AppName::new("store").expect("a name");
        assert_eq!(identifier(&app, "psp-sim"), "store_psp-sim");
    }

    #[test]
    fn a_server_url_that_is_none_is_refused_without_showing_its_password() {
        for bad in ["", "mysql://x", "postgres://u:secret@host:port/x", "postgres://u:secret@/x"] {
            let Err(error) = Server::parse(bad) else { panic!("{bad} is taken") };
            assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_with_special_characters_stays_in_its_place() {
        let server = Server::parse("postgres://admin:x@127.0.0.1:5433/postgres").expect("a URL");
        let url = server.url_of("store_orders", "p@ss/w:rd?", "store_orders");
        assert_eq!(url, "postgres://store_orders:p%40ss%2Fw%3Ard%3F@127.0.0.1:5433/store_orders");
        let read: Config = url.parse().expect("a URL");
        assert_eq!(read.get_password(), Some(&b"p@ss/w:rd?"[..]));
    }

    #[test]
    fn quoting_leaves_no_way_out() {
        assert_eq!(quote_identifier("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(quote_literal(r"a\'; DROP"), r"E'a\\''; DROP'");
    }
}
