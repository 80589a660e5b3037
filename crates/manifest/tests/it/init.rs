//! `archipel init`: what is proposed is valid, and the sample application runs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use archipel_manifest::init::{Detected, ScaffoldError, Tools, detect, scaffold};
use archipel_manifest::{Loaded, Style, render};
use proptest::prelude::*;

use super::Tree;

const BOTH: Tools = Tools { python: true, node: true };

/// Writes the proposal for a tree and loads it.
fn propose(tree: &Tree, tools: Tools) -> (Detected, Loaded) {
    let detected = detect(tree.0.path());
    let plan = scaffold(tree.0.path(), &detected, tools).unwrap();
    let written = plan.write(tree.0.path()).unwrap();
    assert!(written.kept.is_empty(), "{written:?}");
    let text = std::fs::read_to_string(tree.path("archipel.toml")).unwrap();
    let loaded = tree.load().unwrap_or_else(|problems| {
        panic!("{}\n{text}", render(&problems.0, Style::PLAIN));
    });
    (detected, loaded)
}

fn service<'a>(loaded: &'a Loaded, name: &str) -> &'a archipel_model::Service {
    loaded.app.services.get(name).unwrap_or_else(|| {
        panic!("no `{name}` among {:?}", loaded.app.services.keys().collect::<Vec<_>>())
    })
}

#[test]
fn a_tree_in_many_languages_is_recognised() {
    let tree = Tree::new([
        ("Cargo.toml", "[workspace]\nmembers = [\"services/*\"]\n"),
        ("services/orders/Cargo.toml", "[package]\nname = \"orders\"\n"),
        ("services/orders/src/main.rs", ""),
        ("services/shared/Cargo.toml", "[package]\nname = \"shared\"\n"),
        ("services/shared/src/lib.rs", ""),
        ("services/inventory/go.mod", "module example.org/shop/inventory\n\ngo 1.22\n"),
        ("services/inventory/cmd/inventory/main.go", ""),
        ("services/inventory/cmd/backfill/main.go", ""),
        (
            "services/payments/pom.xml",
            "<project><artifactId>payments</artifactId><version>1.0</version><build>spring-boot</build></project>",
        ),
        ("services/payments/mvnw", ""),
        (
            "services/front/package.json",
            "{\"name\": \"@shop/front\", \"scripts\": {\"start\": \"next start\", \"build\": \"next build\"}, \"dependencies\": {\"next\": \"1\"}}",
        ),
        ("services/front/package-lock.json", "{}"),
        ("services/front/node_modules/x/package.json", "{\"main\": \"index.js\"}"),
        (
            "services/mail/package.json",
            "{\"scripts\": {\"start\": \"NODE_ENV=production node .\"}, \"main\": \"mail.js\"}",
        ),
        ("services/mail/mail.js", ""),
        ("services/checkout/requirements.txt", "fastapi\nuvicorn\n"),
        ("services/checkout/main.py", "app = FastAPI()"),
        ("services/lib/pyproject.toml", "[project]\nname = \"lib\"\n"),
        (
            "docker-compose.yml",
            "services:\n  shop-front:\n    build: ./services/front\n  db:\n    image: postgres:16\n",
        ),
    ]);
    let (detected, loaded) = propose(&tree, Tools::default());
    let names: Vec<&str> = loaded.app.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(
        names,
        ["backfill", "checkout", "inventory", "mail", "orders", "payments", "shop-front"]
    );
    assert_eq!(service(&loaded, "orders").run.argv, ["../../target/release/orders"]);
    assert_eq!(service(&loaded, "orders").artifact, [tree.path("target/release/orders")]);
    assert_eq!(
        service(&loaded, "inventory").build.as_ref().unwrap().show(),
        "go build -o bin/inventory ./cmd/inventory"
    );
    assert_eq!(
        service(&loaded, "payments").run.show(),
        "java -jar target/payments-1.0.jar --server.port=$PORT"
    );
    assert_eq!(service(&loaded, "shop-front").run.argv, ["./node_modules/.bin/next", "start"]);
    assert_eq!(service(&loaded, "mail").run.argv, ["node", "mail.js"]);
    assert!(service(&loaded, "checkout").run.show().contains("uvicorn main:app"));
    assert_eq!(detected.notes.len(), 1, "{:?}", detected.notes);
    assert!(detected.notes[0].starts_with("services/lib/pyproject.toml: "));
    let text = std::fs::read_to_string(tree.path("archipel.toml")).unwrap();
    assert!(text.contains("`db` of the compose file (postgres:16)"), "{text}");
}

