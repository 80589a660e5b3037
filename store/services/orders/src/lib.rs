//! Takes orders and leads each to its end: the saga.
//!
//! `machine` decides and knows nothing of the world; `conductor` is one order under way by it.
//! The workflow `order` (`workflow`) holds a conductor and does what it says: activities ask the
//! other services through `remote` and record in the database (`order`) what became of the order.
//! `create` takes an order, `facts` hears what others publish, `routes` and `view` show an order
//! to its customer; what they have for its workflow is kept in `signal`, and the `postman` brings
//! it to the `engine`. `watch` has a workflow begin again that ended before its order. `live`
//! tells open pages.

pub mod conductor;
pub mod machine;

mod breaker;
mod create;
mod engine;
mod facts;
mod live;
mod order;
mod postman;
mod remote;
mod routes;
mod schema;
mod signal;
mod view;
mod watch;
mod workflow;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use store_kit::{Db, Env, Event, Service, StartError, Stop, Sync, Tx, Verifier};
use tonic::transport::{Channel, Endpoint};

use crate::live::Live;
use crate::machine::Policy;
use crate::remote::Remote;
use crate::signal::Mail;

pub use schema::MIGRATIONS;

/// What the parts share.
#[derive(Clone)]
pub(crate) struct App {
    db: Db,
    policy: Arc<Policy>,
    remote: Arc<Remote>,
    live: Live,
    mail: Mail,
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
    let hint = "set it to where a durabletask sidecar listens, such as http://127.0.0.1:4001";
    let url = env.require("ARCHIPEL_GRPC_URL", hint)?.to_owned();
    let channel = channel(&url)?;
    let (policy, remote) = (Arc::new(policy(&env)?), Arc::new(Remote::new(&env)?));
    let service = Service::new("orders", env!("CARGO_PKG_VERSION"), env).database(&db);
    let stop = service.stop_signal();
    let app =
        App { db, policy, remote, live: Live::default(), mail: Mail::default(), verifier, stop };
    let (of_inbox, of_worker) = (app.clone(), app.clone());
    let (of_mail, of_breaker, of_watch) = (app.clone(), app.clone(), app.clone());
    let to_watch = channel.clone();
    Ok(service
        .routes(routes::routes(app))
        .inbox(move |tx: &Tx<'_>, event: &Event| facts::on_event(&of_inbox, tx, event))
        .task("workflows", |stop| workflow::run(of_worker, url, stop))
        .task("signals", |stop| postman::run(of_mail, channel, stop))
        .task("watch", |stop| watch::run(of_watch, to_watch, stop))
        .task("breaker", |stop| breaker::run(of_breaker, stop)))
}

/// The way to the workflow engine, whether it is there now or not.
fn channel(url: &str) -> Result<Channel, StartError> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| StartError::Invalid {
        name: "ARCHIPEL_GRPC_URL".to_owned(),
        value: "as it is".to_owned(), // it may hold a token
        expected: "a URL like http://127.0.0.1:4001".to_owned(),
    })?;
    let nodelay = endpoint.connect_timeout(Duration::from_secs(2)).tcp_nodelay(true);
    Ok(nodelay.connect_lazy())
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
