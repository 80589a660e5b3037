//! The audit finds nothing where nothing is wrong, and each of many wrongs by its name.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod fixture;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fixture::{End, Store};
use store_audit::{Question, SUBSCRIPTIONS, Verdict, audit, invariants};

fn violated(question: &Question) -> Vec<&'static str> {
    let report = audit(question).unwrap();
    let bad = report.findings.iter().filter(|f| !matches!(f.verdict, Verdict::Ok));
    bad.map(|finding| finding.id).collect()
}

#[test]
fn a_store_that_is_right_has_no_findings() {
    let store = Store::new();
    let report = audit(&store.question()).unwrap();
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{report}");
    assert_eq!(report.findings.len(), 21);
    assert_eq!(report.exit_code(), 0);
}

/// What is done to the store, and which invariant must say so.
fn corruptions(store: &Store) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let (good, later) = (store.one(End::Completed), store.one(End::CompletedLater));
    let (cancelled, refunded, waiting) =
        (store.one(End::Cancelled), store.one(End::Refunded), store.one(End::AwaitsCard));
    let log = "DROP TRIGGER saga_log_is_not_changed; DROP TRIGGER saga_log_is_not_deleted;";
    let moves = "DROP TRIGGER movement_is_not_changed; DROP TRIGGER movement_is_not_deleted;";
    vec![
        ("goods left unpaid", "A1", "payments", format!("UPDATE payment SET captured_minor = 0 WHERE order_id = '{good}'")),
        ("the page says delivered, the parcel travels", "A2", "warehouse", format!("UPDATE fulfilment SET state = 'DISPATCHED' WHERE order_id = '{good}'")),
        (
            "a text says delivered of an order that was never paid",
            "A2",
            "notifications",
            format!("INSERT INTO message VALUES('x', '{waiting}', 'cus_1', 'delivered', 'sms', 'SENT', '', 'x', '')"),
        ),
        ("a forged capture id", "A3", "warehouse", format!("UPDATE fulfilment SET release_capture_id = 'cap_forged' WHERE order_id = '{good}'")),
        ("the capture of another order", "A3", "warehouse", format!("UPDATE fulfilment SET release_capture_id = 'cap_{later}' WHERE order_id = '{good}'")),
        ("promised more than there is", "C4", "inventory", "UPDATE stock SET reserved = on_hand + 1 WHERE sku = 'LAMP-1'".into()),
        ("a unit vanished from the shelf", "A5", "inventory", "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'LAMP-1'".into()),
        ("a promise leaked", "A5", "inventory", "UPDATE stock SET reserved = reserved + 1 WHERE sku = 'ROPE-1'".into()),
        ("one side of a booking is missing", "A6", "payments", "DELETE FROM ledger_entry WHERE id = 1".into()),
        ("refunded more than captured", "C7", "payments", format!("UPDATE payment SET refunded_minor = captured_minor + 1 WHERE order_id = '{good}'")),
        ("money out of nothing", "A8", "psp-sim", "UPDATE account SET balance_minor = balance_minor + 100 WHERE id = 'card'".into()),
        ("the provider charged and we do not know", "Q9", "psp-sim", format!("UPDATE intent SET captured_minor = 3490, status = 'succeeded' WHERE order_ref = '{cancelled}'")),
        ("a charge that we have no payment for", "Q9", "psp-sim", "INSERT INTO intent VALUES('pi_x', 'ord_x', 'succeeded', 1, 0, 1, 0, 't', 'x')".into()),
        ("a second hold for a paid order", "A10", "psp-sim", format!("INSERT INTO intent VALUES('pi_2', '{good}', 'requires_capture', 3490, 3490, 0, 0, 't', 'x')")),
        ("a stuck order", "Q11", "orders", format!("UPDATE orders SET status = 'COMP_PAY' WHERE id = '{cancelled}'")),
        ("a cancelled order still holds money", "Q12", "payments", format!("UPDATE payment SET state = 'AUTHORISED' WHERE order_id = '{cancelled}'")),
        ("a cancelled order still holds goods", "Q12", "inventory", format!("UPDATE reservation SET state = 'CONFIRMED' WHERE order_id = '{cancelled}'")),
        ("a cancelled order was charged", "Q12", "payments", format!("UPDATE payment SET refunded_minor = 0 WHERE order_id = '{refunded}'")),
        ("paid one cent less", "Q13", "payments", format!("UPDATE payment SET captured_minor = captured_minor - 1 WHERE order_id = '{good}'")),
        ("the lines are not the subtotal", "Q14", "orders", format!("UPDATE order_line SET qty = 3 WHERE order_id = '{good}' AND sku = 'LAMP-1'")),
        ("the parts are not the total", "Q14", "orders", format!("UPDATE orders SET tax_minor = 1 WHERE id = '{good}'")),
        ("shipped and not counted", "Q15", "inventory", format!("{moves} DELETE FROM movement WHERE order_id = '{good}'")),
        ("counted and not shipped", "Q15", "warehouse", format!("DELETE FROM package_line WHERE order_id = '{good}'")),
        (
            "a submit was accepted and lost",
            "Q16",
            "checkout",
            r#"INSERT INTO outbox(id, topic, subject, data) VALUES('e', 'checkout.submitted', 'chk', '{"order_id":"ord_lost"}')"#.into(),
        ),
        ("two texts", "Q17", "sms-sim", format!("INSERT INTO sms VALUES('x', 'x', '+440', '', '{good}', 'received', '')")),
        ("an order that nobody was told of", "Q18", "notifications", format!("DELETE FROM message WHERE order_id = '{good}' AND template = 'received'")),
        ("a text of an unknown order", "Q18", "sms-sim", "INSERT INTO sms VALUES('x', 'x', '+440', '', 'ord_unknown', 'received', '')".into()),
        ("an event that one subscriber never got", "Q19", "warehouse", "INSERT INTO outbox(id, topic, subject, data) VALUES('evt_lost', 'shipment.delivered', 'ord', '{}')".into()),
        ("an event lost on the way to its third subscriber", "Q19", "cart", "DELETE FROM inbox WHERE topic = 'order.received' AND rowid = 1".into()),
        ("an operation that nobody knows the end of", "Q20", "payments", format!("UPDATE operation SET state = 'UNKNOWN' WHERE order_id = '{good}' AND kind = 'CAPTURE'")),
        ("a message stuck in the queue", "Q20", "notifications", format!("UPDATE message SET state = 'QUEUED' WHERE order_id = '{good}'")),
        ("an order that could not be told", "Q20", "orders", format!("INSERT INTO dead_letter VALUES(1, '{later}', '{{}}', 10, 'no', '')")),
        ("a transition that does not exist", "A21", "orders", format!("{log} UPDATE saga_log SET from_state = 'RECEIVED' WHERE order_id = '{good}' AND to_state = 'CAPTURED'")),
        ("a gap in the log", "A21", "orders", format!("{log} DELETE FROM saga_log WHERE order_id = '{good}' AND version = 4")),
        ("an order that is not where its log ends", "A21", "orders", format!("UPDATE orders SET status = 'DELIVERED' WHERE id = '{later}'")),
    ]
}

