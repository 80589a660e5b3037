//! The alerts on real stores, with messages to a real server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod receiver;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_alert::{
    Alerts, Entrance, Facts, Secrets, ServiceFact, Snapshot, Stores, SubscriptionFact, Wanted, sign,
};
use archipel_model::{
    Aggregate, AlertPace, AlertRule, Channel, ChannelKind, Comparison, EnvValue, Events, HttpStep,
    Mail, MailTls, Millionths, SecretName, Severity, SpanId, Synthetic, SyntheticStep, TraceId,
    Watch, WatchName,
};
use archipel_rt::{CancellationToken, Tasks, clock};
use archipel_telemetry::{
    Hop, HopKind, LogStore, MetricPolicy, MetricStore, Resource, SpanPolicy, SpanStore,
};
use archipel_testkit::eventually;
use bytes::Bytes;
use receiver::Receiver;

const WITHIN: Duration = Duration::from_secs(60);

struct World {
    alerts: Alerts,
    spans: SpanStore,
    tasks: Tasks,
}

fn world(dir: &Path) -> World {
    let tasks = Tasks::new(&CancellationToken::new());
    let spans = SpanStore::open(dir.join("spans"), SpanPolicy::default(), &tasks).unwrap();
    let logs = LogStore::open(dir.join("logs"), &tasks).unwrap();
    let metrics = MetricStore::open(dir.join("metrics"), MetricPolicy::default()).unwrap();
    let stores = Stores { spans: spans.clone(), logs, metrics };
    let alerts = Alerts::open(dir.join("alerts.json"), stores, &tasks);
    alerts.tell(Facts::default());
    World { alerts, spans, tasks }
}

impl World {
    async fn close(self) {
        assert_eq!(self.tasks.shutdown(WITHIN).await, 0);
    }

    /// `count` requests to a service, just now.
    async fn requests(&self, service: &str, count: u64, code: u16) {
        let resource = Resource { service: service.into(), ..Resource::default() };
        let like = Arc::new(HopKind {
            resource: Arc::new(resource),
            name: "GET /**".into(),
            caller: "outside".into(),
            method: "GET".into(),
            route: Some("/**".into()),
        });
        let start_ns = clock::wall_ms() * 1_000_000;
        let hops = (0..count).map(|n| Hop {
            trace: TraceId::new((u128::from(start_ns) << 32 | u128::from(n + 1)).to_be_bytes())
                .unwrap(),
            span: SpanId::new((n + 1).to_be_bytes()).unwrap(),
            parent: None,
            like: Arc::clone(&like),
            failed: code >= 500,
            start_ns,
            duration_ns: 5_000_000,
            path: Bytes::from_static(b"/"),
            code,
            bytes: 0,
            head_us: 0,
            more: Vec::new(),
        });
        assert!(self.spans.take_hops(hops.collect()));
        self.spans.flush().await;
    }

    async fn until(&self, what: &str, is: impl Fn(&Snapshot) -> bool) -> Snapshot {
        eventually(WITHIN, || async {
            let snapshot = self.alerts.snapshot();
            match is(&snapshot) {
                true => Ok(snapshot),
                false => Err(format!("{what}: {snapshot:?}")),
            }
        })
        .await
    }
}

fn name(text: &str) -> WatchName {
    WatchName::new(text).unwrap()
}

fn error_rate() -> AlertRule {
    AlertRule {
        events: Events::Spans("caller:outside".into()),
        aggregate: Aggregate::ErrorRate,
        comparison: Comparison::Above,
        limit: Millionths::of(0.05),
        when: "error_rate > 5%".into(),
        window: Duration::from_secs(20),
        hold: Duration::ZERO,
        resolve_after: Duration::ZERO,
        min_events: 5,
        severity: Severity::Page,
        by: vec!["service".into()],
        notify: None,
        description: None,
    }
}

fn watch(to: ChannelKind) -> Watch {
    let pace = AlertPace {
        group: Duration::ZERO,
        repeat: Duration::from_secs(3600),
        grace: Duration::ZERO,
    };
    let mut watch = Watch { pace, ..Watch::default() };
    // The one that ships looks at five minutes.
    watch.off.insert(name("error-rate"));
    watch.alerts.insert(name("failing"), error_rate());
    watch.channels.insert(name("ops"), Channel { to, least: Severity::Ticket });
    watch
}

