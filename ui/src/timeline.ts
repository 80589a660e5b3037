// The history of a workflow as bars over time. Pure.

import type { WorkflowEvent } from "./api.ts";

export interface Lane {
  kind: "activity" | "child" | "timer" | "event";
  id: number;
  name: string;
  from: number;
  /** Not yet answered: it goes on. */
  to: number | null;
  state: "completed" | "failed" | "open";
  /** The first is 1. */
  attempt: number;
  service: string | null;
  /** Of a child. */
  child: string | null;
  /** When a timer is to fire. */
  due: number | null;
  failure: string | null;
}

export interface Timeline {
  from: number;
  to: number;
  turns: number[];
  lanes: Lane[];
}

const OPENS: Record<string, Lane["kind"]> = {
  "activity scheduled": "activity",
  "child started": "child",
  "timer created": "timer",
};
const CLOSES: Record<string, Lane["state"]> = {
  "activity completed": "completed",
  "activity failed": "failed",
  "child completed": "completed",
  "child failed": "failed",
  "timer fired": "completed",
};

export function timeline(events: WorkflowEvent[], now: number): Timeline {
  const lanes: Lane[] = [];
  const open = new Map<number, Lane>();
  const payloads = new Map<Lane, string | null>();
  const turns: number[] = [];
  let ended: number | null = null;
  for (const event of events) {
    const kind = OPENS[event.kind];
    if (kind) {
      const lane: Lane = {
        kind,
        id: event.event_id,
        name: event.name ?? (kind === "timer" ? "timer" : ""),
        from: event.at_ms,
        to: null,
        state: "open",
        attempt: 1,
        service: event.service,
        child: kind === "child" ? event.about : null,
        due: kind === "timer" ? Number(event.about) || null : null,
        failure: null,
      };
      payloads.set(lane, event.payload);
      lane.attempt = attempt(lanes, lane, payloads);
      lanes.push(lane);
      open.set(lane.id, lane);
      continue;
    }
    const state = CLOSES[event.kind];
    if (state && event.of !== null) {
      const lane = open.get(event.of);
      if (lane) {
        lane.to = event.at_ms;
        lane.state = state;
        lane.failure = event.failure;
        open.delete(event.of);
      }
    } else if (event.kind === "event raised") {
      lanes.push({
        kind: "event",
        id: event.event_id,
        name: event.name ?? "",
        from: event.at_ms,
        to: event.at_ms,
        state: "completed",
        attempt: 1,
        service: null,
        child: null,
        due: null,
        failure: null,
      });
    } else if (event.kind === "turn") turns.push(event.at_ms);
    else if (event.kind === "ended") ended = event.at_ms;
  }
  const from = events[0]?.at_ms ?? now;
  const last = events[events.length - 1]?.at_ms ?? now;
  return { from, to: Math.max(ended ?? Math.max(now, last), from + 1), turns, lanes };
}

/** A step that is asked for again, with the same words, after it failed. */
function attempt(before: Lane[], lane: Lane, payloads: Map<Lane, string | null>): number {
  for (let i = before.length - 1; i >= 0; i--) {
    const other = before[i]!;
    if (other.kind !== lane.kind || other.name !== lane.name || payloads.get(other) !== payloads.get(lane)) continue;
    return other.state === "failed" ? other.attempt + 1 : 1;
  }
  return 1;
}
