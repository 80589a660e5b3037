// Takes in events: the read model of customers, and facts about orders.
// Effect and inbox row are one transaction, so an event counts once.

import { createHash } from 'node:crypto';
import type { Config } from './config.js';
import type { Db } from './db.js';
import { KINDS, onArrival, templateOf, type Template } from './facts.js';
import { log } from './log.js';
import { Problem, invalid, type Fault } from './problem.js';
import { receiveOnce } from './protocol.js';
import { render, type Money } from './templates.js';
import { traceId, traceparentOf } from './trace.js';

type Json = Record<string, unknown>;

interface Event {
  id: string;
  source: string;
  topic: string;
  factAt: number;
  traceparent: string;
  data: Json;
}

const ID = /^[A-Za-z0-9_-]{1,64}$/;

export class Receiver {
  readonly #db: Db;
  readonly #config: Config;
  readonly #queued: () => void;

  /** queued is called when a message waits to be sent. */
  constructor(db: Db, config: Config, queued: () => void) {
    this.#db = db;
    this.#config = config;
    this.#queued = queued;
  }

  receive(body: Json, headerTrace: string | undefined): void {
    const event = readEvent(body, headerTrace);
    if (event.topic === 'customer.registered' || event.topic === 'customer.contact_changed') {
      const contact = readContact(event.data);
      this.#once(event, () => this.#learn(contact, event.factAt));
      return;
    }
    const template = templateOf(event.topic, textOf(event.data.kind));
    if (!template) {
      throw invalid([{ pointer: '/type', detail: `notifications has no text for ${event.topic}` }]);
    }
    this.#once(event, () => this.#tell(event, template));
  }

  #once(event: Event, effect: () => void): void {
    this.#db.within(() => {
      if (receiveOnce(this.#db, event.source, event.id, event.topic)) effect();
    });
  }

  /** What a customer said last counts, in whatever order it is heard. */
  #learn(c: Contact, factAt: number): void {
    this.#db.run(
      `INSERT INTO contact(customer_id, name, email, phone, locale, kind, consent_sms, consent_email, fact_at) VALUES(?,?,?,?,?,?,?,?,?)
       ON CONFLICT(customer_id) DO UPDATE SET name = excluded.name, email = excluded.email, phone = excluded.phone, locale = excluded.locale,
         kind = excluded.kind, consent_sms = excluded.consent_sms, consent_email = excluded.consent_email, fact_at = excluded.fact_at
       WHERE excluded.fact_at >= contact.fact_at`,
      c.customerId, c.name, c.email, c.phone, c.locale, c.kind, c.consentSms ? 1 : 0, c.consentEmail ? 1 : 0, factAt,
    );
  }

  #tell(event: Event, template: Template): void {
    const orderId = identifier(event.data, 'order_id');
    const customerId = this.#customerOf(event.data, orderId);
    const contact = this.#db.one('SELECT name, phone, locale, consent_sms FROM contact WHERE customer_id = ?', customerId);
    if (!contact) throw new Problem('not-yet', `customer ${customerId} is not known here yet`);
    const [name, phone, locale, consentSms] = contact;
    const now = Date.now();
    const decision = onArrival({ template, factAt: event.factAt }, { phone: String(phone), consentSms: consentSms === 1 },
      this.#latestRank(orderId), now, this.#config);
    const body = render(template, String(locale), {
      name: String(name), orderId, total: moneyOf(event.data.total), amount: moneyOf(event.data.amount), tracking: textOf(event.data.tracking),
    });
    const written = this.#db.run(
      `INSERT INTO message(id, order_id, customer_id, template, channel, state, reason, recipient, body, rank, fact_at, due_at, traceparent, created_at)
       VALUES(?,?,?,?,'sms',?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO NOTHING`,
      messageId(orderId, template, 'sms'), orderId, customerId, template,
      decision.send ? 'QUEUED' : 'SUPPRESSED', decision.send ? '' : decision.reason, String(phone), body, KINDS[template].rank,
      event.factAt, decision.send ? decision.dueAt : now, event.traceparent, new Date(now).toISOString(),
    );
    if (written === 0) return;
    const told = { order_id: orderId, template, trace_id: traceId(event.traceparent) };
    this.#db.afterCommit(() => {
      log.info(decision.send ? 'queued' : 'suppressed', decision.send ? told : { ...told, reason: decision.reason });
      if (decision.send) this.#queued();
    });
  }

  #customerOf(data: Json, orderId: string): string {
    if (data.customer_id !== undefined) return identifier(data, 'customer_id');
    const known = this.#db.one('SELECT customer_id FROM message WHERE order_id = ? LIMIT 1', orderId);
    if (!known) throw new Problem('not-yet', `nothing is known of order ${orderId} yet, and the event names no customer`);
    return String(known[0]);
  }

  #latestRank(orderId: string): number {
    return Number(this.#db.one('SELECT COALESCE(MAX(rank), 0) FROM message WHERE order_id = ?', orderId)?.[0] ?? 0);
  }
}

/** One message for each order, template and channel, whoever asks how often. */
export function messageId(orderId: string, template: string, channel: string): string {
  return 'msg_' + createHash('sha256').update(`${orderId}\n${template}\n${channel}`).digest('hex').slice(0, 32);
}

function readEvent(body: Json, headerTrace: string | undefined): Event {
  const faults: Fault[] = [];
  if (body.specversion !== '1.0') faults.push({ pointer: '/specversion', detail: 'expected 1.0' });
  for (const member of ['id', 'source', 'type']) {
    const value = body[member];
    if (typeof value !== 'string' || value === '' || value.length > 256) {
      faults.push({ pointer: '/' + member, detail: 'expected 1 to 256 characters' });
    }
  }
  if (!isObject(body.data)) faults.push({ pointer: '/data', detail: 'expected an object' });
  if (faults.length) throw invalid(faults);
  const type = String(body.type);
  const now = Date.now();
  const at = Date.parse(textOf(body.time));
  return {
    id: String(body.id),
    source: String(body.source),
    topic: textOf(body.topic) || (/^store\.(.+)\.v\d+$/.exec(type)?.[1] ?? type),
    factAt: Number.isNaN(at) ? now : Math.min(at, now),
    traceparent: traceparentOf(textOf(body.traceparent), headerTrace),
    data: body.data as Json,
  };
}

interface Contact {
  customerId: string;
  name: string;
  email: string;
  phone: string;
  locale: string;
  kind: string;
  consentSms: boolean;
  consentEmail: boolean;
}

function readContact(data: Json): Contact {
  const consent = isObject(data.consent) ? data.consent : {};
  return {
    customerId: identifier(data, 'customer_id'),
    name: textOf(data.name).slice(0, 200),
    email: textOf(data.email).slice(0, 320),
    phone: textOf(data.phone).slice(0, 32),
    locale: textOf(data.locale).slice(0, 16) || 'en',
    kind: textOf(data.kind).slice(0, 16),
    consentSms: consent.sms === true,
    consentEmail: consent.email === true,
  };
}

function identifier(data: Json, member: string): string {
  const value = data[member];
  if (typeof value !== 'string' || !ID.test(value)) {
    throw invalid([{ pointer: `/data/${member}`, detail: 'expected 1 to 64 letters, digits, _ or -' }]);
  }
  return value;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A detail of the text: when it is not as it should be, the text does without. */
function moneyOf(value: unknown): Money | undefined {
  if (!isObject(value) || !Number.isSafeInteger(value.amount_minor) || typeof value.currency !== 'string') return undefined;
  return { amount_minor: value.amount_minor as number, currency: value.currency.slice(0, 3) };
}