fn webhook(url: String) -> ChannelKind {
    ChannelKind::Webhook {
        url: EnvValue::Text(url),
        key: Some(SecretName::new("hook-key").unwrap()),
    }
}

fn secrets() -> Secrets {
    Secrets([(SecretName::new("hook-key").unwrap(), "whsec_c2VjcmV0".to_owned())].into())
}

#[tokio::test]
async fn an_error_rate_fires_is_told_signed_after_two_failures_and_its_end_once() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[503, 500]).await;
    let first = world(dir.path());
    first.alerts.apply("shop", &watch(webhook(receiver.url("/hook"))), secrets());
    first.requests("orders", 40, 200).await;
    first.requests("cart", 40, 200).await;
    first.requests("orders", 10, 500).await;
    let got = receiver.taken(1).await;
    assert_eq!(receiver.asked().await, 3, "twice it was refused");
    let hook: serde_json::Value = serde_json::from_slice(&got[0].body).unwrap();
    assert_eq!(hook["type"], "alerts.firing");
    let alerts = hook["data"]["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "cart is well: {hook}");
    assert_eq!(alerts[0]["labels"]["service"], "orders");
    assert!(alerts[0]["summary"].as_str().unwrap().contains("20% of 50 requests failed"), "{hook}");
    let header = |name: &str| got[0].headers[name].clone();
    let stamp = header("webhook-timestamp").parse().unwrap();
    let expected = sign("whsec_c2VjcmV0", &header("webhook-id"), stamp, &got[0].body);
    assert_eq!(header("webhook-signature"), expected);

    // Another Archipel takes over while it still fails.
    first.close().await;
    let second = world(dir.path());
    second.alerts.apply("shop", &watch(webhook(receiver.url("/hook"))), secrets());
    let told = |s: &Snapshot| s.alerts.iter().any(|of| of.alert.told.contains_key("ops"));
    second.until("it is remembered who was told", told).await;
    // The window passes, and it is well again.
    second.until("over", |s| s.alerts.is_empty() && s.sent.len() == 2).await;
    let got = receiver.taken(2).await;
    let hook: serde_json::Value = serde_json::from_slice(&got[1].body).unwrap();
    assert_eq!(hook["type"], "alerts.resolved", "{hook}");
    assert_eq!(got.len(), 2);
    let words: Vec<bool> = second.alerts.snapshot().history.iter().map(|h| h.firing).collect();
    assert_eq!(words, [false, true]);
    second.close().await;
}

#[tokio::test]
async fn who_is_down_is_told_and_what_follows_from_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let world = world(dir.path());
    let mut watch = watch(ChannelKind::Slack { url: EnvValue::Text(receiver.url("/slack")) });
    // So that the window holds all of the test.
    watch.alerts.get_mut("failing").unwrap().window = Duration::from_secs(60);
    world.alerts.apply("shop", &watch, Secrets::default());
    let service = |service: &str, calls: &[&str], hopeless: bool| ServiceFact {
        name: service.into(),
        calls: calls.iter().map(|callee| (*callee).to_owned()).collect::<BTreeSet<_>>(),
        wanted: 1,
        ready: u32::from(!hopeless),
        hopeless,
        ..ServiceFact::default()
    };
    world.alerts.tell(Facts {
        services: vec![service("web", &["orders"], false), service("orders", &[], true)],
        subscriptions: vec![SubscriptionFact {
            topic: "order.placed".into(),
            subscriber: "web".into(),
            lag: 0,
            dead: 2,
        }],
        ..Facts::default()
    });
    world.requests("web", 20, 503).await;
    let failing = |s: &Snapshot| {
        let found = s.alerts.iter().find(|of| of.alert.rule == "failing");
        found.is_some_and(|of| of.explained.as_deref() == Some("orders, which it calls, is down"))
    };
    world.until("explained", failing).await;
    let got = receiver.taken(1).await;
    let text = String::from_utf8_lossy(&got[0].body).into_owned();
    assert!(text.contains("crash-loop") && text.contains("dead-letters"), "{text}");
    assert!(!text.contains("failing"), "{text}");

    // A silence takes another one away, and the end of the cause brings this one.
    let wanted = Wanted {
        rule: Some("failing".into()),
        lasts: Duration::from_secs(60),
        reason: "known".into(),
        ..Wanted::default()
    };
    let silence = world.alerts.silence(wanted).unwrap();
    let covered =
        |s: &Snapshot| s.alerts.iter().any(|of| of.silence.as_deref() == Some(&silence.id));
    world.until("silenced", covered).await;
    assert!(
        world.alerts.silence(Wanted { rule: Some("nix".into()), ..Wanted::default() }).is_err()
    );
    assert!(world.alerts.end_silence(&silence.id) && !world.alerts.end_silence(&silence.id));
    world.close().await;
}

