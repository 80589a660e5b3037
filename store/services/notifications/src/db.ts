// The service's one file of SQLite. Calls are synchronous and the program has
// one thread, so every transaction here is alone by construction; a second
// process on the same file waits for the lock.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Libsql from 'libsql';
import { log } from './log.js';

export const SCHEMA_VERSION = 1;

type Value = string | number | null;

const MIGRATIONS = [
  // 1: messages, whom they go to, and the tables of the protocol
  `
CREATE TABLE contact (
  customer_id   TEXT PRIMARY KEY,
  name          TEXT NOT NULL,
  email         TEXT NOT NULL,
  phone         TEXT NOT NULL,
  locale        TEXT NOT NULL,
  kind          TEXT NOT NULL,
  consent_sms   INTEGER NOT NULL,
  consent_email INTEGER NOT NULL,
  fact_at       INTEGER NOT NULL   -- when the customer said so, unix ms
);
CREATE TABLE message (
  id           TEXT PRIMARY KEY,   -- hash of order, template, channel: one of each
  order_id     TEXT NOT NULL,
  customer_id  TEXT NOT NULL,
  template     TEXT NOT NULL,
  channel      TEXT NOT NULL CHECK (channel IN ('sms')),
  state        TEXT NOT NULL CHECK (state IN ('QUEUED','SENT','SUPPRESSED','FAILED')),
  reason       TEXT NOT NULL DEFAULT '',
  recipient    TEXT NOT NULL,
  body         TEXT NOT NULL,
  rank         INTEGER NOT NULL,   -- how far on the order's way the fact is
  fact_at      INTEGER NOT NULL,   -- unix ms
  due_at       INTEGER NOT NULL,   -- unix ms
  attempts     INTEGER NOT NULL DEFAULT 0,
  forced       INTEGER NOT NULL DEFAULT 0,  -- a person wants it sent, however late
  provider_ref TEXT,
  traceparent  TEXT NOT NULL,
  created_at   TEXT NOT NULL,
  sent_at      TEXT,
  CHECK (state <> 'SENT' OR provider_ref IS NOT NULL)
);
CREATE INDEX message_order ON message(order_id, rank);
CREATE INDEX message_due ON message(due_at) WHERE state = 'QUEUED';
CREATE INDEX message_created ON message(created_at);
CREATE TABLE outbox (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  topic       TEXT NOT NULL,
  type        TEXT NOT NULL,
  subject     TEXT NOT NULL,
  data        TEXT NOT NULL,
  traceparent TEXT NOT NULL DEFAULT '',
  created_at  TEXT NOT NULL
);
CREATE TABLE inbox (
  source      TEXT NOT NULL,
  id          TEXT NOT NULL,
  topic       TEXT NOT NULL,
  received_at TEXT NOT NULL,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;
`,
];

/** Rows come back as arrays: the driver adds members of its own to objects. */
type Row = Value[];

export class Db {
  readonly #file: InstanceType<typeof Libsql>;
  readonly #prepared = new Map<string, ReturnType<InstanceType<typeof Libsql>['prepare']>>();
  readonly #afterCommit: (() => void)[] = [];

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#file = new Libsql(path, { timeout: 5000 });
    for (const pragma of ['journal_mode=WAL', 'synchronous=NORMAL', 'foreign_keys=ON', 'cache_size=-1024']) {
      this.#file.prepare(`PRAGMA ${pragma}`).all();
    }
    this.#migrate();
  }

  #migrate(): void {
    this.within(() => {
      const have = Number(this.one('PRAGMA user_version')?.[0] ?? 0);
      if (have > SCHEMA_VERSION) {
        log.warn('the database was made by a later version of this service; using it as it is', { schema_version: have });
        return;
      }
      for (const migration of MIGRATIONS.slice(have)) this.#file.exec(migration);
      this.#file.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    });
  }

  #statement(sql: string): ReturnType<InstanceType<typeof Libsql>['prepare']> {
    let found = this.#prepared.get(sql);
    if (!found) {
      found = this.#file.prepare(sql);
      if (found.reader) found.raw();
      this.#prepared.set(sql, found);
    }
    return found;
  }

  /** Runs change in a transaction: all of it, or nothing and the error. */
  within<T>(change: () => T): T {
    this.run('BEGIN IMMEDIATE');
    let result: T;
    try {
      result = change();
      this.run('COMMIT');
    } catch (error) {
      this.#afterCommit.length = 0;
      if (this.#file.inTransaction) this.#file.exec('ROLLBACK');
      throw error;
    }
    for (const tell of this.#afterCommit.splice(0)) tell();
    return result;
  }

  /** Inside a transaction: tell somebody when it has become true. */
  afterCommit(tell: () => void): void {
    this.#afterCommit.push(tell);
  }

  /** Changes rows and returns how many. */
  run(sql: string, ...values: Value[]): number {
    return this.#statement(sql).run(values).changes;
  }

  one(sql: string, ...values: Value[]): Row | undefined {
    return this.all(sql, ...values)[0];
  }

  /** All rows: the driver is never left in the middle of a result, which would hold the log open. */
  all(sql: string, ...values: Value[]): Row[] {
    return this.#statement(sql).all(values) as Row[];
  }

  close(): void {
    this.#prepared.clear();
    this.#file.close();
  }
}
