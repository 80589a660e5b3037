// Errors as clients read them (RFC 9457).

export interface Fault {
  pointer: string;
  detail: string;
}

const KINDS = {
  'validation': [422, 'The request cannot be understood', false],
  'not-found': [404, 'No such thing', false],
  'method-not-allowed': [405, 'This method does not apply here', false],
  'too-large': [413, 'The body is too large', false],
  'unauthorised': [401, 'Not authorised', false],
  'already-sent': [409, 'Sent already', false],
  'not-yet': [409, 'An earlier fact is missing', true],
  'dependency-unavailable': [503, 'A neighbour does not answer', true],
  'internal': [500, 'An error of this service', true],
} as const satisfies Record<string, readonly [number, string, boolean]>;

export type Code = keyof typeof KINDS;

export class Problem extends Error {
  readonly code: Code;
  readonly faults: Fault[];

  constructor(code: Code, detail: string, faults: Fault[] = []) {
    super(detail);
    this.code = code;
    this.faults = faults;
  }

  get status(): number {
    return KINDS[this.code][0];
  }

  get retryable(): boolean {
    return KINDS[this.code][2];
  }

  body(traceId: string | undefined): string {
    const [status, title, retryable] = KINDS[this.code];
    return JSON.stringify({
      type: `urn:store:problem:${this.code}`, title, status, detail: this.message, code: this.code, trace_id: traceId,
      retryable, ...(retryable ? { retry_after_ms: 500 } : {}), ...(this.faults.length ? { errors: this.faults } : {}),
    });
  }
}

export function invalid(faults: Fault[]): Problem {
  const first = faults[0];
  return new Problem('validation', first ? `${first.pointer}: ${first.detail}` : 'the request cannot be accepted', faults);
}