#[tokio::test]
async fn a_walk_takes_parts_of_pages_along_and_says_where_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Receiver::shop().await;
    let world = world(dir.path());
    let step = |url: &str, change: &dyn Fn(&mut HttpStep)| {
        let mut step = HttpStep {
            name: Some(url.into()),
            method: "GET".into(),
            url: url.into(),
            headers: Default::default(),
            body: None,
            status: Vec::new(),
            contains: None,
            json: Default::default(),
            max_latency: None,
            certificate: None,
            extract: Default::default(),
        };
        change(&mut step);
        SyntheticStep::Http(Box::new(step))
    };
    let take = |s: &mut HttpStep| {
        s.extract.insert("product".into(), r#"body:href="(/products/[^"]+)"#.into());
    };
    let walk = |steps| Synthetic {
        steps,
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        retries: 0,
        failures: 2,
        severity: Severity::Page,
        notify: None,
        description: None,
    };
    let buy = vec![
        step("/", &take),
        step("{product}", &|s| s.contains = Some("p-1".into())),
        step("/cart", &|s| {
            s.body = Some("add={product}".into());
            s.method = "POST".into();
        }),
    ];
    let mut broken = buy.clone();
    broken.push(step("/missing", &|_| {}));
    let pace = AlertPace { grace: Duration::ZERO, ..AlertPace::default() };
    let mut watch = Watch { pace, ..Watch::default() };
    watch.checks.insert(name("buy"), walk(buy));
    watch.checks.insert(name("broken"), walk(broken));
    watch.checks.insert(name("port"), walk(vec![SyntheticStep::Tcp(shop.address.to_string())]));
    world.alerts.apply("shop", &watch, Secrets::default());
    world.alerts.tell(Facts {
        gateway: Some(Entrance {
            connect: shop.address,
            authority: "shop.test".into(),
            tls: false,
            hosts: Vec::new(),
        }),
        ..Facts::default()
    });
    let fires = |s: &Snapshot| s.alerts.iter().any(|of| of.alert.labels["check"] == "broken");
    let seen = world.until("the broken one fires", fires).await;
    assert_eq!(seen.alerts.len(), 1, "{seen:?}");
    assert_eq!(seen.alerts[0].alert.text, "/missing: it answered 404");
    let ran = |check: &str| seen.checks.iter().find(|of| of.name == check).unwrap().runs.clone();
    assert!(ran("buy").iter().filter(|run| run.ok).count() >= 1, "{:?}", ran("buy"));
    assert!(ran("port").iter().all(|run| run.ok));
    assert!(ran("gateway").iter().all(|run| run.ok), "the door is open");
    world.close().await;
}

#[tokio::test]
async fn mail_is_sent_and_a_channel_without_its_secret_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = receiver::smtp().await;
    let world = world(dir.path());
    let mail = Mail {
        to: vec!["ops@example.org".into(), "dev@example.org".into()],
        from: "archipel@example.org".into(),
        host: "127.0.0.1".into(),
        port: server.0,
        tls: MailTls::Off,
        user: Some("ops".into()),
        password: Some(SecretName::new("smtp").unwrap()),
    };
    let watch = watch(ChannelKind::Mail(Box::new(mail)));
    world.alerts.apply("shop", &watch, Secrets::default());
    let problem = world.alerts.snapshot().channels[0].problem.clone();
    assert_eq!(problem.as_deref(), Some("secret `smtp` has no value here"));
    let secrets = Secrets([(SecretName::new("smtp").unwrap(), "pw".to_owned())].into());
    world.alerts.apply("shop", &watch, secrets);
    world.alerts.test("ops").await.unwrap();
    let talk = server.1.await.unwrap();
    assert!(talk.contains("AUTH PLAIN AG9wcwBwdw=="), "{talk}");
    assert!(talk.contains("RCPT TO:<dev@example.org>"), "{talk}");
    assert!(world.alerts.test("opps").await.unwrap_err().contains("did you mean `ops`"));
    world.close().await;
}
