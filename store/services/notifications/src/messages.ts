// The messages as others see them: listed, and sent again when a person says so.

import type { Db } from './db.js';
import { Problem } from './problem.js';

export interface Message {
  id: string;
  order_id: string;
  customer_id: string;
  template: string;
  channel: string;
  state: 'QUEUED' | 'SENT' | 'SUPPRESSED' | 'FAILED';
  reason: string | null;
  to: string;
  body: string;
  attempts: number;
  provider_ref: string | null;
  created_at: string;
  sent_at: string | null;
}

const COLUMNS = 'id, order_id, customer_id, template, channel, state, reason, recipient, body, attempts, provider_ref, created_at, sent_at';

export const STATES = ['QUEUED', 'SENT', 'SUPPRESSED', 'FAILED'];

export interface Filter {
  order: string | null;
  state: string | null;
  limit: number;
}

/** The newest of those asked for, oldest first. */
export function list(db: Db, f: Filter): Message[] {
  const rows = db.all(
    `SELECT ${COLUMNS} FROM message WHERE (?1 IS NULL OR order_id = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY created_at DESC, rank DESC LIMIT ?3`,
    f.order, f.state, f.limit,
  );
  return rows.map(shown).reverse();
}

/**
 * Queues a message once more, however late it is. One that was accepted is not
 * sent twice: there is one text for each order, template and channel.
 */
export function resend(db: Db, id: string): Message {
  return db.within(() => {
    const row = db.one(`SELECT ${COLUMNS} FROM message WHERE id = ?`, id);
    if (!row) throw new Problem('not-found', `there is no message ${id}`);
    const message = shown(row);
    if (message.state === 'SENT') throw new Problem('already-sent', `the provider took it at ${message.sent_at}`);
    // A refused text may go to the number the customer has by now. One whose
    // fate is unknown must stay as it was, because its key was used for that.
    db.run(
      `UPDATE message SET state = 'QUEUED', reason = '', forced = 1, due_at = ?,
         recipient = CASE WHEN state = 'FAILED' OR recipient = '' THEN COALESCE((SELECT phone FROM contact WHERE customer_id = message.customer_id), recipient) ELSE recipient END
       WHERE id = ?`, Date.now(), id,
    );
    const again = db.one(`SELECT ${COLUMNS} FROM message WHERE id = ?`, id);
    if (!again || again[7] === '') throw new Problem('validation', 'the customer has no telephone number');
    return shown(again);
  });
}

function shown(row: (string | number | null)[]): Message {
  const [id, orderId, customerId, template, channel, state, reason, recipient, body, attempts, providerRef, createdAt, sentAt] = row;
  return {
    id: String(id), order_id: String(orderId), customer_id: String(customerId), template: String(template), channel: String(channel),
    state: String(state) as Message['state'], reason: reason ? String(reason) : null, to: masked(String(recipient)), body: String(body),
    attempts: Number(attempts), provider_ref: providerRef === null ? null : String(providerRef),
    created_at: String(createdAt), sent_at: sentAt === null ? null : String(sentAt),
  };
}

/** Enough of a number to recognise it, not enough to call it. */
function masked(phone: string): string {
  if (phone.length <= 6) return phone.replace(/./g, '•');
  return phone.slice(0, 3) + '•'.repeat(phone.length - 5) + phone.slice(-2);
}