#[test]
fn every_planted_wrong_is_found_by_its_name() {
    let mut found = BTreeSet::new();
    let right = Store::new();
    for (what, invariant, service, sql) in corruptions(&right) {
        let store = right.copy();
        store.sql(service, &sql);
        let question = store.question();
        let violated = violated(&question);
        assert!(violated.contains(&invariant), "{what}: expected {invariant}, found {violated:?}");
        assert_eq!(audit(&question).unwrap().exit_code(), 1, "{what}");
        found.insert(invariant);
    }
    let all: BTreeSet<_> = invariants().iter().map(|invariant| invariant.id).collect();
    assert_eq!(found, all, "every invariant is seen to fail at least once");
}

#[test]
fn a_promise_on_the_list_must_be_an_order() {
    let store = Store::new();
    let list = store.data().join("accepted.txt");
    let good = store.one(End::Completed);
    std::fs::write(&list, format!("{good}\n{{\"order_id\":\"{good}\",\"at\":1}}\n")).unwrap();
    let mut question = Question { accepted: Some(list.clone()), ..store.question() };
    assert_eq!(violated(&question), [""; 0]);
    std::fs::write(&list, "ord_lost\n").unwrap();
    assert_eq!(violated(&question), ["Q16"]);
    question.files.remove("checkout");
    assert!(violated(&question).contains(&"Q16"), "also without checkout's database");
    question.accepted = Some("/nowhere/at/all".into());
    assert!(audit(&question).is_err());
}

