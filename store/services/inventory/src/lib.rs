//! What is on the shelf and to whom it is promised.
//!
//! A reservation belongs to an order and takes all of its lines or none. It is held for a while,
//! then confirmed, and counts down the shelf when the goods have left. Two rules keep the count
//! true whatever requests are lost, doubled or late:
//!
//! - `0 <= reserved <= on_hand` is a constraint of the table, and every change of `on_hand` is a
//!   row in `movement`, which nothing may change or delete;
//! - releasing an order that was never seen leaves a tombstone, so that a reserve request which
//!   was slow on its way finds the order closed.
//!
//! `shelf` counts, `reservation` promises, `routes` and `shipped` are the ways in.

mod expiry;
mod reservation;
mod routes;
mod schema;
mod seed;
mod shelf;
mod shipped;

use std::sync::Arc;

use store_kit::{Db, Env, Service, StartError, Sync};
use tokio::sync::Notify;

pub use schema::MIGRATIONS;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    db: Db,
    /// A hold was made that lapses before `expiry` would look again.
    lapses_soon: Arc<Notify>,
}

/// Puts the service together: opens and seeds the database, but does not listen yet.
pub async fn service(env: Env) -> Result<Service, StartError> {
    let db = Db::open(&env.database()?, Sync::Full, MIGRATIONS)?;
    seed::fill_once(&db, &env).await?;
    let app = App { db: db.clone(), lapses_soon: Arc::default() };
    Ok(Service::new("inventory", env!("CARGO_PKG_VERSION"), env)
        .database(&db)
        .routes(routes::routes(app.clone()))
        .inbox(shipped::on_event)
        .task("expiry", |stop| expiry::run(app, stop)))
}
