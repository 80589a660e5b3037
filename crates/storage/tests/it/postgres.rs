//! Against a real PostgreSQL: run by `tests/with-postgres.sh`.

use archipel_model::{AppName, ServiceName};
use archipel_storage::provision::{
    PostgresDatabase, ProvisionError, drop_postgres_database, postgres_database,
};
use tokio_postgres::NoTls;

const URL: &str = "ARCHIPEL_TEST_POSTGRES_URL";

fn server(test: &str) -> Option<String> {
    let url = std::env::var(URL).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!(
            "SKIPPED {test}: {URL} is not set; crates/storage/tests/with-postgres.sh sets it"
        );
    }
    url
}

/// One application per test, so that tests share a server.
fn names(app: &str) -> (AppName, ServiceName, ServiceName) {
    let service = |name| ServiceName::new(name).expect("a name");
    (AppName::new(app).expect("a name"), service("orders"), service("psp-sim"))
}

async fn make(
    server: &str,
    app: &AppName,
    service: &ServiceName,
    password: &str,
) -> PostgresDatabase {
    postgres_database(server, app, service, service.as_str(), password).await.expect("makes")
}

/// Connects and runs one statement, as a service would.
async fn run(url: &str, sql: &str) -> Result<(), String> {
    let show = |e: tokio_postgres::Error| {
        e.as_db_error().map_or(e.to_string(), |e| format!("{}: {}", e.code().code(), e.message()))
    };
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(show)?;
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    client.batch_execute(sql).await.map_err(show)
}

fn with_database(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{database}")
}

