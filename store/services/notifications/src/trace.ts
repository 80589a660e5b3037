// W3C trace context: read, pass on, begin.

import { randomBytes } from 'node:crypto';

const FORM = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The trace id inside a traceparent; undefined when it is malformed or missing. */
export function traceId(traceparent: string | undefined): string | undefined {
  return FORM.exec(traceparent ?? '')?.[1];
}

/** The first of the candidates that is well-formed, else a new one. */
export function traceparentOf(...candidates: (string | undefined)[]): string {
  const given = candidates.find((candidate) => traceId(candidate) !== undefined);
  return given ?? `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
