// The built program with a fake provider beside it.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT, check, checkEvent } from './spec.js';

export const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

export interface Reply {
  status: number;
  body: any;
  text: string;
}

export interface Text {
  key: string;
  to: string;
  body: string;
  order_ref: string;
  template: string;
  trace: string | undefined;
}

/** Takes texts by key; can be away, refuse, or lose its answers. */
export class Provider {
  mode: 'good' | 'away' | 'refuse' | 'lose' = 'good';
  asked = 0;
  readonly texts: Text[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        this.asked++;
        if (this.mode === 'away') return void response.writeHead(503).end();
        if (this.mode === 'refuse') return void response.writeHead(422).end();
        const key = String(request.headers['idempotency-key']);
        const given = { ...JSON.parse(body), key, trace: request.headers.traceparent } as Text;
        const before = this.texts.find((t) => t.key === key);
        if (before) assert.deepEqual({ ...given, trace: '' }, { ...before, trace: '' }, 'the same key with another body');
        else this.texts.push(given);
        if (this.mode === 'lose') return void request.socket.destroy();
        response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify({ id: `sms_${key}` }));
      });
    });
  }

  async open(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  of(order: string): string {
    return this.texts.filter((t) => t.order_ref === order).map((t) => t.template).join(' ');
  }
}

export class World {
  readonly provider = new Provider();
  readonly #directory = mkdtempSync(join(tmpdir(), 'notifications-'));
  #env: NodeJS.ProcessEnv = {};
  #process!: ChildProcess;
  #base = '';
  readonly errors: string[] = [];

  static async open(t: TestContext, env: NodeJS.ProcessEnv = {}): Promise<World> {
    const world = new World();
    world.#env = {
      PATH: process.env.PATH, PORT: '0', DATABASE_URL: `sqlite:///${join(world.#directory, 'n.db')}`,
      SMS_SIM_URL: await world.provider.open(), SETTLE_MS: '50', ...env,
    };
    t.after(async () => {
      await world.kill();
      world.provider.close();
      rmSync(world.#directory, { recursive: true });
      assert.deepEqual(world.errors, [], 'errors in the log');
    });
    await world.launch();
    return world;
  }

  async launch(): Promise<void> {
    const child = spawn(process.execPath, [join(ROOT, 'dist', 'main.js')], { env: this.#env, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    this.#base = await new Promise((resolve, reject) => {
      child.on('exit', (code) => reject(new Error(`the program ended with ${code}: ${this.errors.join()}`)));
      createInterface(child.stdout!).on('line', (text) => {
        const line = JSON.parse(text) as { level: string; address?: string };
        if (line.level === 'error') this.errors.push(text);
        if (line.address) resolve(`http://${line.address}`);
      });
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return this.#process.exitCode;
    const gone = once(this.#process, 'exit');
    this.#process.kill(signal);
    return (await gone)[0] as number | null;
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    const answer = await fetch(this.#base + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/cloudevents+json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const type = answer.headers.get('content-type');
    check(method, path, answer.status, type, text);
    return { status: answer.status, text, body: type?.includes('json') ? JSON.parse(text) : undefined };
  }

  async event(topic: string, data: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<Reply> {
    return this.ask('POST', '/_archipel/events', {
      specversion: '1.0', id: `evt_${topic}_${JSON.stringify(data).length}_${data.order_id ?? data.customer_id}`, source: '/store/orders',
      type: `store.${topic}.v1`, subject: data.order_id ?? data.customer_id, time: new Date().toISOString(),
      datacontenttype: 'application/json', traceparent: TRACE, data, future: true, ...more,
    });
  }

  async customer(id = 'cus_1', more: Record<string, unknown> = {}): Promise<void> {
    const reply = await this.event('customer.registered', {
      customer_id: id, name: 'Ada Islander', email: 'ada@example.test', phone: '+447700900123', locale: 'en', kind: 'member',
      consent: { sms: true, email: true }, ...more,
    });
    assert.equal(reply.status, 204, reply.text);
  }

  async fact(name: string, order: string, more: Record<string, unknown> = {}, attributes: Record<string, unknown> = {}): Promise<void> {
    const reply = await this.event(`order.${name}`, { order_id: order, customer_id: 'cus_1', ...more }, attributes);
    assert.equal(reply.status, 204, reply.text);
  }

  async states(order: string): Promise<string> {
    const { body } = await this.ask('GET', `/v1/messages?order=${order}`);
    return body.items.map((m: any) => `${m.template}:${m.state}${m.state === 'SUPPRESSED' ? `:${m.reason}` : ''}`).join(' ');
  }

  async becomes(order: string, states: string): Promise<void> {
    await eventually(async () => {
      const seen = await this.states(order);
      return [seen === states, `expected "${states}", saw "${seen}"`];
    });
  }

  /** All events, each held against its schema. */
  async outbox(): Promise<any[]> {
    const { body } = await this.ask('GET', '/_archipel/outbox?limit=1000');
    for (const { topic, event } of body.events) checkEvent(topic, event.data);
    return body.events;
  }
}

export async function eventually(look: () => Promise<[boolean, string]>): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const [good, seen] = await look();
    if (good) return;
    if (Date.now() > deadline) assert.fail(`waited in vain; ${seen}`);
    await pause(5); // between two looks at a level
  }
}

export function ago(ms: number): { time: string } {
  return { time: new Date(Date.now() - ms).toISOString() };
}
