// When an alert fired, from its beginnings and ends: pure, for the bars.

import type { AlertEvent } from "./api.ts";

/** Which steps of time hold a moment at which something fired. `history` is newest first. */
export function firedIn(history: AlertEvent[], firing: boolean, from: number, step: number, steps: number): boolean[] {
  const out = new Array<boolean>(steps).fill(false);
  const mark = (begin: number, end: number): void => {
    const first = Math.max(0, Math.floor((begin - from) / step));
    const last = Math.min(steps - 1, Math.floor((end - from) / step));
    for (let at = first; at <= last; at++) out[at] = true;
  };
  const until = from + step * steps;
  const open = new Map<string, number>();
  for (const event of [...history].reverse()) {
    const key = labelled(event.labels);
    if (event.state === "firing") {
      if (!open.has(key)) open.set(key, event.at_ms);
    } else {
      // An end without a beginning: it began before what is remembered.
      mark(open.get(key) ?? from, event.at_ms);
      open.delete(key);
    }
  }
  if (firing) for (const begin of open.values()) mark(begin, until - 1);
  return out;
}

export function labelled(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");
}
