//! The shop that people see: pages rendered here, whole without a script.
//!
//! ```text
//! request → visit (session, language, form token) → page (asks the services it needs, side by
//! side) → layout → response with the session's cookie
//! ```
//!
//! It has no database: what it must remember about a browser is in a signed cookie
//! ([`session`]), everything else belongs to the services behind it ([`back`]). Any of those may
//! be away; the page then shows what it can and says what it cannot.

mod back;
mod lang;
mod layout;
mod live;
mod pages;
mod parts;
mod security;
mod session;
mod shelf;
mod statics;
mod timeline;
mod visit;

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use store_kit::{Clock, Env, Service, StartError, Stop};
use tokio::sync::Semaphore;

use crate::back::Back;
use crate::pages::{account, cart, checkout, home, list, orders, problem, product};
use crate::session::Seal;
use crate::statics::Statics;

/// Order pages open at a time; each holds one connection to orders.
const LIVE_MAX: usize = 512;

/// What every request can reach.
pub(crate) struct Shop {
    pub(crate) back: Back,
    pub(crate) seal: Seal,
    pub(crate) statics: Statics,
    pub(crate) places: Places,
    pub(crate) live: Arc<Semaphore>,
    pub(crate) stop: Stop,
    /// The Content-Security-Policy of every page.
    pub(crate) policy: String,
}

pub(crate) type App = Arc<Shop>;

/// Addresses of what is not ours, as a browser reaches it.
pub(crate) struct Places {
    /// The payment provider's card page, without trailing slash.
    pub(crate) pay: String,
    /// The phone that shows text messages.
    pub(crate) phone: String,
}

fn main() -> ExitCode {
    store_kit::run(build)
}

async fn build(env: Env) -> Result<Service, StartError> {
    let key = env.require(
        "SESSION_KEY",
        "set it to a long random text; everyone who knows it can sign sessions",
    )?;
    if key.len() < 16 {
        return Err(StartError::Invalid {
            name: "SESSION_KEY".into(),
            value: "(not shown)".into(),
            expected: "at least 16 characters".into(),
        });
    }
    let seal = Seal::new(key, Clock::default());
    let back = Back::of(&env)?;
    let place = |name: &str, default: &str| {
        env.get(name).unwrap_or(default).trim_end_matches('/').to_owned()
    };
    let places =
        Places { pay: place("PAY_PAGE", "/psp/pay"), phone: place("PHONE_PAGE", "/phone") };
    let policy = security::policy(&places.pay);
    let service = Service::new("storefront", env!("CARGO_PKG_VERSION"), env);
    let shop: App = Arc::new(Shop {
        back,
        seal,
        statics: Statics::load(),
        places,
        live: Arc::new(Semaphore::new(LIVE_MAX)),
        stop: service.stop_signal(),
        policy,
    });
    Ok(service.routes(routes(shop)))
}

fn routes(shop: App) -> Router {
    Router::new()
        .route("/", get(home::home))
        .route("/c/{*path}", get(list::category))
        .route("/search", get(list::search))
        .route("/p/{slug}", get(product::product))
        .route("/cart", get(cart::show))
        .route("/cart/lines", post(cart::add))
        .route("/cart/lines/{sku}", post(cart::change))
        .route("/cart/prices", post(cart::accept_prices))
        .route("/cart/count", get(cart::count))
        .route("/checkout", get(checkout::start))
        .route("/checkout/address", get(checkout::address::show).post(checkout::address::save))
        .route("/checkout/delivery", get(checkout::delivery::show).post(checkout::delivery::save))
        .route("/checkout/payment", get(checkout::payment::show))
        .route("/checkout/review", get(checkout::review::show))
        .route("/checkout/submit", post(checkout::review::submit))
        .route("/orders", get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/live", get(live::live))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/orders/{id}/card", get(orders::new_card))
        .route("/orders/{id}/basket", post(orders::basket))
        .route("/account", get(account::show))
        .route("/account/sign-in", get(account::sign_in_page).post(account::sign_in))
        .route("/account/register", get(account::register_page).post(account::register))
        .route("/account/sign-out", post(account::sign_out))
        .route("/account/addresses", post(account::add_address))
        .route("/account/addresses/{id}/remove", post(account::remove_address))
        .route("/lang/{tag}", get(pages::language))
        .route("/media/{file}", get(statics::picture))
        .route("/static/{file}", get(statics::file))
        .route("/favicon.ico", get(statics::favicon))
        .route("/robots.txt", get(statics::robots))
        .route("/{*path}", any(problem::no_page))
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state(Arc::clone(&shop), problem::as_page))
        .layer(from_fn_with_state(Arc::clone(&shop), security::headers))
        .with_state(shop)
}
