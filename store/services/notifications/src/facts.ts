// What happened to an order, and whether that is still worth a text.
//
// All decisions are here, and pure. The rule that matters is about lateness:
// after an outage (ours, the bus's or the provider's) a customer must not get
// "received", "confirmed", "cancelled" in one burst. So a fact that is told at
// once is always sent, but a fact that is late waits a moment for its
// successors, and is dropped when there is one.

export type Template =
  | 'received'
  | 'confirmed'
  | 'action_authenticate'
  | 'action_new_card'
  | 'dispatched'
  | 'delivered'
  | 'cancelled'
  | 'refunded';

export type Reason = 'no-phone' | 'no-consent' | 'stale' | 'superseded';

export interface Kind {
  /** How far on the order's way: a higher one supersedes a lower one. */
  rank: number;
  /** Essential texts go out without consent to texts: they are about the customer's own money. */
  essential: boolean;
}

export const KINDS: Record<Template, Kind> = {
  received: { rank: 10, essential: true },
  action_authenticate: { rank: 20, essential: true },
  action_new_card: { rank: 20, essential: true },
  confirmed: { rank: 30, essential: false },
  dispatched: { rank: 40, essential: false },
  delivered: { rank: 50, essential: false },
  cancelled: { rank: 60, essential: true },
  refunded: { rank: 70, essential: true },
};

/** The template of a topic; payment_action_required has one for each kind of action. */
export function templateOf(topic: string, action: string): Template | undefined {
  switch (topic) {
    case 'order.received':
      return 'received';
    case 'order.confirmed':
      return 'confirmed';
    case 'order.payment_action_required':
      return action === 'new_card' ? 'action_new_card' : 'action_authenticate';
    case 'order.dispatched':
      return 'dispatched';
    case 'order.delivered':
      return 'delivered';
    case 'order.cancelled':
      return 'cancelled';
    case 'order.refunded':
      return 'refunded';
    default:
      return undefined;
  }
}

export interface Limits {
  staleMs: number;
  supersedeMs: number;
  settleMs: number;
}

export interface Fact {
  template: Template;
  factAt: number;
}

export type Decision = { send: true; dueAt: number } | { send: false; reason: Reason };

/** When a fact arrives. latestRank is the highest rank known of its order, 0 for none. */
export function onArrival(
  fact: Fact,
  contact: { phone: string; consentSms: boolean },
  latestRank: number,
  now: number,
  limits: Limits,
): Decision {
  const kind = KINDS[fact.template];
  if (!contact.phone) return { send: false, reason: 'no-phone' };
  if (!kind.essential && !contact.consentSms) return { send: false, reason: 'no-consent' };
  const late = tooLate(fact, latestRank, now, limits);
  if (late) return { send: false, reason: late };
  const arrivedLate = now - fact.factAt > limits.supersedeMs;
  return { send: true, dueAt: arrivedLate ? now + limits.settleMs : now };
}

/** Just before sending: is it too late for this text? */
export function tooLate(fact: Fact, latestRank: number, now: number, limits: Limits): Reason | undefined {
  const age = now - fact.factAt;
  if (age > limits.staleMs) return 'stale';
  if (age > limits.supersedeMs && latestRank > KINDS[fact.template].rank) return 'superseded';
  return undefined;
}

/** How long to wait after so many attempts: 0.5 s doubling to 30 s, between half and all of it. */
export function backoffMs(attempts: number, random: number): number {
  const full = Math.min(500 * 2 ** Math.min(attempts - 1, 10), 30_000);
  return Math.round(full / 2 + (full / 2) * random);
}
