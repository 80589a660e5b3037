//! The application that comes out: defaults, short forms, profiles.

use std::time::Duration;

use archipel_model::{
    Breaker, Bulkhead, Bytes, Check, DatabaseEngine, EnvValue, FallbackOn, Hedge, Priority,
    RetryOn, Service, Spare,
};

use super::{HEAD, Tree, parse, problems};

fn service(text: &str) -> Service {
    let app = parse(&format!("{HEAD}{text}")).unwrap().app;
    app.services.values().next().unwrap().clone()
}

#[test]
fn the_smallest_service_has_sensible_defaults() {
    let tree = Tree::new([(
        "archipel.toml",
        "version = 1\napp.name = \"x\"\n[services.my-cart]\nrun = \"./cart\"\n",
    )]);
    let app = tree.load().unwrap().app;
    let cart = &app.services["my-cart"];
    assert_eq!(cart.path, tree.0.path());
    assert_eq!((cart.replicas, cart.memory, cart.port), (1, None, None));
    assert_eq!(cart.health.ready.check, Check::Tcp);
    assert_eq!(cart.run.argv, ["./cart"]);
    assert!(app.gateway.is_none());
}

#[test]
fn a_service_inherits_and_overrides_deeply() {
    let cart = service(
        "[defaults]\nmemory = \"256M\"\nenv = { A = \"1\", B = \"2\" }\nstop = { signal = \"INT\", grace = \"20s\" }\n\
         health.startup = { within = \"90s\" }\nhealth.ready = { path = \"/readyz\", every = \"5s\" }\n\
         [services.cart]\nrun = \"./cart\"\nmemory = { go = true }\nenv = { B = \"3\" }\nstop = { grace = \"1s\" }\n\
         health = { ready = { tcp = true } }\n",
    );
    let memory = cart.memory.unwrap();
    assert_eq!((memory.limit, memory.go), (Bytes(256 << 20), true));
    assert_eq!(cart.env["A"], EnvValue::Text("1".into()));
    assert_eq!(cart.env["B"], EnvValue::Text("3".into()));
    assert_eq!(cart.stop.signal, archipel_model::Signal::Int);
    assert_eq!(cart.stop.grace, Duration::from_secs(1));
    assert_eq!(cart.health.ready.check, Check::Tcp, "the kind of check is replaced");
    assert_eq!(cart.health.ready.every, Duration::from_secs(5), "its timing is kept");
    assert_eq!(cart.health.startup.within, Duration::from_secs(90));
    assert_eq!(cart.health.startup.check, Check::Tcp, "startup asks what ready asks");
}

#[test]
fn a_short_form_over_defaults_keeps_their_timing() {
    let cart = service(
        "[defaults.health]\nready = { tcp = true, every = \"7s\" }\nstartup = { within = \"3m\" }\n\
         [services.cart]\nrun = \"./cart\"\nhealth = \"/up\"\n",
    );
    let up = Check::Http { path: "/up".into() };
    assert_eq!((cart.health.startup.check, cart.health.ready.check), (up.clone(), up));
    assert_eq!(cart.health.ready.every, Duration::from_secs(7));
    assert_eq!(cart.health.startup.within, Duration::from_secs(180));
    assert!(cart.health.live.is_none());
}

#[test]
fn a_startup_check_by_log_is_not_asked_again_for_readiness() {
    let cart =
        service("[services.cart]\nrun = \"./cart\"\nhealth = { startup = { log = \"ready\" } }\n");
    assert_eq!(cart.health.startup.check, Check::Log { pattern: "ready".into() });
    assert_eq!(cart.health.ready.check, Check::Tcp);
}

#[test]
fn commands_become_words_and_scripts() {
    let cart = service(
        "[services.cart]\nrun = \"node 'my server.js' --port $PORT\"\nbuild = \"npm ci && npm run build\"\n",
    );
    assert_eq!(cart.run.argv, ["node", "my server.js", "--port", "$PORT"]);
    assert!(!cart.run.shell);
    let build = cart.build.unwrap();
    assert_eq!(
        (build.argv.as_slice(), build.shell),
        (["npm ci && npm run build".to_owned()].as_slice(), true)
    );
    let cart = service("[services.cart]\nshell = true\nrun = \"ulimit -n 10 && exec ./cart\"\n");
    assert!(cart.run.shell);
}

