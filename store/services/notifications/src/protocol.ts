// What every service of the store keeps for its neighbours: events to fetch
// (outbox) and events taken in (inbox).

import { randomBytes } from 'node:crypto';
import type { Db } from './db.js';

const DAY_MS = 86_400_000;
const OUTBOX_KEPT_MS = 7 * DAY_MS;
const INBOX_KEPT_MS = 30 * DAY_MS;
export const SOURCE = '/store/notifications';

/** A prefix and a UUIDv7 without hyphens. */
export function newId(prefix: string): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return prefix + bytes.toString('hex');
}

export interface Entry {
  seq: number;
  topic: string;
  event: Record<string, unknown>;
}

export class Outbox {
  readonly #db: Db;
  readonly #waiting = new Set<() => void>();

  constructor(db: Db) {
    this.#db = db;
  }

  /** Writes an event in the transaction that makes it true. */
  publish(topic: string, subject: string, traceparent: string, data: unknown): void {
    this.#db.run(
      'INSERT INTO outbox(id, topic, type, subject, data, traceparent, created_at) VALUES(?,?,?,?,?,?,?)',
      newId('evt_'), topic, `store.${topic}.v1`, subject, JSON.stringify(data), traceparent, new Date().toISOString(),
    );
    this.#db.afterCommit(() => this.wakeAll());
  }

  /** Answers those who wait; also when the service stops. */
  wakeAll(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  read(after: number, limit: number): { events: Entry[]; last_seq: number } {
    const rows = this.#db.all(
      'SELECT seq, id, topic, type, subject, data, traceparent, created_at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?',
      after, limit,
    );
    const last = this.#db.one('SELECT COALESCE(MAX(seq), 0) FROM outbox');
    return { events: rows.map(entry), last_seq: Number(last?.[0] ?? 0) };
  }

  /** Waits until something may have been published, for at most ms, or until the asker is gone. */
  wait(ms: number, gone: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        gone.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#waiting.add(end);
      gone.addEventListener('abort', end);
    });
  }
}

function entry(row: (string | number | null)[]): Entry {
  const [seq, id, topic, type, subject, data, traceparent, time] = row;
  return {
    seq: Number(seq),
    topic: String(topic),
    event: {
      specversion: '1.0', id, source: SOURCE, type, subject, time, datacontenttype: 'application/json',
      correlationid: subject, partitionkey: subject, ...(traceparent ? { traceparent } : {}), data: JSON.parse(String(data)),
    },
  };
}

/** Notes an event as taken in, in the transaction of its effect; false: it was before. */
export function receiveOnce(db: Db, source: string, id: string, topic: string): boolean {
  return db.run('INSERT INTO inbox(source, id, topic, received_at) VALUES(?,?,?,?) ON CONFLICT DO NOTHING',
    source, id, topic, new Date().toISOString()) === 1;
}

/** Deletes what nobody can ask for any more; the last event stays, so that positions never go back. */
export function sweep(db: Db, now: number): void {
  const before = (ms: number): string => new Date(now - ms).toISOString();
  db.within(() => {
    db.run('DELETE FROM outbox WHERE created_at < ? AND seq < (SELECT MAX(seq) FROM outbox)', before(OUTBOX_KEPT_MS));
    db.run('DELETE FROM inbox WHERE received_at < ?', before(INBOX_KEPT_MS));
  });
}
