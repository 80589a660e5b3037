//! The ways that an order can go besides the good one: what a person sees, and that money and
//! goods are where they belong.

use std::path::Path;
use std::time::Duration;

use archipel_e2e::App;
use archipel_testkit::eventually_blocking;

use crate::browser;

/// The robot picker does nothing while this is there: the test is the warehouse's worker.
const ROBOT_RESTS: &str = "CREATE TRIGGER robot_rests AFTER INSERT ON fulfilment BEGIN \
    UPDATE fulfilment SET robot_at = 9000000000000 WHERE order_id = new.order_id; END";

/// How each ends. The audit that follows says whether money and stock agree.
const ENDS: [(&str, &str, Option<&str>); 6] = [
    ("cancelled", "CANCELLED", Some("cancelled_by_customer")),
    ("second_card", "COMPLETED", None),
    ("bank_asks", "COMPLETED", None),
    ("short_pick", "CANCELLED", Some("short_pick")),
    ("authorisation_lapses", "CANCELLED", Some("payment_lost")),
    ("sold_out", "CANCELLED", Some("out_of_stock")),
];

pub(crate) fn every_way_of_an_order_is_seen(app: &App, shots: &Path) {
    sql(app, "warehouse", ROBOT_RESTS);
    let port = app.service("warehouse").expect("a warehouse")["instances"][0]["port"].clone();
    let warehouse = format!("http://127.0.0.1:{port}");
    let (url, last) = (app.url(""), last_unit(app));
    let shots = shots.to_string_lossy();
    let orders = browser::run("ways.mjs", &[&url, &warehouse, &last, &shots]);
    for (way, status, reason) in ENDS {
        let id = orders[way].as_str().expect("an order");
        let wanted = format!("{status} {}", reason.unwrap_or_default());
        let end =
            format!("SELECT status || ' ' || coalesce(reason, '') FROM orders WHERE id = '{id}'");
        eventually_blocking(Duration::from_secs(60), || {
            let seen = sql(app, "orders", &end);
            if seen.contains(wanted.trim()) { Ok(()) } else { Err(format!("{way}: {seen}")) }
        });
    }
    sql(app, "warehouse", "DROP TRIGGER robot_rests");
}

/// Path of something of which there is one left.
fn last_unit(app: &App) -> String {
    let left = sql(app, "inventory", "SELECT quote(sku) FROM stock WHERE on_hand - reserved = 1");
    let skus = left.split_whitespace().filter(|word| word.starts_with('\'')).collect::<Vec<_>>();
    let find = format!(
        "SELECT '/p/' || p.slug || '?v=' || v.sku FROM variant v JOIN product p ON p.seq = v.product \
         WHERE v.sku IN ({}) ORDER BY v.sku LIMIT 1",
        skus.join(",")
    );
    let found = sql(app, "catalog", &find);
    let path = found.split_whitespace().find(|word| word.starts_with("/p/"));
    path.unwrap_or_else(|| panic!("nothing is the last of its kind: {left}")).to_owned()
}

fn sql(app: &App, service: &str, sql: &str) -> String {
    app.run(&["db", "shell", service, "-c", sql]).ok().out
}
