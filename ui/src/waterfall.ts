// One trace as rows: who called whom, what took the time, what was said meanwhile. Pure, so that
// five thousand spans can be tried in a test.

import type { LogLine, Span } from "./api.ts";

export interface Node {
  span: Span;
  depth: number;
  parent: Node | null;
  children: Node[];
  /** Microseconds since the trace began. */
  start: number;
  end: number;
  /** Of its duration, what no child covers. */
  self: number;
  /** Stretches in which the whole trace waited for this span alone. */
  critical: [number, number][];
  logs: LogLine[];
  failed: boolean;
  /** Spans below it, and how many of these failed. */
  below: number;
  failedBelow: number;
  /** Its parent was not received. */
  orphan: boolean;
}

export interface Tree {
  roots: Node[];
  /** In the order of the tree. */
  all: Node[];
  byId: Map<string, Node>;
  startUs: number;
  duration: number;
  /** Said within the trace, but within no span that is known. */
  loose: LogLine[];
  services: { name: string; spans: number; self: number; critical: number; errors: number }[];
}

export type Row = { kind: "span"; node: Node } | { kind: "log"; node: Node | null; line: LogLine };

export function tree(spans: Span[], logs: LogLine[]): Tree {
  const startUs = spans.reduce((least, s) => Math.min(least, s.start_us), Infinity);
  const byId = new Map<string, Node>();
  for (const span of spans) {
    const start = span.start_us - startUs;
    byId.set(span.span_id, {
      span,
      depth: 0,
      parent: null,
      children: [],
      start,
      end: start + span.duration_us,
      self: span.duration_us,
      critical: [],
      logs: [],
      failed: span.status === "error",
      below: 0,
      failedBelow: 0,
      orphan: false,
    });
  }
  const roots: Node[] = [];
  for (const node of byId.values()) {
    const parent = node.span.parent_id ? byId.get(node.span.parent_id) : undefined;
    if (parent && parent !== node && !under(parent, node)) {
      node.parent = parent;
      parent.children.push(node);
    } else {
      node.orphan = node.span.parent_id !== null;
      roots.push(node);
    }
  }
  const first = (a: Node, b: Node) => a.start - b.start || b.end - a.end;
  roots.sort(first);
  const all: Node[] = [];
  const waiting = [...roots].reverse();
  while (waiting.length > 0) {
    const node = waiting.pop()!;
    node.depth = node.parent ? node.parent.depth + 1 : 0;
    node.children.sort(first);
    node.self = Math.max(0, node.end - node.start - covered(node));
    all.push(node);
    for (let i = node.children.length - 1; i >= 0; i--) waiting.push(node.children[i]!);
  }
  for (let i = all.length - 1; i >= 0; i--) {
    const { parent, below, failedBelow, failed } = all[i]!;
    if (parent) {
      parent.below += below + 1;
      parent.failedBelow += failedBelow + (failed ? 1 : 0);
    }
  }
  const duration = all.reduce((most, n) => Math.max(most, n.end), 0);
  markCritical(roots, duration);
  return { roots, all, byId, startUs: Number.isFinite(startUs) ? startUs : 0, duration, loose: place(logs, all, byId, startUs), services: shares(all) };
}

/** A broken SDK can make a circle. */
function under(node: Node, of: Node): boolean {
  for (let at: Node | null = node; at; at = at.parent) if (at === of) return true;
  return false;
}

function covered(node: Node): number {
  let sum = 0;
  let reached = node.start;
  for (const child of node.children) {
    const from = Math.max(child.start, reached);
    const to = Math.min(child.end, node.end);
    if (to > from) {
      sum += to - from;
      reached = to;
    }
  }
  return sum;
}

/**
 * From the end back: the child that ended last is what its parent waited for; before that child
 * began, the parent waited for the one that ended last then. What is left is the parent's own.
 */
function markCritical(roots: Node[], duration: number): void {
  const waiting: { node: Node; until: number }[] = [];
  let cursor = duration;
  for (const root of [...roots].sort((a, b) => b.end - a.end)) {
    if (root.start >= cursor) continue;
    waiting.push({ node: root, until: Math.min(root.end, cursor) });
    cursor = root.start;
  }
  while (waiting.length > 0) {
    const { node, until } = waiting.pop()!;
    let at = until;
    for (const child of [...node.children].sort((a, b) => b.end - a.end)) {
      const end = Math.min(child.end, at);
      const start = Math.max(child.start, node.start);
      if (end <= start) continue;
      if (at > end) node.critical.push([end, at]);
      waiting.push({ node: child, until: end });
      at = start;
      if (at <= node.start) break;
    }
    if (at > node.start) node.critical.push([node.start, at]);
  }
}

