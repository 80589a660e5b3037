//! Brings a database file to the schema that this program knows.

use rusqlite::Connection;

/// The tables of the common rules. Every service has them; one that publishes nothing has an
/// empty outbox.
const COMMON: &str = "
CREATE TABLE IF NOT EXISTS outbox(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, type TEXT NOT NULL,
  subject TEXT NOT NULL, data TEXT NOT NULL, traceparent TEXT, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS inbox(
  source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL, received_at TEXT NOT NULL,
  PRIMARY KEY(source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency(
  key TEXT NOT NULL, route TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER NOT NULL,
  body TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY(key, route)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_age ON idempotency(created_at);
CREATE INDEX IF NOT EXISTS inbox_age ON inbox(received_at);
";

/// Applies the migrations that the file has not seen, each in a transaction with its number.
/// Returns the schema version of the file.
///
/// A file of a later version is taken as it is: migrations only expand what the version before
/// them reads, so the program before them still works (that is how a roll-back is possible).
pub(crate) fn migrate(conn: &mut Connection, migrations: &[&str]) -> rusqlite::Result<u32> {
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (version, sql) in (1u32..).zip(migrations) {
        if version <= found {
            continue;
        }
        let tx = conn.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    let tx = conn.transaction()?;
    tx.execute_batch(COMMON)?;
    tx.commit()?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        tracing::warn!(found, known, "the database is of a later version; going on with it");
    }
    Ok(found.max(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_each_migration_once_and_none_by_half() {
        let mut conn = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE a(x);";
        assert_eq!(migrate(&mut conn, &[first]).unwrap(), 1);
        assert_eq!(migrate(&mut conn, &[first]).unwrap(), 1);
        let broken = "CREATE TABLE b(x); CREATE TABLE a(x);";
        assert!(migrate(&mut conn, &[first, broken]).is_err());
        assert!(conn.execute("INSERT INTO b VALUES(1)", []).is_err(), "b must not exist");
        assert_eq!(migrate(&mut conn, &[first, "CREATE TABLE b(x);"]).unwrap(), 2);
        assert_eq!(
            migrate(&mut conn, &[first]).unwrap(),
            2,
            "an older program keeps the newer file"
        );
    }
}
