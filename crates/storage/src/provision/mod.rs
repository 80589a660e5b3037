//! Makes the database that one service owns and no other can open.
//!
//! SQLite: a file in a directory of its own, mode 0700. PostgreSQL: a database and a role of its
//! own, with every right of the public taken away; nothing is shared, so nothing can be granted
//! by accident. Both are idempotent: the same call on the next start changes nothing.

mod postgres;
mod sqlite;

pub use postgres::{PostgresDatabase, drop_postgres_database, postgres_database};
pub use sqlite::{SqliteDatabase, sqlite_database};

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("could not make the directory `{path}` for the database of `{service}`")]
    Directory {
        service: archipel_model::ServiceName,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` cannot be written in a URL: it is not UTF-8")]
    Path { path: String },
    #[error("the name `{name}` of a database is not lower-case letters, digits, `_` and `-`")]
    Name { name: String },
    #[error("the PostgreSQL server URL does not read as one: {reason}")]
    ServerUrl { reason: String },
    #[error("could not connect to PostgreSQL at {server}: is it running, and is the URL right?")]
    Connect {
        server: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("PostgreSQL at {server} refused to {action}{}", .hint.as_deref().unwrap_or(""))]
    Refused {
        server: String,
        action: String,
        hint: Option<String>,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error(
        "the database `{database}` at {server} belongs to `{owner}`, not to `{role}`; choose \
         another `database.name`, or drop it"
    )]
    Owner { server: String, database: String, owner: String, role: String },
}
