//! Who buys: members with a password, guests without one, and the tokens that say so.
//!
//! Tokens are signed here and checked everywhere else with the published key, so nobody who has
//! signed in needs us to be alive. What is expensive on purpose, hashing a password, has a short
//! queue of its own and never takes all cores, so a storm of sign-ins is refused and not felt.
//!
//! `contact` knows what a good name, address and number are, `accounts` keeps them, `sessions`
//! signs in and out, `password` hashes, `addresses` remembers where to send things.

mod accounts;
mod addresses;
mod broom;
mod contact;
mod password;
mod schema;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};
use store_kit::{Db, Env, Service, Signer, StartError, Sync, Verifier};

use crate::password::Hasher;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    db: Db,
    signer: Signer,
    verifier: Verifier,
    hasher: Arc<Hasher>,
    /// Makes fingerprints of requests with passwords useless without our environment.
    seal: [u8; 32],
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Puts the service together: opens the database, but does not listen yet.
pub async fn service(env: Env) -> Result<Service, StartError> {
    let text = env.require("JWT_SIGNING_KEY", "set it to a long random text and keep it secret")?;
    let signer = Signer::from_text(text);
    let seal = Sha256::new().chain_update("fingerprints\0").chain_update(text).finalize().into();
    let db = Db::open(&env.database()?, Sync::Normal, schema::MIGRATIONS)?;
    let (verifier, hasher) = (signer.verifier(), Arc::default());
    let app = App { db: db.clone(), signer, verifier, hasher, seal };
    let jwks = app.signer.jwks();
    let keys = Router::new().route(
        "/.well-known/jwks.json",
        get(move || async move {
            ([(header::CACHE_CONTROL, "public, max-age=300")], axum::Json(jwks)).into_response()
        }),
    );
    Ok(Service::new("customers", env!("CARGO_PKG_VERSION"), env)
        .database(&db)
        .routes(keys)
        .routes(accounts::routes(app.clone()))
        .routes(sessions::routes(app.clone()))
        .routes(addresses::routes(app))
        .task("broom", |stop| broom::run(db, stop)))
}
