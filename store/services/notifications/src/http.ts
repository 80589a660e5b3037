// The HTTP face without a framework: ten routes need a table, not a library.

import { timingSafeEqual, createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { log, text } from './log.js';
import { Problem, invalid, type Fault } from './problem.js';
import { traceId, traceparentOf } from './trace.js';

const BODY_MAX = 256 * 1024;

export interface Request {
  raw: IncomingMessage;
  url: URL;
  params: string[];
  traceparent: string;
  /** Aborted when the asker is gone or the service stops. */
  gone: AbortSignal;
}

export interface Answer {
  status: number;
  type?: string;
  body?: string;
  headers?: Record<string, string>;
}

export interface Route {
  method: string;
  path: RegExp;
  /** Only the platform may come in, when a token is set. */
  guarded?: boolean;
  handle: (request: Request) => Answer | Promise<Answer>;
}

export function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) };
}

export function serve(routes: Route[], token: string, stopping: AbortSignal): Server {
  const server = createServer({ keepAliveTimeout: 75_000, headersTimeout: 10_000, requestTimeout: 20_000, maxHeaderSize: 16_384 },
    (raw, response) => void answer(routes, token, stopping, raw, response));
  return server;
}

async function answer(routes: Route[], token: string, stopping: AbortSignal, raw: IncomingMessage, response: ServerResponse): Promise<void> {
  const traceparent = traceparentOf(header(raw, 'traceparent'));
  const left = new AbortController();
  const stop = (): void => left.abort('gone'); // a reason of our own: the default one is an exception, made on each request
  response.on('close', stop);
  stopping.addEventListener('abort', stop);
  try {
    const url = parse(raw.url);
    const [route, params] = find(routes, raw.method ?? '', url.pathname);
    if (route.guarded && token && !sameSecret(token, header(raw, 'dapr-api-token') ?? '')) {
      throw new Problem('unauthorised', 'this path wants the platform’s token');
    }
    write(response, await route.handle({ raw, url, params, traceparent, gone: left.signal }));
  } catch (error) {
    refuse(response, error, traceparent);
  } finally {
    stopping.removeEventListener('abort', stop);
  }
}

function parse(target: string | undefined): URL {
  try {
    return new URL(target ?? '/', 'http://service');
  } catch {
    throw new Problem('not-found', 'this is not an address');
  }
}

function find(routes: Route[], method: string, path: string): [Route, string[]] {
  const allowed: string[] = [];
  for (const route of routes) {
    const match = route.path.exec(path);
    if (!match) continue;
    if (route.method === method || (route.method === 'GET' && method === 'HEAD')) return [route, match.slice(1)];
    allowed.push(route.method);
  }
  if (allowed.length) throw new NotAllowed(method, path, allowed);
  throw new Problem('not-found', `there is nothing at ${path}`);
}

class NotAllowed extends Problem {
  readonly allowed: string[];

  constructor(method: string, path: string, allowed: string[]) {
    super('method-not-allowed', `${method} does not apply to ${path}`);
    this.allowed = allowed;
  }
}

function refuse(response: ServerResponse, error: unknown, traceparent: string): void {
  const trace = traceId(traceparent);
  let problem: Problem;
  if (error instanceof Problem) {
    problem = error;
  } else {
    log.error('a request failed', { error: text(error), stack: error instanceof Error ? error.stack : undefined, trace_id: trace });
    problem = new Problem('internal', 'the request failed here; it is safe to repeat it');
  }
  write(response, {
    status: problem.status,
    type: 'application/problem+json',
    body: problem.body(trace),
    headers: {
      ...(problem.retryable ? { 'retry-after': '1' } : {}),
      ...(problem instanceof NotAllowed ? { allow: problem.allowed.join(', ') } : {}),
      // The rest of a body too long is not read, so the connection cannot go on.
      ...(problem.code === 'too-large' ? { connection: 'close' } : {}),
    },
  });
}

function write(response: ServerResponse, a: Answer): void {
  if (response.destroyed || response.headersSent) return;
  const headers: Record<string, string | number> = { ...a.headers };
  if (a.body !== undefined) {
    headers['content-type'] = a.type ?? 'text/plain; charset=utf-8';
    headers['content-length'] = Buffer.byteLength(a.body);
  }
  response.writeHead(a.status, headers).end(response.req.method === 'HEAD' ? undefined : a.body);
}

export function header(raw: IncomingMessage, name: string): string | undefined {
  const value = raw.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function sameSecret(a: string, b: string): boolean {
  const digest = (secret: string): Buffer => createHash('sha256').update(secret).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The body as JSON; undefined when there is none. */
export async function readJson(raw: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of raw as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > BODY_MAX) throw new Problem('too-large', `a body may have at most ${BODY_MAX} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof Problem ? error : new Problem('validation', 'the body did not arrive whole');
  }
  const content = Buffer.concat(chunks).toString('utf8');
  if (content.trim() === '') return undefined;
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new Problem('validation', `the body is not JSON: ${text(error)}`);
  }
}

/** Reads whole numbers from a query and says what is wrong with them, all at once. */
export class Numbers {
  readonly #url: URL;
  readonly faults: Fault[] = [];

  constructor(url: URL) {
    this.#url = url;
  }

  read(name: string, otherwise: number, least: number, most: number): number {
    const given = this.#url.searchParams.get(name);
    if (given === null || given === '') return otherwise;
    const value = Number(given);
    if (!Number.isSafeInteger(value) || value < least) {
      this.faults.push({ pointer: '?' + name, detail: `expected an integer of at least ${least}` });
      return otherwise;
    }
    return Math.min(value, most);
  }

  check(): void {
    if (this.faults.length) throw invalid(this.faults);
  }
}
