//! The services behind the shop, faked, for working on its pages:
//! `cargo run -p storefront --example with_fakes` prints the environment to start the shop with.
//! An order moves on a step every few seconds. Name services to leave out (`catalog`), in order
//! to use real ones for them.

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/shop/fakes/mod.rs"]
mod fakes;

use std::time::Duration;

use serde_json::{Value, json};
use store_kit::Clock;

const DAY: [(&str, &str); 9] = [
    ("RECEIVED", "texted"),
    ("RESERVED", "reserved"),
    ("AUTHORISED", "authorised"),
    ("CONFIRMED", "confirmed"),
    ("PACKED", "packed"),
    ("CAPTURED", "captured"),
    ("RELEASED", "released"),
    ("DISPATCHED", "dispatched"),
    ("DELIVERED", "delivered"),
];

#[tokio::main]
async fn main() {
    let leave_out: Vec<String> = std::env::args().skip(1).collect();
    let fakes = fakes::Fakes::start().await;
    for name in fakes::NAMES.iter().filter(|n| !leave_out.iter().any(|l| l == *n)) {
        println!("{}_URL={}", name.to_uppercase(), fakes.urls[name]);
    }
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ids: Vec<String> = fakes.with(|world| world.orders.keys().cloned().collect());
        for id in ids {
            fakes.order(&id, advance);
        }
    }
}

fn advance(order: &mut Value) {
    let steps = order["timeline"].as_array().map_or(0, Vec::len);
    let Some((status, step)) = DAY.get(steps.saturating_sub(1)) else { return };
    order["status"] = json!(status);
    order["cancellable"] = json!(steps < 5);
    if *step == "dispatched" {
        order["tracking"] = json!("OST-7731-0042");
    }
    if let Some(timeline) = order["timeline"].as_array_mut() {
        timeline.push(json!({"step": step, "at": Clock::default().now(), "text": ""}));
    }
}