#[test]
fn calls_inherit_the_policy_of_their_service_and_of_all() {
    let text = format!(
        "{HEAD}[defaults.resiliency]\ntimeout = \"5s\"\nbulkhead = 8\nretry = {{ attempts = 4 }}\n\
         [services.a]\nrun = \"./a\"\nresiliency = {{ timeout = \"2s\" }}\n\
         calls = {{ b = {{}}, c = {{ timeout = \"9s\", retry = {{ attempts = 0 }} }} }}\n\
         [services.b]\nrun = \"./b\"\n[services.c]\nrun = \"./c\"\ncalls = [\"b\"]\n"
    );
    let app = parse(&text).unwrap().app;
    let policy = |from: &str, to: &str| &app.services[from].calls[to];
    let shown = |from, to| {
        let policy = policy(from, to);
        (policy.timeout.unwrap().as_secs(), policy.retry.attempts, policy.safeguards.bulkhead)
    };
    let bulkhead = Some(Bulkhead::new(8));
    assert_eq!(shown("a", "b"), (2, 4, bulkhead));
    assert_eq!(shown("a", "c"), (9, 0, bulkhead));
    assert_eq!(shown("c", "b"), (5, 4, bulkhead));
}

#[test]
fn an_external_has_a_policy_of_its_own() {
    let text = format!(
        "{HEAD}[defaults.resiliency]\ntimeout = \"5s\"\nretry = {{ attempts = 4 }}\n\
         [externals.bank]\nurl = \"https://bank.example.org\"\n\
         resiliency = {{ timeout = \"20s\", idempotency = \"header:Idempotency-Key\" }}\n\
         [services.a]\nrun = \"./a\"\ncalls = [\"bank\"]\n\
         [services.b]\nrun = \"./b\"\ncalls = {{ bank = {{ timeout = \"9s\" }} }}\n"
    );
    let app = parse(&text).unwrap().app;
    let shown = |from: &str| {
        let policy = &app.services[from].calls["bank"];
        let key = policy.idempotency.as_deref().unwrap();
        (policy.timeout.unwrap().as_secs(), policy.retry.attempts, key)
    };
    assert_eq!(shown("a"), (20, 4, "idempotency-key"));
    assert_eq!(shown("b"), (9, 4, "idempotency-key"));
    let odd = text.replace("header:Idempotency-Key", "Idempotency-Key");
    assert_eq!(problems(parse(&odd)).len(), 1);
}

#[test]
fn safeguards_are_as_the_file_says_and_otherwise_off() {
    let text = include_str!("../../test-data/good/safeguards.toml");
    let app = parse(text).unwrap().app;
    let stock = &app.services["web"].calls["stock"].safeguards;
    let breaker = stock.breaker.unwrap();
    let millis = Duration::from_millis;
    assert_eq!((breaker.errors, breaker.min_requests), (25, 5));
    assert_eq!((breaker.window, breaker.open_for), (millis(30_000), millis(1_000)));
    assert_eq!(stock.bulkhead, Some(Bulkhead { max: 16, queue: 4, wait: millis(50) }));
    assert_eq!(stock.hedge, Some(Hedge::Percentile(95)));
    assert_eq!(stock.priority, Some(Priority::Low));
    let fallback = stock.fallback.as_deref().unwrap();
    let Spare::Static { status, content_type, body } = &fallback.with else { panic!() };
    assert_eq!((*status, content_type.as_str()), (200, "application/json"));
    assert_eq!(body, "{\"free\":{}}");
    assert_eq!(fallback.methods, ["GET"]);
    let on = &fallback.on;
    assert_eq!((on.timeout, on.breaker, on.connect, on.overload), (true, true, false, false));
    assert_eq!(on.statuses, [503]);
    let books = &app.services["web"].calls["books"].safeguards;
    assert_eq!(books.breaker, Some(Breaker::default()), "from [defaults]");
    assert_eq!(books.hedge, Some(Hedge::After(millis(150))));
    assert_eq!(books.fallback.as_deref().unwrap().with, Spare::Stale(millis(3_600_000)));
    assert_eq!(app.services["stock"].slow_start, Some(millis(30_000)));
    assert_eq!(app.services["books"].slow_start, Some(Duration::ZERO));
    let routes = &app.gateway.as_ref().unwrap().routes;
    assert_eq!(routes[0].safeguards.priority, Some(Priority::Critical));
    let stale = routes[0].safeguards.fallback.as_deref().unwrap();
    assert_eq!(stale.with, Spare::Stale(Spare::STALE_DEFAULT));
    assert_eq!(stale.on, FallbackOn::default());
    assert_eq!(routes[1].safeguards.fallback.as_deref().unwrap().with, Spare::Skip);
    assert_eq!(routes[1].safeguards.breaker, None, "a route has what it says");
}

