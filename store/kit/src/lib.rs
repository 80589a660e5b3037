//! What the Rust services of the store share, so that a service's `main.rs` reads like its
//! contract (`store/CONTRACTS.md`).
//!
//! A service is: an [`Env`], a [`Db`] with its migrations, a router of handlers, perhaps an
//! inbox handler and background tasks; [`Service`] puts them on a port and serves the common
//! endpoints. The rules that must never be broken by accident are made hard to break:
//!
//! - a change happens inside [`Db::write`]: one closure, one transaction, no `await` in it, so
//!   no network call can happen inside a transaction;
//! - [`Tx::publish`] writes to the outbox of that same transaction;
//! - [`Command`] carries an idempotency key, and [`Db::once`] runs the effect and stores the
//!   answer together;
//! - an event handler gets the transaction in which its event is marked as received;
//! - errors are [`Problem`]s from the database up to the wire.
//!
//! It knows nothing of any particular service, nor of what starts and connects them.

mod db;
mod env;
mod http;
mod id;
mod idempotency;
mod inbox;
mod input;
mod jwt;
mod log;
mod migrate;
mod money;
mod outbox;
mod problem;
mod retry;
mod server;
mod service;
mod stop;
mod text_enum;
mod time;
mod trace;

pub use db::{Db, Sync, Tx};
pub use env::{Env, StartError};
pub use http::{Answer, Call, Callee, NoAnswer, Outcome, Refusal};
pub use id::{
    BadId, CartId, CheckoutId, CustomerId, EventId, OperationId, OrderId, PaymentId, Sku,
};
pub use idempotency::{Key, Reply};
pub use inbox::{Event, Verdict};
pub use input::{Command, Input, Optional, UrlPath, UrlQuery, fingerprint};
pub use jwt::{Bearer, Claims, Signer, Verifier};
pub use money::{Currency, Money, MoneyError, divide_half_even};
pub use problem::{FieldError, Problem};
pub use retry::{Backoff, jitter};
pub use service::{Running, Service, run};
pub use stop::Stop;
pub use text_enum::UnknownWord;
pub use time::{Clock, Timestamp};
pub use trace::{Trace, current as current_trace, scope as with_trace};

/// The versions of these crates that the kit's types are made of.
pub use {axum, bytes, rusqlite, serde, serde_json, tokio, tracing};
