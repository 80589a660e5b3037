// Hands one text to the provider. The message id is the key, so that a text
// whose answer was lost is asked for again and sent once.

import { Agent, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from './log.js';

export interface Sms {
  id: string;
  to: string;
  body: string;
  orderRef: string;
  template: string;
  traceparent: string;
}

/** refused: never acceptable. away: unknown or not now; ask again with the same key. */
export type Outcome = { kind: 'accepted'; ref: string } | { kind: 'refused' | 'away'; why: string };

const CALL_MS = 2_000;
const ANSWER_MAX = 64 * 1024;
const REFUSALS = new Set([400, 413, 422]);

export class SmsProvider {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(url: string) {
    this.#url = url;
  }

  send(sms: Sms): Promise<Outcome> {
    if (!this.#url) return Promise.resolve({ kind: 'away', why: 'SMS_SIM_URL is not set' });
    return new Promise((resolve) => {
      const end = (outcome: Outcome): void => {
        clearTimeout(patience);
        resolve(outcome);
      };
      const away = (why: string): void => end({ kind: 'away', why });
      const body = JSON.stringify({ to: sms.to, body: sms.body, order_ref: sms.orderRef, template: sms.template });
      const secure = this.#url.startsWith('https:');
      const call = (secure ? httpsRequest : httpRequest)(`${this.#url}/v1/messages`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json', 'content-length': Buffer.byteLength(body),
          'idempotency-key': sms.id, traceparent: sms.traceparent,
        },
        ...(secure ? {} : { agent: this.#agent }),
      });
      const patience = setTimeout(() => call.destroy(new Error('no answer in time')), CALL_MS);
      call.on('error', (error) => away(text(error)));
      call.on('response', (answer) => {
        let content = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          content += chunk;
          if (content.length > ANSWER_MAX) call.destroy(new Error('the answer is too long'));
        });
        answer.on('error', (error) => away(text(error)));
        answer.on('end', () => end(judge(answer.statusCode ?? 0, content)));
      });
      call.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function judge(status: number, content: string): Outcome {
  if (REFUSALS.has(status)) return { kind: 'refused', why: `the provider answered ${status}` };
  if (status < 200 || status > 299) return { kind: 'away', why: `the provider answered ${status}` };
  try {
    const answer = JSON.parse(content) as { id?: unknown } | null;
    if (typeof answer?.id === 'string' && answer.id) return { kind: 'accepted', ref: answer.id };
  } catch {
    // falls through: an answer that is not JSON is an answer we do not have
  }
  return { kind: 'away', why: 'the provider’s answer has no id' };
}