/** Each line to the span that said it; without one, to the innermost of its service then. */
function place(logs: LogLine[], all: Node[], byId: Map<string, Node>, startUs: number): LogLine[] {
  const loose: LogLine[] = [];
  const of = new Map<string, Node[]>();
  for (const node of all) {
    const list = of.get(node.span.service);
    if (list) list.push(node);
    else of.set(node.span.service, [node]);
  }
  for (const line of logs) {
    const named = line.span_id ? byId.get(line.span_id) : undefined;
    const at = line.at_ms * 1000 - startUs;
    // Times of lines are whole milliseconds.
    const within = (n: Node) => n.start - 1000 <= at && at <= n.end + 1000;
    let best: Node | undefined = named;
    // Of several at once, the one that ends then: what is said of a request is said at its end.
    const closer = (n: Node, than: Node) =>
      n.depth !== than.depth ? n.depth > than.depth : Math.abs(n.end - at) + n.logs.length * 1000 < Math.abs(than.end - at) + than.logs.length * 1000;
    if (!best) for (const n of of.get(line.service) ?? []) if (within(n) && (!best || closer(n, best))) best = n;
    if (best) best.logs.push(line);
    else loose.push(line);
  }
  return loose;
}

function shares(all: Node[]): Tree["services"] {
  const found = new Map<string, Tree["services"][number]>();
  for (const node of all) {
    const name = node.span.service;
    const of = found.get(name) ?? { name, spans: 0, self: 0, critical: 0, errors: 0 };
    of.spans++;
    of.self += node.self;
    of.critical += node.critical.reduce((n, [a, b]) => n + b - a, 0);
    of.errors += node.failed ? 1 : 0;
    found.set(name, of);
  }
  return [...found.values()].sort((a, b) => b.critical - a.critical || b.self - a.self);
}

/** What is in sight: without what is folded, logs below the span that said them. */
export function rows(of: Tree, folded: ReadonlySet<string>, withLogs: boolean): Row[] {
  const out: Row[] = [];
  let hidden = Infinity;
  for (const node of of.all) {
    if (node.depth > hidden) continue;
    hidden = Infinity;
    out.push({ kind: "span", node });
    if (folded.has(node.span.span_id)) {
      hidden = node.depth;
      continue;
    }
    if (withLogs) for (const line of node.logs) out.push({ kind: "log", node, line });
  }
  if (withLogs) for (const line of of.loose) out.push({ kind: "log", node: null, line });
  return out;
}

/** A hop is called after its route or its callee; people look for the path. */
export function nameOf({ name, attributes }: Span): string {
  const [method, path] = [attributes["http.request.method"], attributes["url.path"]];
  return attributes["archipel.hop"] === true && typeof path === "string" ? `${String(method)} ${path}` : name;
}

/** Siblings of one name, ten or more: most likely one question asked in a loop. */
export function repeated(node: Node): { name: string; count: number; total: number } | null {
  const counts = new Map<string, { name: string; count: number; total: number }>();
  for (const { span } of node.children) {
    const key = `${span.service} ${nameOf(span)}`;
    const of = counts.get(key) ?? { name: nameOf(span), count: 0, total: 0 };
    of.count++;
    of.total += span.duration_us;
    counts.set(key, of);
  }
  const most = [...counts.values()].sort((a, b) => b.count - a.count)[0];
  return most && most.count >= 10 ? most : null;
}

export interface Difference {
  service: string;
  name: string;
  counts: [number, number];
  /** Own time in microseconds. */
  self: [number, number];
  failed: [number, number];
}

/** Two traces side by side: own time by service and name, the largest difference first. */
export function compare(a: Tree, b: Tree): Difference[] {
  const found = new Map<string, Difference>();
  [a, b].forEach((one, side) => {
    for (const { span, self, failed } of one.all) {
      const key = `${span.service}\n${span.name}`;
      const of = found.get(key) ?? { service: span.service, name: span.name, counts: [0, 0], self: [0, 0], failed: [0, 0] };
      of.counts[side]!++;
      of.self[side]! += self;
      of.failed[side]! += failed ? 1 : 0;
      found.set(key, of);
    }
  });
  const far = (d: Difference) => Math.abs(d.self[1] - d.self[0]);
  return [...found.values()].sort((x, y) => far(y) - far(x));
}
