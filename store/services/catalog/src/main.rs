//! The catalogue: what the store sells, in words, pictures and prices.
//!
//! It owns titles, categories and prices. It does not own stock: a badge is the last thing that
//! inventory said, good enough to look at and never to decide by.

mod list;
mod locale;
mod media;
mod prices;
mod product;
mod schema;
mod search;
mod seeding;
mod stock;
mod terms;

use std::process::ExitCode;

use axum::Router;
use axum::routing::{get, post};
use store_kit::{Db, Env, Service, StartError, Sync};
use store_seed::Profile;

fn main() -> ExitCode {
    store_kit::run(build)
}

async fn build(env: Env) -> Result<Service, StartError> {
    let plan =
        seeding::Plan { profile: profile(&env)?, seed: env.parse("SEED", "a whole number", 7)? };
    let db = Db::open(&env.database()?, Sync::Normal, schema::MIGRATIONS)?;
    let rest = seeding::begin(&db, plan).await?;
    let routes = Router::new()
        .route("/v1/products", get(list::list))
        .route("/v1/products/{slug}", get(product::by_slug))
        .route("/v1/categories", get(product::categories))
        .route("/v1/variants", get(product::variants))
        .route("/v1/prices:resolve", post(prices::resolve))
        .route("/v1/prices", post(prices::set))
        .route("/media/{file}", get(media::picture))
        .with_state(db.clone());
    let seeder = db.clone();
    Ok(Service::new("catalog", env!("CARGO_PKG_VERSION"), env)
        .database(&db)
        .routes(routes)
        .inbox(stock::receive)
        .task("seeding", |stop| seeding::finish(seeder, rest, stop)))
}

fn profile(env: &Env) -> Result<Profile, StartError> {
    let name = env.get("SEED_PROFILE").unwrap_or("demo");
    Profile::parse(name).ok_or_else(|| StartError::Invalid {
        name: "SEED_PROFILE".into(),
        value: name.into(),
        expected: "small, demo or big".into(),
    })
}
