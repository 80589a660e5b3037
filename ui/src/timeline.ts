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
  /** Of its first turn. */
  from: number;
  to: number;
  /** Before that, for a worker. */
  waited: number;
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
  const first = events.reduce((least, event) => Math.min(least, event.at_ms), now);
  const from = turns[0] ?? first;
  const last = events[events.length - 1]?.at_ms ?? now;
  return { from, to: Math.max(ended ?? Math.max(now, last), from + 1), waited: from - first, turns, lanes };
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

export interface Scale {
  /** Where a time stands, from 0 to 1. */
  at: (time: number) => number;
  /** Long waits that are drawn short: their middle, and how long they are. */
  cuts: { at: number; ms: number }[];
}

/** As much of the width as a wait may take. */
const WAIT_SHARE = 0.3;

/**
 * Time from left to right, but for waits: what is asked for in milliseconds would not be seen
 * beside a wait of days.
 */
export function scale(line: Timeline): Scale {
  const within = (time: number) => Math.min(Math.max(time, line.from), line.to);
  const all = [line.from, line.to, ...line.turns, ...line.lanes.flatMap((lane) => [lane.from, lane.to ?? line.to])];
  const points = [...new Set(all.map(within))].sort((a, b) => a - b);
  const working = line.lanes.filter((lane) => lane.kind === "activity" || lane.kind === "child");
  const widths: number[] = [];
  const waits: boolean[] = [];
  for (let i = 1; i < points.length; i++) {
    const [from, to] = [points[i - 1]!, points[i]!];
    widths.push(to - from);
    waits.push(!working.some((lane) => lane.from < to && (lane.to ?? line.to) > from));
  }
  const cut = new Set<number>();
  for (let round = 0; round < 8; round++) {
    const total = widths.reduce((a, b) => a + b, 0);
    const i = widths.reduce((most, width, at) => (waits[at] && (most < 0 || width > widths[most]!) ? at : most), -1);
    const rest = i < 0 ? 0 : total - widths[i]!;
    if (i < 0 || rest <= 0 || widths[i]! <= total * (WAIT_SHARE + 0.02)) break;
    widths[i] = (rest * WAIT_SHARE) / (1 - WAIT_SHARE);
    cut.add(i);
  }
  const total = widths.reduce((a, b) => a + b, 0) || 1;
  const starts = [0];
  for (const width of widths) starts.push(starts[starts.length - 1]! + width / total);
  const at = (time: number): number => {
    const t = within(time);
    let i = points.findIndex((point) => point > t) - 1;
    if (i < 0) i = widths.length - 1;
    const [from, to] = [points[i]!, points[i + 1] ?? points[i]!];
    const part = to > from ? (t - from) / (to - from) : 1;
    return starts[i]! + part * ((starts[i + 1] ?? 1) - starts[i]!);
  };
  const cuts = [...cut].map((i) => ({ at: (starts[i]! + starts[i + 1]!) / 2, ms: points[i + 1]! - points[i]! }));
  return { at, cuts };
}
