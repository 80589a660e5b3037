//! Takes orders and leads each to its end: the saga.
//!
//! `machine` decides and knows nothing of the world. Around it: `create` takes an order,
//! `worker` leads it by asking the other services through `remote`, `facts` hears what they
//! publish, `routes` and `view` show it to its customer, `live` tells open pages. Whatever comes
//! in, `saga` lets the order meet it in one transaction, which also writes the log and the
//! outbox.

pub mod machine;

mod breaker;
mod create;
mod facts;
mod live;
mod order;
mod remote;
mod routes;
mod saga;
mod schema;
mod view;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use store_kit::{Db, Env, Event, Service, StartError, Stop, Sync, Tx, Verifier};

use crate::live::Live;
use crate::machine::Policy;
use crate::remote::Remote;
use crate::worker::Wake;

pub use schema::MIGRATIONS;

/// What the parts share.
#[derive(Clone)]
pub(crate) struct App {
    db: Db,
    policy: Arc<Policy>,
    remote: Arc<Remote>,
    live: Live,
    wake: Wake,
    verifier: Verifier,
    stop: Stop,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Puts the service together: opens the database, but does not listen or lead orders yet.
pub async fn service(env: Env) -> Result<Service, StartError> {
    let path = env.database()?;
    let db = Db::open(&path, Sync::Full, MIGRATIONS)?;
    let keys = path.with_file_name("customers-jwks.json");
    let verifier = Verifier::new(env.callee("customers")?, Some(keys));
    let (wake, wakes) = worker::wake();
    let (policy, remote) = (Arc::new(policy(&env)?), Arc::new(Remote::new(&env)?));
    let service = Service::new("orders", env!("CARGO_PKG_VERSION"), env).database(&db);
    let stop = service.stop_signal();
    let app = App { db, policy, remote, live: Live::default(), wake, verifier, stop };
    let (of_inbox, of_worker, of_breaker) = (app.clone(), app.clone(), app.clone());
    Ok(service
        .routes(routes::routes(app))
        .inbox(move |tx: &Tx<'_>, event: &Event| facts::on_event(&of_inbox, tx, event))
        .task("saga", |stop| worker::run(of_worker, wakes, stop))
        .task("breaker", |stop| breaker::run(of_breaker, stop)))
}

/// The times of the saga; those that people like to change come from the environment.
fn policy(env: &Env) -> Result<Policy, StartError> {
    let standard = Policy::default();
    let seconds = |name: &str, standard: Duration| {
        env.parse(name, "a number of seconds", standard.as_secs()).map(Duration::from_secs)
    };
    Ok(Policy {
        hold: seconds("HOLD_S", standard.hold)?,
        customer_max: seconds("CUSTOMER_WAIT_S", standard.customer_max)?,
        return_window: seconds("RETURN_WINDOW_S", standard.return_window)?,
        ..standard
    })
}
