//! A small application of Python programs: enough to see everything but the store.

use archipel_e2e::App;

pub(crate) const APP_PY: &str = include_str!("../../fixtures/app.py");

/// `front` may call `back`; `lonely` may call nobody; `back` publishes, `front` subscribes.
pub(crate) const MANIFEST: &str = r#"
version = 1
[app]
name = "small"
[defaults]
health = "/readyz"
env = { MARK = "{mark}" }
restart = { on = "always", backoff = "100ms..2s", reset_after = "60s" }
stop = { grace = "5s", drain = "5s" }
[gateway]
listen = "127.0.0.1:{gateway}"
[[gateway.routes]]
match = "/**"
to = "front"
[[gateway.routes]]
match = "/back/**"
to = "back"
strip = "/back"
[[gateway.routes]]
match = "/lonely/**"
to = "lonely"
strip = "/lonely"
[services.front]
run = "python3 app.py"
database = { engine = "sqlite" }
calls = ["back"]
[services.front.subscribes]
"thing.done" = { path = "/events", retry = "100ms..1s", max_attempts = 3 }
[services.back]
run = "python3 app.py"
database = { engine = "sqlite" }
publishes = ["thing.done"]
outbox = "/outbox"
[services.lonely]
run = "python3 app.py"
"#;

pub(crate) fn small() -> App {
    App::new(MANIFEST, &[("app.py", APP_PY)]).expect("a directory can be made")
}

/// One service with what a test wants to say about it.
pub(crate) fn one(service: &str) -> App {
    let manifest = format!(
        r#"
version = 1
[app]
name = "one"
[defaults]
health = "/readyz"
env = {{ MARK = "{{mark}}" }}
restart = {{ on = "always", backoff = "100ms..1s", reset_after = "60s" }}
stop = {{ grace = "3s", drain = "5s" }}
[gateway]
listen = "127.0.0.1:{{gateway}}"
[[gateway.routes]]
match = "/**"
to = "web"
[services.web]
{service}
"#
    );
    App::new(&manifest, &[("app.py", APP_PY)]).expect("a directory can be made")
}
