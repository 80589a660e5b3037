// What the data plane counts, joined over time and added up per edge and per service.

import type { Point, Series, Traffic } from "./api.ts";

/** Five minutes of two-second steps, as the server keeps them. */
export const POINTS = 150;

export interface Tracked extends Omit<Series, "history" | "point"> {
  history: Point[];
}

export type Known = ReadonlyMap<string, Tracked>;

export const keyOf = (s: Pick<Series, "kind" | "caller" | "callee" | "route">): string =>
  [s.kind, s.caller ?? "", s.callee ?? "", s.route ?? ""].join("|");

/** From an answer that holds every series with its history. */
export function whole(traffic: Traffic): Known {
  return new Map(
    traffic.series.map(({ history, point: _, ...series }) => [
      keyOf(series),
      { ...series, history: history ?? [] },
    ]),
  );
}

/** One step on: `now` holds only what moves, everything else was silent. */
export function step(known: Known, now: Traffic): Known {
  const moving = new Map(now.series.map((series) => [keyOf(series), series]));
  const next = new Map<string, Tracked>();
  for (const [key, before] of known) {
    const series = moving.get(key);
    moving.delete(key);
    // Most lines of a large application are silent: those cost nothing but their entry.
    if (!series && before.history.length === 0) {
      next.set(key, before);
      continue;
    }
    const point: Point = series?.point ?? [0, 0, 0];
    const history = [...before.history, point].slice(-POINTS);
    next.set(
      key,
      series
        ? { ...without(series), history }
        : { ...before, history: history.some(moved) ? history : [], rate: 0, failing: 0, inflight: 0, p50_ms: null, p95_ms: null, p99_ms: null },
    );
  }
  for (const [key, series] of moving) next.set(key, { ...without(series), history: [series.point] });
  return next;
}

const moved = ([requests, failed]: Point) => requests + failed > 0;

function without({ history: _h, point: _p, ...series }: Series): Omit<Tracked, "history"> {
  return series;
}

export interface Sum {
  rate: number;
  failing: number;
  inflight: number;
  requests: number;
  refused: number;
  retries: number;
  broken: number;
  bytes: number;
  by_class: number[];
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  history: Point[];
}

export const NOTHING: Sum = {
  rate: 0,
  failing: 0,
  inflight: 0,
  requests: 0,
  refused: 0,
  retries: 0,
  broken: 0,
  bytes: 0,
  by_class: [0, 0, 0, 0, 0, 0],
  p50_ms: null,
  p95_ms: null,
  p99_ms: null,
  history: [],
};

/** Quantiles cannot be added: of several series the slowest is told. */
export function sum(all: Tracked[]): Sum {
  // The usual case, an edge of its own, and worth it: there are thousands.
  if (all.length === 1) return all[0]!;
  const total: Sum = { ...NOTHING, by_class: [0, 0, 0, 0, 0, 0] };
  const worst = (a: number | null, b: number | null) =>
    a === null ? b : b === null ? a : Math.max(a, b);
  for (const s of all) {
    for (const key of COUNTED) total[key] += s[key];
    s.by_class.forEach((n, i) => (total.by_class[i] = (total.by_class[i] ?? 0) + n));
    total.p50_ms = worst(total.p50_ms, s.p50_ms);
    total.p95_ms = worst(total.p95_ms, s.p95_ms);
    total.p99_ms = worst(total.p99_ms, s.p99_ms);
  }
  total.history = added(all.map((s) => s.history));
  return total;
}

const COUNTED = ["rate", "failing", "inflight", "requests", "refused", "retries", "broken", "bytes"] as const;

/** Aligned at the newest point. */
function added(all: Point[][]): Point[] {
  const length = Math.max(0, ...all.map((history) => history.length));
  const total = Array.from({ length }, (): Point => [0, 0, 0]);
  for (const history of all) {
    history.forEach(([requests, failed, slow], i) => {
      const point = total[length - history.length + i]!;
      point[0] += requests;
      point[1] += failed;
      point[2] = Math.max(point[2], slow);
    });
  }
  return total;
}

export interface Totals {
  /** By callee: what people and services ask of it; Archipel's own deliveries apart. */
  into: Map<string, Sum>;
  /** By `caller>callee`, with `gateway` for the outside. */
  edges: Map<string, Sum>;
  outside: Sum;
}

export const GATEWAY = "gateway:";

export function totals(known: Known): Totals {
  const into = new Map<string, Tracked[]>();
  const edges = new Map<string, Tracked[]>();
  const outside: Tracked[] = [];
  const push = (to: Map<string, Tracked[]>, key: string, s: Tracked) => {
    const list = to.get(key);
    if (list) list.push(s);
    else to.set(key, [s]);
  };
  for (const s of known.values()) {
    // Outbox pulls wait for news: their times say nothing about the service.
    if (s.kind === "archipel") continue;
    if (s.kind === "outside") outside.push(s);
    if (s.callee === null) continue;
    push(into, s.callee, s);
    push(edges, edgeKey(s.kind === "outside" ? GATEWAY : (s.caller ?? ""), s.callee), s);
  }
  const summed = (of: Map<string, Tracked[]>) =>
    new Map([...of].map(([key, list]) => [key, sum(list)]));
  return { into: summed(into), edges: summed(edges), outside: sum(outside) };
}

export const edgeKey = (from: string, to: string): string => `${from}>${to}`;
