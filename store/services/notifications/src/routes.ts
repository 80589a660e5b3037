// The routes, as openapi.yaml describes them.

import { SCHEMA_VERSION, type Db } from './db.js';
import { Numbers, json, readJson, type Answer, type Request, type Route } from './http.js';
import { STATES, list, resend } from './messages.js';
import { PAGE_HEADERS, page } from './page.js';
import { Problem, invalid } from './problem.js';
import type { Outbox } from './protocol.js';
import { isObject, type Receiver } from './receive.js';
import type { Sender } from './sender.js';

export const VERSION = '0.1.0';
const LONG_POLL_MS = 30_000;

export interface Parts {
  db: Db;
  outbox: Outbox;
  receiver: Receiver;
  sender: Sender;
}

export function routes({ db, outbox, receiver, sender }: Parts): Route[] {
  return [
    { method: 'GET', path: /^\/healthz$/, handle: () => json(200, { status: 'ok' }) },
    { method: 'GET', path: /^\/readyz$/, handle: () => ready(db) },
    {
      method: 'GET', path: /^\/_archipel\/info$/, guarded: true,
      handle: () => json(200, { name: 'notifications', version: VERSION, schema_version: SCHEMA_VERSION }),
    },
    { method: 'GET', path: /^\/_archipel\/outbox$/, guarded: true, handle: (request) => poll(outbox, request) },
    { method: 'POST', path: /^\/_archipel\/events$/, guarded: true, handle: (request) => receive(receiver, request) },
    { method: 'GET', path: /^\/v1\/messages$/, handle: ({ url }) => json(200, { items: list(db, filter(url)) }) },
    {
      method: 'POST', path: /^\/v1\/messages\/([A-Za-z0-9_-]+):resend$/,
      handle: async ({ raw, params }) => {
        const command = await readJson(raw);
        if (command !== undefined && (!isObject(command) || Object.keys(command).length > 0)) {
          throw invalid([{ pointer: '', detail: 'a resend has no members' }]);
        }
        const message = resend(db, params[0] ?? '');
        sender.wake();
        return json(202, message);
      },
    },
    {
      method: 'GET', path: /^\/outbox$/,
      handle: ({ url }) => {
        const wanted = filter(url);
        return { status: 200, type: 'text/html; charset=utf-8', headers: PAGE_HEADERS, body: page(list(db, wanted), wanted.order) };
      },
    },
  ];
}

function ready(db: Db): Answer {
  try {
    db.one('SELECT 1 FROM message LIMIT 1');
  } catch {
    throw new Problem('dependency-unavailable', 'the database does not answer');
  }
  return json(200, { status: 'ok' });
}

function filter(url: URL): { order: string | null; state: string | null; limit: number } {
  const numbers = new Numbers(url);
  const limit = numbers.read('limit', 100, 1, 500);
  const state = url.searchParams.get('state') || null;
  if (state !== null && !STATES.includes(state)) {
    numbers.faults.push({ pointer: '?state', detail: 'there is no such state' });
  }
  numbers.check();
  return { order: url.searchParams.get('order') || null, state, limit };
}

async function poll(outbox: Outbox, { url, gone }: Request): Promise<Answer> {
  const numbers = new Numbers(url);
  const after = numbers.read('after', 0, 0, Number.MAX_SAFE_INTEGER);
  const limit = numbers.read('limit', 500, 1, 1000);
  const patience = numbers.read('wait_ms', 0, 0, LONG_POLL_MS);
  numbers.check();
  const deadline = Date.now() + patience;
  for (;;) {
    const page = outbox.read(after, limit);
    const left = deadline - Date.now();
    if (page.events.length || left <= 0 || gone.aborted) return json(200, page);
    await outbox.wait(left, gone);
  }
}

async function receive(receiver: Receiver, { raw, traceparent }: Request): Promise<Answer> {
  const body = await readJson(raw);
  if (!isObject(body)) throw new Problem('validation', 'expected one CloudEvent as a JSON object');
  receiver.receive(body, traceparent);
  return { status: 204 };
}
