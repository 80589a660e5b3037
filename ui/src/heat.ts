// How long things took, over time: the cells of a heat map. Pure.

import type { TraceHistogram } from "./api.ts";

export interface Cell {
  column: number;
  row: number;
  count: number;
}

export interface Heat {
  columns: number;
  /** Upper bounds in microseconds, shortest first. */
  bounds: number[];
  cells: Cell[];
  /** Failed ones by column. */
  errors: number[];
  counts: number[];
  most: number;
  total: number;
  failed: number;
}

/** Two rows per doubling; the server's classes are four. */
const rowOf = (upperUs: number): number => Math.ceil(Math.log2(Math.max(upperUs, 1)) * 2 - 1e-9);
const boundOf = (row: number): number => 2 ** (row / 2);

export function heat(of: TraceHistogram): Heat {
  const begin = Math.floor(of.since_ms / of.step_ms) * of.step_ms;
  const columns = Math.max(1, Math.ceil((of.until_ms - begin) / of.step_ms));
  let [least, most] = [Infinity, -Infinity];
  for (const bucket of of.buckets) {
    for (const [upper] of bucket.classes) {
      least = Math.min(least, rowOf(upper));
      most = Math.max(most, rowOf(upper));
    }
  }
  const errors = new Array<number>(columns).fill(0);
  const counts = new Array<number>(columns).fill(0);
  if (!Number.isFinite(least)) return { columns, bounds: [], cells: [], errors, counts, most: 0, total: 0, failed: 0 };
  // A handful of rows at least, or everything alike would look like a wall.
  while (most - least < 7) {
    most++;
    if (most - least < 7 && least > 0) least--;
  }
  const found = new Map<string, Cell>();
  let total = 0;
  for (const bucket of of.buckets) {
    const column = Math.min(columns - 1, Math.max(0, Math.floor((bucket.at_ms - begin) / of.step_ms)));
    errors[column]! += bucket.errors;
    counts[column]! += bucket.count;
    total += bucket.count;
    for (const [upper, count] of bucket.classes) {
      const row = rowOf(upper) - least;
      const cell = found.get(`${column} ${row}`);
      if (cell) cell.count += count;
      else found.set(`${column} ${row}`, { column, row, count });
    }
  }
  const cells = [...found.values()];
  return {
    columns,
    bounds: Array.from({ length: most - least + 1 }, (_, i) => boundOf(least + i)),
    cells,
    errors,
    counts,
    most: Math.max(...cells.map((c) => c.count)),
    total,
    failed: errors.reduce((a, b) => a + b, 0),
  };
}

/** `1.5ms` as the language of questions writes it. */
export function written(us: number): string {
  if (us < 1000) return `${round(us)}us`;
  if (us < 1_000_000) return `${round(us / 1000)}ms`;
  return `${round(us / 1_000_000)}s`;
}

const round = (n: number) => (n < 10 ? Math.round(n * 100) / 100 : Math.round(n));