#[test]
fn what_cannot_be_asked_is_skipped_and_what_cannot_be_read_is_not_good() {
    let store = Store::new();
    let mut question = Question { at_rest: false, ..store.question() };
    let report = audit(&question).unwrap();
    let skipped =
        report.findings.iter().filter(|f| matches!(f.verdict, Verdict::Skipped { .. })).count();
    assert_eq!((skipped, report.exit_code()), (11, 0), "{report}");

    question = store.question();
    question.files.remove("psp-sim");
    question.files.remove("cart");
    let report = audit(&question).unwrap();
    let of = |id| report.findings.iter().find(|f| f.id == id).unwrap().verdict.clone();
    assert_eq!(of("A8"), Verdict::Skipped { why: "no database of psp-sim".into() });
    assert_eq!(of("Q19"), Verdict::Partly { why: "without cart".into() });
    assert_eq!(report.exit_code(), 0);

    store.sql("payments", "ALTER TABLE payment RENAME COLUMN captured_minor TO taken_minor");
    let report = audit(&question).unwrap();
    let of = |id| report.findings.iter().find(|f| f.id == id).unwrap().verdict.clone();
    assert!(matches!(of("A1"), Verdict::Unreadable { why } if why.contains("captured_minor")));
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn the_program_says_it_in_words_in_json_and_by_its_exit_code() {
    let store = Store::new();
    let run = |args: &[&str]| {
        let data = store.data().to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_store-audit"))
            .args(["--data", data])
            .args(args)
            .output()
            .unwrap()
    };
    let good = run(&["--at-rest"]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success() && text.ends_with("21 hold, 0 violated, 0 skipped\n"), "{text}");

    let copy = store.data().join("elsewhere.db");
    std::fs::copy(store.path("psp-sim"), &copy).unwrap();
    let db = rusqlite::Connection::open(&copy).unwrap();
    db.execute("UPDATE account SET balance_minor = balance_minor + 7 WHERE id = 'card'", [])
        .unwrap();
    let elsewhere = format!("psp-sim={}", copy.display());
    let bad = run(&["--db", &elsewhere, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    let money = json["findings"].as_array().unwrap().iter().find(|f| f["id"] == "A8").unwrap();
    assert_eq!((bad.status.code(), &json["clean"]), (Some(1), &serde_json::json!(false)));
    assert_eq!(
        (&money["result"], &money["rows"]),
        (&serde_json::json!("violated"), &serde_json::json!(1))
    );

    for wrong in [&["--nonsense"][..], &["--db"], &["--db", "x=y"], &["--data", "/nowhere"]] {
        let outcome = run(wrong);
        assert_eq!(outcome.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8(outcome.stderr).unwrap().contains("usage:"));
    }
    assert_eq!(run(&["--db", "payments=/nowhere.db"]).status.code(), Some(2));
    assert!(run(&["--help"]).status.success());
}

/// The subscriptions are written twice, here and in the manifest, and must not differ.
#[test]
fn the_subscriptions_are_those_of_the_manifest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../archipel.toml");
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut declared = BTreeSet::new();
    let mut published = BTreeSet::new();
    for (service, body) in manifest["services"].as_table().unwrap() {
        let topics: Vec<String> = match body.get("subscribes") {
            Some(toml::Value::Array(topics)) => {
                topics.iter().map(|t| t.as_str().unwrap().to_owned()).collect()
            }
            Some(toml::Value::Table(topics)) => topics.keys().cloned().collect(),
            _ => Vec::new(),
        };
        declared.extend(topics.into_iter().map(|topic| (service.clone(), topic)));
        let publishes = body.get("publishes").and_then(toml::Value::as_array).into_iter().flatten();
        published.extend(publishes.map(|topic| topic.as_str().unwrap().to_owned()));
    }
    let ours: BTreeSet<_> =
        SUBSCRIPTIONS.iter().map(|(who, what)| ((*who).to_owned(), (*what).to_owned())).collect();
    assert_eq!(ours, declared);
    for (who, topic) in &ours {
        let heard = published
            .iter()
            .any(|p| topic.strip_suffix('*').map_or(p == topic, |family| p.starts_with(family)));
        assert!(heard, "{who} waits for {topic}, which nobody publishes");
    }
}
