//! What a buyer means to buy. Nothing is promised here: stock is held and prices are agreed
//! later, by others.
//!
//! A cart is known by its id, which only its buyer has. An owner has at most one open cart,
//! which is a constraint of the table. Every change makes a new version, and an order names the
//! version it was made of: it closes exactly that one, so that what a buyer put into the cart
//! while the order was on its way is not lost with it.
//!
//! `contents` changes lines, `ordered` hears of orders, `routes` is the way in.

mod broom;
mod contents;
mod ordered;
mod routes;
mod schema;

use store_kit::{Db, Env, Service, StartError, Sync};

/// Puts the service together: opens the database, but does not listen yet.
pub async fn service(env: Env) -> Result<Service, StartError> {
    let db = Db::open(&env.database()?, Sync::Normal, schema::MIGRATIONS)?;
    Ok(Service::new("cart", env!("CARGO_PKG_VERSION"), env)
        .database(&db)
        .routes(routes::routes(db.clone()))
        .inbox(ordered::on_event)
        .task("broom", |stop| broom::run(db, stop)))
}
