// Places the nodes of a directed graph in layers, so that lines run mostly one way and cross
// little: longest path for the layer, a few barycentre sweeps for the order within it.

export interface Edge {
  from: string;
  to: string;
}

export interface Place {
  id: string;
  layer: number;
  /** Position within the layer; layers are centred on 0. */
  at: number;
}

export interface Layout {
  places: Place[];
  /** Where a line over several layers passes between their nodes; by `edgeId`. */
  bends: Map<string, Place[]>;
}

export const edgeId = (e: Edge): string => `${e.from}>${e.to}`;

export function layers(ids: string[], edges: Edge[]): Layout {
  const known = new Set(ids);
  const lines = acyclic(
    ids,
    edges.filter((e) => known.has(e.from) && known.has(e.to) && e.from !== e.to),
  );
  const layer = longestPaths(ids, lines);
  const rows: string[][] = [];
  for (const id of ids) (rows[layer.get(id) ?? 0] ??= []).push(id);
  // A layer may be empty only when there are no nodes at all, but holes would break the sweeps.
  for (let i = 0; i < rows.length; i++) rows[i] ??= [];
  // A long line takes a place in every layer it crosses, or it would run behind the nodes there.
  const short: Edge[] = [];
  const passing = new Map<string, string[]>();
  for (const line of lines) {
    const [first, last] = [layer.get(line.from)!, layer.get(line.to)!];
    let from = line.from;
    const via: string[] = [];
    for (let l = first + 1; l < last && last - first <= CROSSED_MAX; l++) {
      const id = `\u0000${edgeId(line)}\u0000${l}`;
      rows[l]!.push(id);
      via.push(id);
      short.push({ from, to: id });
      from = id;
    }
    short.push({ from, to: line.to });
    passing.set(edgeId(line), via);
  }
  order(rows, short);
  const all = rows.flatMap((row, l) =>
    row.map((id, i): Place => ({ id, layer: l, at: i - (row.length - 1) / 2 })),
  );
  const placed = new Map(all.map((place) => [place.id, place]));
  return {
    places: all.filter((place) => !place.id.startsWith("\u0000")),
    bends: new Map([...passing].map(([key, via]) => [key, via.map((id) => placed.get(id)!)])),
  };
}

/** A line over more layers than this runs straight: its places would outnumber the nodes. */
const CROSSED_MAX = 12;

/** The edges without those that close a circle. */
function acyclic(ids: string[], edges: Edge[]): Edge[] {
  const out = new Map<string, Edge[]>();
  for (const e of edges) {
    const list = out.get(e.from);
    if (list) list.push(e);
    else out.set(e.from, [e]);
  }
  const state = new Map<string, "open" | "done">();
  const kept: Edge[] = [];
  const hasCaller = new Set(edges.map((e) => e.to));
  // From the roots first, so that the line that is cut is the one that leads back.
  const starts = [...ids.filter((id) => !hasCaller.has(id)), ...ids];
  for (const start of starts) {
    if (state.has(start)) continue;
    const stack: { id: string; next: number }[] = [{ id: start, next: 0 }];
    state.set(start, "open");
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const edge = out.get(top.id)?.[top.next++];
      if (!edge) {
        state.set(top.id, "done");
        stack.pop();
        continue;
      }
      const seen = state.get(edge.to);
      if (seen === "open") continue;
      kept.push(edge);
      if (seen === undefined) {
        state.set(edge.to, "open");
        stack.push({ id: edge.to, next: 0 });
      }
    }
  }
  return kept;
}

function longestPaths(ids: string[], edges: Edge[]): Map<string, number> {
  const layer = new Map(ids.map((id) => [id, 0]));
  const open = new Map(ids.map((id) => [id, 0]));
  const out = new Map<string, string[]>();
  for (const e of edges) {
    open.set(e.to, (open.get(e.to) ?? 0) + 1);
    const list = out.get(e.from);
    if (list) list.push(e.to);
    else out.set(e.from, [e.to]);
  }
  const queue = ids.filter((id) => open.get(id) === 0);
  for (let i = 0; i < queue.length; i++) {
    const from = queue[i]!;
    for (const to of out.get(from) ?? []) {
      layer.set(to, Math.max(layer.get(to)!, layer.get(from)! + 1));
      open.set(to, open.get(to)! - 1);
      if (open.get(to) === 0) queue.push(to);
    }
  }
  return layer;
}

const SWEEPS = 6;

/** Sorts each row by where its neighbours stand, down and up in turn. */
function order(rows: string[][], edges: Edge[]): void {
  const before = new Map<string, string[]>();
  const after = new Map<string, string[]>();
  for (const e of edges) {
    before.set(e.to, [...(before.get(e.to) ?? []), e.from]);
    after.set(e.from, [...(after.get(e.from) ?? []), e.to]);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    const neighbours = down ? before : after;
    const at = new Map<string, number>();
    const place = () =>
      rows.forEach((row) => row.forEach((id, i) => at.set(id, i - (row.length - 1) / 2)));
    place();
    const sorted = down ? rows : [...rows].reverse();
    for (const row of sorted) {
      const middle = new Map(
        row.map((id) => {
          const near = neighbours.get(id) ?? [];
          const all = near.reduce((total, other) => total + (at.get(other) ?? 0), 0);
          return [id, near.length === 0 ? (at.get(id) ?? 0) : all / near.length];
        }),
      );
      row.sort((a, b) => middle.get(a)! - middle.get(b)! || a.localeCompare(b));
      row.forEach((id, i) => at.set(id, i - (row.length - 1) / 2));
    }
  }
}

/** Everybody who reaches `id` over any number of edges: who notices when it stops. */
export function reaching(id: string, edges: Edge[]): Set<string> {
  const callers = new Map<string, string[]>();
  for (const e of edges) callers.set(e.to, [...(callers.get(e.to) ?? []), e.from]);
  const found = new Set<string>();
  const queue = [id];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const caller of callers.get(next) ?? []) {
      if (caller !== id && !found.has(caller)) {
        found.add(caller);
        queue.push(caller);
      }
    }
  }
  return found;
}