#[test]
fn a_call_of_which_nothing_is_said_does_not_wait_for_ever() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\n[services.a.calls]\nb = {{}}\nc = {{}}\nd = {{}}\n\
         [services.b]\nrun = \"./b\"\n[services.c]\nrun = \"./c\"\nprotocol = \"grpc\"\n\
         [externals.d]\nurl = \"http://127.0.0.1:9\"\n"
    );
    let app = parse(&text).unwrap().app;
    let timeout = |to: &str| app.services["a"].calls[to].timeout.map(|limit| limit.as_secs());
    assert_eq!((timeout("b"), timeout("c"), timeout("d")), (Some(60), None, Some(60)));
}

#[test]
fn requests_wait_for_a_service_that_starts_unless_told_otherwise() {
    let five = Some(std::time::Duration::from_secs(5));
    let app = |gateway: &str, route: &str, call: &str| {
        let text = format!(
            "{HEAD}[services.a]\nrun = \"./a\"\ncalls = {{ b = {{ {call} }} }}\n\
             [services.b]\nrun = \"./b\"\n\
             [gateway]\n{gateway}\n[[gateway.routes]]\nmatch = \"/**\"\nto = \"a\"\n{route}\n"
        );
        let app = parse(&text).unwrap().app;
        (app.gateway.unwrap().routes[0].hold, app.services["a"].calls["b"].hold)
    };
    let seconds = |n| Some(std::time::Duration::from_secs(n));
    assert_eq!(app("", "", ""), (five, five));
    assert_eq!(app("hold = \"30s\"", "", "hold = \"9s\""), (seconds(30), seconds(9)));
    assert_eq!(app("hold = \"30s\"", "hold = \"1s\"", "hold = \"0s\""), (seconds(1), None));
    assert_eq!(app("hold = \"0s\"", "", ""), (None, five));
}

#[test]
fn a_call_and_a_route_may_say_how_long_each_part_takes() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\nresiliency = {{ idle = \"1m\" }}\n\
         calls = {{ b = {{ connect = \"200ms\" }} }}\n[services.b]\nrun = \"./b\"\ncalls = [\"a\"]\n\
         [[gateway.routes]]\nmatch = \"/**\"\nto = \"a\"\nconnect = \"1s\"\nidle = \"2m\"\n"
    );
    let app = parse(&text).unwrap().app;
    let millis = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_millis());
    let call = &app.services["a"].calls["b"];
    assert_eq!((millis(call.connect), millis(call.idle)), (Some(200), Some(60_000)));
    let route = &app.gateway.unwrap().routes[0];
    assert_eq!((millis(route.connect), millis(route.idle)), (Some(1_000), Some(120_000)));
    let call = &app.services["b"].calls["a"];
    assert_eq!((call.connect, call.idle), (None, None));
    let zero = text.replace("200ms", "0s");
    assert_eq!(problems(parse(&zero)).len(), 1, "a limit of nothing refuses everything");
}

#[test]
fn a_retry_policy_says_after_what_how_often_and_how_soon() {
    let retry = |text: &str| {
        let text = format!(
            "{HEAD}[services.a]\nrun = \"./a\"\ncalls = {{ b = {{ {text} }} }}\n[services.b]\nrun = \"./b\"\n"
        );
        parse(&text).map(|loaded| loaded.app.services["a"].calls["b"].retry)
    };
    let default = retry("").unwrap();
    assert_eq!((default.attempts, default.budget, default.on), (2, Some(20), RetryOn::ALL));
    let said = retry(
        "retry = { attempts = 1, on = [\"reset\", \"503\"], budget = \"12.5%\", backoff = \"1s..2s\" }",
    );
    let said = said.unwrap();
    assert_eq!((said.attempts, said.budget, said.backoff.max.as_secs()), (1, Some(13), 2));
    assert!(said.on.reset && said.on.status(503));
    assert!(!said.on.connect && !said.on.status(502) && !said.on.status(504));
    assert!(retry("retry = { on = [\"500\"] }").is_err(), "a 500 may come after an effect");
}