#[tokio::test]
async fn a_service_owns_its_database_and_keeps_it_over_restarts() {
    let Some(server) = server("a_service_owns_its_database") else { return };
    let (app, orders, _) = names("keeps");
    let made = make(&server, &app, &orders, "first'\\ password").await;
    assert_eq!((made.role.as_str(), made.database.as_str()), ("keeps_orders", "keeps_orders"));
    run(&made.url, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)").await.expect("owns it");

    assert_eq!(make(&server, &app, &orders, "first'\\ password").await, made);
    let changed = make(&server, &app, &orders, "second").await;
    run(&changed.url, "SELECT 1/count(*) FROM t").await.expect("the data is still there");
    let refused = run(&made.url, "SELECT 1").await.expect_err("the old password is gone");
    assert!(refused.starts_with("28P01"), "{refused}");
    assert!(!format!("{changed:?}").contains("second"), "a password is never shown");

    drop_postgres_database(&server, &app, &orders, "orders").await.expect("drops");
    drop_postgres_database(&server, &app, &orders, "orders").await.expect("nothing to drop");
    assert!(run(&changed.url, "SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_service_can_neither_connect_to_nor_read_the_database_of_another() {
    let Some(server) = server("a_service_can_neither_connect") else { return };
    let (app, orders, psp) = names("apart");
    let (a, b) = (make(&server, &app, &orders, "a").await, make(&server, &app, &psp, "b").await);
    run(&b.url, "CREATE TABLE secret (x int); INSERT INTO secret VALUES (42)").await.expect("own");

    for (from, to) in [(&a, &b), (&b, &a)] {
        let url = with_database(&from.url, &to.database);
        let refused = run(&url, "SELECT 1").await.expect_err("connects to another's database");
        assert!(refused.starts_with("42501"), "insufficient privilege, not {refused}");
    }
    // Nor by becoming the other role, nor by opening its own database to itself.
    for sql in [
        "SET ROLE \"apart_psp-sim\"",
        "GRANT \"apart_psp-sim\" TO apart_orders",
        "GRANT CONNECT ON DATABASE \"apart_psp-sim\" TO apart_orders",
        "ALTER ROLE \"apart_psp-sim\" PASSWORD 'mine'",
        "CREATE DATABASE more",
        "CREATE ROLE more",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ] {
        let refused = run(&a.url, sql).await;
        // GRANT without the right to grant is a warning in PostgreSQL, and changes nothing.
        let silent = sql.starts_with("GRANT CONNECT");
        assert!(refused.is_err() || silent, "{sql}");
    }
    let url = with_database(&a.url, &b.database);
    assert!(run(&url, "SELECT 1").await.is_err(), "still closed");
    for (service, name) in [(&orders, "orders"), (&psp, "psp-sim")] {
        drop_postgres_database(&server, &app, service, name).await.expect("drops");
    }
}

#[tokio::test]
async fn the_database_of_somebody_else_is_never_taken_over() {
    let Some(server) = server("the_database_of_somebody_else") else { return };
    let (app, orders, psp) = names("taken");
    make(&server, &app, &orders, "a").await;
    let error = postgres_database(&server, &app, &psp, "orders", "b").await.expect_err("refused");
    assert!(matches!(&error, ProvisionError::Owner { owner, .. } if owner == "taken_orders"));
    let error = drop_postgres_database(&server, &app, &psp, "orders").await.expect_err("refused");
    assert!(matches!(error, ProvisionError::Owner { .. }), "{error}");
    drop_postgres_database(&server, &app, &psp, "psp-sim").await.expect("drops the role");
    drop_postgres_database(&server, &app, &orders, "orders").await.expect("drops");
}

/// A server URL whose role is not a superuser, as a person would make for Archipel.
#[tokio::test]
async fn a_role_that_may_create_roles_and_databases_is_enough() {
    let Some(server) = server("a_role_that_may_create") else { return };
    let creator = "DROP ROLE IF EXISTS modest_admin; \
                   CREATE ROLE modest_admin LOGIN CREATEDB CREATEROLE PASSWORD 'm'";
    run(&server, creator).await.expect("the test's server allows it");
    let (app, orders, _) = names("modest");
    let (_, place) = server.rsplit_once('@').expect("a URL with a user");
    let modest = format!("postgres://modest_admin:m@{place}");
    let made = make(&modest, &app, &orders, "a").await;
    run(&made.url, "CREATE TABLE t (x int)").await.expect("owns it");
    make(&modest, &app, &orders, "a").await;
    drop_postgres_database(&modest, &app, &orders, "orders").await.expect("drops");
    run(&server, "DROP ROLE modest_admin").await.expect("nothing hangs on it");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_in_the_error() {
    let (app, orders, _) = names("absent");
    let url = "postgres://admin:secret@127.0.0.1:1/postgres";
    let error = postgres_database(url, &app, &orders, "orders", "a").await.expect_err("absent");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_database_is_looked_into_and_not_written() {
    use archipel_storage::inspect::{InspectError, ROWS_MAX, Source};
    let Some(server) = server("a_database_is_looked_into") else { return };
    let (app, orders, _) = names("looks");
    let made = make(&server, &app, &orders, "password").await;
    let fill = "CREATE TABLE t (id int, note text, at timestamptz); \
                INSERT INTO t VALUES (1, 'first', '2026-01-31 12:00Z'), (2, NULL, NULL); \
                CREATE VIEW v AS SELECT id FROM t; CREATE SCHEMA other; \
                CREATE TABLE other.\"odd \"\"name\" (a int); CREATE SEQUENCE s";
    run(&made.url, fill).await.expect("owns it");
    let source = Source::Postgres(made.url.clone());

    let tables = source.tables().await.expect("tables");
    let told: Vec<_> = tables.iter().map(|t| (&*t.name, &*t.kind, t.rows)).collect();
    let odd = ("other.odd \"name", "table", Some(0));
    assert_eq!(told, [odd, ("t", "table", Some(2)), ("v", "view", None)]);
    assert_eq!(tables[1].columns, ["id", "note", "at"]);

    let found = source.query("SELECT id, note FROM t ORDER BY id;").await.expect("rows");
    assert_eq!(found.columns, ["id", "note"]);
    assert_eq!(found.rows[1], [Some("2".to_owned()), None]);
    for sql in [
        "DELETE FROM t RETURNING id",
        "UPDATE t SET note = 'x' RETURNING id",
        "DROP TABLE t",
        "COMMIT",
        "COMMIT; DELETE FROM t",
        "SELECT 1; SELECT 2",
        "SELECT nextval('s')",
        "DO $$ BEGIN EXECUTE 'SET TRANSACTION READ WRITE'; DELETE FROM t; END $$",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "WITH gone AS (DELETE FROM t RETURNING id) SELECT * FROM gone",
        "SELECT * FROM nothing",
        "",
    ] {
        let refused = source.query(sql).await;
        assert!(matches!(refused, Err(InspectError::Statement(_))), "{sql}: {refused:?}");
    }
    let many = source.query("SELECT generate_series(1, 100000)").await.expect("rows");
    assert_eq!((many.rows.len(), many.more), (ROWS_MAX, true));
    let slow = source.query("SELECT pg_sleep(30)").await;
    assert!(matches!(slow, Err(InspectError::TooLong(_))), "{slow:?}");
    let left = source.query("SELECT count(*) FROM t").await.expect("rows");
    assert_eq!(left.rows[0][0].as_deref(), Some("2"));
    // An error names the server's words and never the password.
    let wrong = Source::Postgres(made.url.replace(":password@", ":pass-words@"));
    let told = wrong.tables().await.expect_err("refused").to_string();
    assert!(!told.contains("pass-words"), "{told}");
    drop_postgres_database(&server, &app, &orders, orders.as_str()).await.expect("drops");
}

/// A service that brings its own database, and connects to it as its owner of everything.
#[tokio::test]
async fn a_superuser_reads_tables_here_and_neither_files_nor_processes() {
    use archipel_storage::inspect::{InspectError, Source};
    let Some(server) = server("a_superuser_reads_tables_here") else { return };
    let (app, orders, _) = names("super");
    let made = make(&server, &app, &orders, "password").await;
    run(&made.url, "CREATE TABLE t (id int); INSERT INTO t VALUES (7)").await.expect("owns it");
    let (place, _) = server.rsplit_once('/').expect("a database");
    let (_, database) = made.url.rsplit_once('/').expect("a database");
    let source = Source::Postgres(format!("{place}/{database}"));
    let found = source.query("SELECT id FROM t").await.expect("rows");
    assert_eq!(found.rows, [[Some("7".to_owned())]]);
    assert_eq!(source.tables().await.expect("tables")[0].rows, Some(1));
    for sql in [
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT * FROM pg_ls_dir('/')",
        "SELECT pg_reload_conf()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
        "SELECT lo_export(1, '/tmp/archipel-should-not-be')",
    ] {
        let refused = source.query(sql).await;
        assert!(matches!(refused, Err(InspectError::Statement(_))), "{sql}: {refused:?}");
    }
    drop_postgres_database(&server, &app, &orders, orders.as_str()).await.expect("drops");
}
