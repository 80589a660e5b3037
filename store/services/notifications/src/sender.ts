// Sends what is queued. All it needs to know is in the database: killed
// between the provider's answer and our commit, it asks again under the same
// key and hears the same answer.

import type { Config } from './config.js';
import type { Db } from './db.js';
import { backoffMs, tooLate, type Template } from './facts.js';
import { log, text } from './log.js';
import type { Outbox } from './protocol.js';
import type { Sms, SmsProvider } from './sms.js';
import { traceId } from './trace.js';

const AT_ONCE = 8;
const LOOK_AGAIN_MS = 60_000;
const TROUBLE_MS = 1_000;

interface Queued extends Sms {
  customerId: string;
  factAt: number;
  attempts: number;
  forced: boolean;
}

export class Sender {
  readonly #db: Db;
  readonly #outbox: Outbox;
  readonly #provider: SmsProvider;
  readonly #config: Config;
  readonly #inFlight = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;
  #stopped = false;

  constructor(db: Db, outbox: Outbox, provider: SmsProvider, config: Config) {
    this.#db = db;
    this.#outbox = outbox;
    this.#provider = provider;
    this.#config = config;
  }

  /** Something may be due: look, once the present turn is over. */
  wake(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#look();
    });
  }

  /** Begins nothing new and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await Promise.all(this.#inFlight.values());
  }

  #look(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    let wait = LOOK_AGAIN_MS;
    try {
      wait = this.#takeDue();
    } catch (error) {
      log.error('cannot read the queue', { error: text(error) });
      wait = TROUBLE_MS;
    }
    this.#timer = setTimeout(() => this.#look(), wait);
  }

  /**
   * Starts what is due, as far as there are hands; returns how long until the
   * next. The texts of one order go out in the order of its way: one waits
   * while an earlier one is queued, which ends by it being sent or dropped.
   */
  #takeDue(): number {
    if (this.#inFlight.size >= AT_ONCE) return LOOK_AGAIN_MS; // the next one to finish looks again
    const now = Date.now();
    const rows = this.#db.all(
      `SELECT id, order_id, customer_id, template, recipient, body, traceparent, fact_at, attempts, forced, due_at
       FROM message m WHERE state = 'QUEUED'
         AND NOT EXISTS (SELECT 1 FROM message e WHERE e.order_id = m.order_id AND e.rank < m.rank AND e.state = 'QUEUED')
       ORDER BY due_at LIMIT ?`, AT_ONCE * 2,
    );
    for (const row of rows) {
      const dueAt = Number(row[10]);
      if (dueAt > now) return Math.min(dueAt - now, LOOK_AGAIN_MS);
      const message = queued(row);
      if (this.#inFlight.has(message.id)) continue;
      if (this.#inFlight.size >= AT_ONCE) break;
      this.#inFlight.set(message.id, this.#handle(message).finally(() => {
        this.#inFlight.delete(message.id);
        this.wake();
      }));
    }
    return LOOK_AGAIN_MS;
  }

  async #handle(m: Queued): Promise<void> {
    const told = { order_id: m.orderRef, template: m.template, trace_id: traceId(m.traceparent) };
    try {
      const reason = m.forced ? undefined : tooLate({ template: m.template as Template, factAt: m.factAt }, this.#latestRank(m.orderRef), Date.now(), this.#config);
      if (reason) {
        this.#change(m, `state = 'SUPPRESSED', reason = ?`, reason);
        log.info('suppressed', { ...told, reason });
        return;
      }
      const outcome = await this.#provider.send(m);
      switch (outcome.kind) {
        case 'accepted':
          this.#sent(m, outcome.ref);
          log.info('sent', told);
          return;
        case 'refused':
          this.#change(m, `state = 'FAILED', reason = ?, attempts = attempts + 1`, outcome.why);
          log.warn('refused by the provider', { ...told, error: outcome.why });
          return;
        case 'away':
          this.#change(m, `due_at = ?, reason = ?, attempts = attempts + 1`, Date.now() + backoffMs(m.attempts + 1, Math.random()), outcome.why);
          if (m.attempts === 0) log.warn('the provider is away; will ask again', { ...told, error: outcome.why });
      }
    } catch (error) {
      // The database failed us: the row is as it was, and due. Do not spin on it.
      log.error('cannot note the outcome of a text', { ...told, error: text(error) });
      await new Promise((resolve) => setTimeout(resolve, TROUBLE_MS));
    }
  }

  #sent(m: Queued, ref: string): void {
    this.#db.within(() => {
      const n = this.#db.run(
        `UPDATE message SET state = 'SENT', reason = '', provider_ref = ?, sent_at = ?, attempts = attempts + 1 WHERE id = ? AND state = 'QUEUED'`,
        ref, new Date().toISOString(), m.id,
      );
      if (n === 0) return;
      this.#outbox.publish('message.sent', m.orderRef, m.traceparent,
        { order_id: m.orderRef, customer_id: m.customerId, template: m.template, channel: 'sms' });
    });
  }

  #change(m: Queued, set: string, ...values: (string | number)[]): void {
    this.#db.run(`UPDATE message SET ${set} WHERE id = ? AND state = 'QUEUED'`, ...values, m.id);
  }

  #latestRank(orderId: string): number {
    return Number(this.#db.one('SELECT MAX(rank) FROM message WHERE order_id = ?', orderId)?.[0] ?? 0);
  }
}

function queued(row: (string | number | null)[]): Queued {
  const [id, orderRef, customerId, template, to, body, traceparent, factAt, attempts, forced] = row;
  return {
    id: String(id), orderRef: String(orderRef), customerId: String(customerId), template: String(template), to: String(to),
    body: String(body), traceparent: String(traceparent), factAt: Number(factAt), attempts: Number(attempts), forced: forced === 1,
  };
}
