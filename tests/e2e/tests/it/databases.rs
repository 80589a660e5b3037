//! Each service has a database of its own that no other can open.

use std::os::unix::fs::PermissionsExt;

use archipel_e2e::get;

use crate::fixture::small;

#[test]
fn one_service_cannot_read_the_file_of_another() {
    let app = small();
    app.up();
    let file = |service: &str| app.state().join("data").join(service).join(format!("{service}.db"));
    let read = |reader: &str, path: &std::path::Path| {
        let url = app.url(&format!("{reader}/read?path={}", path.display()));
        get(&url).expect("answer").json().expect("json")
    };
    assert!(read("/back", &file("back"))["read"].is_u64(), "its own it can");
    if !app.run(&["describe", "back", "--json"]).ok().json()["isolation"]
        .as_str()
        .is_some_and(|kind| kind.contains("mount"))
    {
        eprintln!("skipped: this machine gives no way to hide a directory from a process");
        return;
    }
    let refused = read("/back", &file("front"));
    assert!(refused["error"].is_string(), "{refused}");
    let tokens = app.state().join("secrets/tokens.json");
    assert!(tokens.exists());
    assert!(read("/back", &tokens)["error"].is_string(), "nor the tokens of others");
    let mode = std::fs::metadata(app.state().join("data/front")).expect("dir").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_shell_opens_the_service_s_own_database() {
    let app = small();
    app.up();
    let outcome = app.run(&["db", "shell", "back", "-c", "SELECT count(*) FROM outbox"]).ok();
    assert!(outcome.out.trim().ends_with('0'), "{}", outcome.out);
    let outcome = app.run(&["db", "shell", "lonely"]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(app.run(&["db", "list"]).ok().out.contains("sqlite"));
}

#[test]
fn a_service_gets_a_postgres_database_and_role_of_its_own() {
    let Ok(server) = std::env::var("ARCHIPEL_TEST_POSTGRES_URL") else {
        eprintln!("skipped: ARCHIPEL_TEST_POSTGRES_URL is not set");
        return;
    };
    let _alone = crate::shared::alone_with_the_server();
    let app = crate::fixture::one("run = \"python3 app.py\"\ndatabase = { engine = \"postgres\" }");
    // The fixture opens only files; what matters here is what it was given.
    let app = app.env("ARCHIPEL_POSTGRES_URL", &server);
    app.up();
    let env = get(&app.url("/env")).expect("answer").json().expect("json");
    assert_eq!((&env["PGUSER"], &env["PGDATABASE"]), (&"one_web".into(), &"one_web".into()));
    let described = app.run(&["describe", "web", "--json"]).ok();
    let password = env["PGPASSWORD"].as_str().expect("a password");
    assert!(!described.out.contains(password), "describe masks it");
    let outcome = app.run(&["db", "shell", "web", "-c", "SELECT current_user"]).ok();
    assert!(outcome.out.contains("one_web"), "{}", outcome.out);
}