#[test]
fn a_procfile_is_followed() {
    let tree = Tree::new([
        (
            "Procfile",
            "web: node server.js\nworker: sh -c 'exec node worker.js' > log\nrelease: ./migrate\n",
        ),
        ("package.json", "{\"main\": \"server.js\"}"),
    ]);
    let (detected, loaded) = propose(&tree, Tools::default());
    assert_eq!(service(&loaded, "web").run.argv, ["node", "server.js"]);
    assert!(service(&loaded, "worker").run.shell);
    assert_eq!(loaded.app.services.len(), 2);
    assert!(detected.notes[0].contains("./migrate"));
}

#[test]
fn nothing_is_overwritten() {
    let tree = Tree::new([("services/web/web.js", "mine")]);
    let plan = scaffold(tree.0.path(), &Detected::default(), BOTH).unwrap();
    let written = plan.write(tree.0.path()).unwrap();
    assert_eq!(written.kept, [Path::new("services/web/web.js")]);
    assert_eq!(written.written.len(), 2);
    assert_eq!(std::fs::read_to_string(tree.path("services/web/web.js")).unwrap(), "mine");
    let again = plan.write(tree.0.path()).unwrap();
    assert_eq!((again.written.len(), again.kept.len()), (0, 3));
}

#[test]
fn without_a_language_the_reason_is_told() {
    let tree = Tree::new([]);
    let error = scaffold(tree.0.path(), &detect(tree.0.path()), Tools::default()).unwrap_err();
    assert!(matches!(error, ScaffoldError::NoLanguage));
}

#[test]
fn the_sample_application_is_valid_and_runs_in_every_combination() {
    let here = Tools::on_path(std::env::var_os("PATH").as_deref());
    let combinations = [(true, true), (true, false), (false, true)];
    for (python, node) in combinations {
        let tools = Tools { python, node };
        let tree = Tree::new([]);
        let (_, loaded) = propose(&tree, tools);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        if (python && !here.python) || (node && !here.node) {
            println!("skipped running {tools:?}: not installed here");
            continue;
        }
        let hello = Running::start(service(&loaded, "hello"), &[]);
        let web = Running::start(service(&loaded, "web"), &[("HELLO_URL", &hello.url())]);
        let page = web.get("/?name=%3CAda%3E");
        assert!(page.starts_with("HTTP/1.") && page.contains(" 200 "), "{page}");
        assert!(page.contains("Hello, &lt;Ada&gt;!"), "{page}");
        assert!(web.get("/healthz").contains(" 200 "));
        assert!(web.get("/nowhere").contains(" 404 "));
        hello.stop();
        assert!(web.get("/").contains(" 502 "), "without hello the page says so");
        web.stop();
    }
}

struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start(service: &archipel_model::Service, env: &[(&str, &str)]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new(&service.run.argv[0])
            .args(&service.run.argv[1..])
            .current_dir(&service.path)
            .env("PORT", port.to_string())
            .env("HOST", "127.0.0.1")
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, port };
        running.wait_until_ready();
        running
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn connect(&self) -> Option<TcpStream> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()
    }

    fn wait_until_ready(&self) {
        eventually("the service listens", || self.connect().is_some());
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// By the signal that a supervisor sends; ends by itself and with success.
    fn stop(mut self) {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
        eventually(
            "the service ends after TERM",
            || matches!(self.child.try_wait(), Ok(Some(status)) if status.success()),
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process, with a deadline")]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whatever_other_tools_files_say_the_proposal_is_valid() {
    let text = prop::sample::select(vec![
        "",
        "a",
        "my app",
        "x'y",
        "a\\\"b",
        "$X",
        "a;b",
        "../..",
        "日本",
        "a\\u0000",
        "a|b",
        "--",
        "1",
        "true && false",
    ]);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    proptest!(config, |(a in text.clone(), b in text)| {
        let tree = Tree::new([
            ("one/package.json", format!("{{\"name\": \"{a}\", \"main\": \"{b}\", \"scripts\": {{\"start\": \"{b}\"}}}}").as_str()),
            ("one/index.js", ""),
            ("two/Cargo.toml", format!("[package]\nname = \"{a}\"\n[[bin]]\nname = \"{b}\"\n").as_str()),
            ("three/pom.xml", format!("<artifactId>{a}</artifactId><version>{b}</version>").as_str()),
            ("four/go.mod", format!("module {a}").as_str()),
            ("four/main.go", ""),
            ("five/pyproject.toml", format!("[project]\nname = \"{a}\"\ndependencies = [\"{b}\"]\n").as_str()),
            ("five/app.py", ""),
            ("compose.yml", format!("services:\n  {a}:\n    image: {b}\n").as_str()),
        ]);
        propose(&tree, BOTH);
    });
}