#[test]
fn events_have_paths_and_limits() {
    let app = parse(&format!(
        "{HEAD}[services.a]\nrun = \"./a\"\npublishes = [\"x.y\"]\noutbox = true\n\
         [services.b]\nrun = \"./b\"\nsubscribes = [\"x.*\"]\n\
         [services.c]\nrun = \"./c\"\nsubscribes = {{ \"x.y\" = {{ path = \"/e\", ordered_by = \"id\", concurrency = 2, retry = \"1s..2s\", max_attempts = 3 }} }}\n"
    ))
    .unwrap()
    .app;
    assert_eq!(app.services["a"].outbox.as_deref(), Some("/_archipel/outbox"));
    assert_eq!(app.services["b"].subscribes["x.*"].path, "/_archipel/events");
    let c = &app.services["c"].subscribes["x.y"];
    assert_eq!((c.path.as_str(), c.ordered_by.as_deref()), ("/e", Some("id")));
    assert_eq!((c.concurrency, c.attempts_max, c.backoff.max.as_secs()), (2, 3, 2));
}

#[test]
fn a_database_is_named_after_its_service() {
    let cart =
        service("[services.my-cart]\nrun = \"./cart\"\ndatabase = { engine = \"postgres\" }\n");
    let database = cart.database.unwrap();
    assert_eq!((database.engine, database.name.as_str()), (DatabaseEngine::Postgres, "my_cart"));
    assert_eq!(database.url, None);
}

#[test]
fn a_profile_changes_values_and_defaults_stay_weaker_than_services() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\nreplicas = 3\nartifact = [\"x\", \"y\"]\nenv = {{ KEY = {{ secret = \"key\" }} }}\n\
         [services.b]\nrun = \"./b\"\n[secrets]\nkey = {{}}\n[gateway]\nlisten = \"0.0.0.0:80\"\nhosts = [\"a.example\"]\n\
         [profiles.dev]\ndefaults = {{ replicas = 2 }}\ngateway = {{ listen = \"127.0.0.1:8080\" }}\n\
         [profiles.dev.services.a]\nartifact = [\"z\"]\nenv = {{ KEY = \"dummy\" }}\n"
    );
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    let loaded = tree.load_profile(Some("dev")).unwrap();
    assert!(
        loaded.warnings.is_empty(),
        "a secret used without the profile is used: {:?}",
        loaded.warnings
    );
    let app = loaded.app;
    assert_eq!(app.services["a"].replicas, 3, "what a service says itself stands");
    assert_eq!(app.services["b"].replicas, 2);
    assert_eq!(app.services["a"].artifact, [tree.path("z")], "arrays are replaced");
    assert_eq!(app.services["a"].env["KEY"], EnvValue::Text("dummy".into()));
    let gateway = app.gateway.unwrap();
    assert_eq!(gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(gateway.hosts, ["a.example"]);
    let base = tree.load().unwrap().app;
    assert_eq!(base.gateway.unwrap().listen.to_string(), "0.0.0.0:80");
}

#[test]
fn a_profile_can_switch_a_service_on_or_off() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\ncalls = [\"b\"]\ndepends_on = [\"b\"]\n[services.b]\nrun = \"./b\"\n\
         [jobs.j]\nservice = \"b\"\nrun = \"./j\"\n[[gateway.routes]]\nmatch = \"/**\"\nto = \"b\"\n\
         [profiles.small.services.b]\ndisabled = true\n"
    );
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    assert_eq!(tree.load().unwrap().app.services.len(), 2);
    let loaded = tree.load_profile(Some("small")).unwrap();
    let app = loaded.app;
    assert_eq!(app.services.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(app.services["a"].calls.is_empty() && app.services["a"].depends_on.is_empty());
    assert!(app.jobs.is_empty() && app.gateway.unwrap().routes.is_empty());
    assert_eq!(loaded.warnings.len(), 4, "{:#?}", loaded.warnings);
}

#[test]
fn a_job_uses_the_directory_of_its_service() {
    let text = format!(
        "{HEAD}[services.a]\npath = \"svc\"\nrun = \"./a\"\n[jobs.x]\nservice = \"a\"\nrun = \"./x\"\nschedule = \" 0  3 * * * \"\n\
         [jobs.y]\npath = \"tools\"\nrun = \"./y\"\n"
    );
    let tree = Tree::new([("archipel.toml", text.as_str()), ("svc/", ""), ("tools/", "")]);
    let app = tree.load().unwrap().app;
    assert_eq!(app.jobs["x"].path, tree.path("svc"));
    assert_eq!(app.jobs["x"].schedule.as_deref(), Some("0 3 * * *"));
    assert_eq!(app.jobs["y"].path, tree.path("tools"));
}
