// The span of time that a page looks at, as its address says it.

import { A, withQuery } from "./router.tsx";

export const RANGES: [string, string, number][] = [
  ["15m", "15 min", 15 * 60_000],
  ["1h", "1 h", 3_600_000],
  ["6h", "6 h", 6 * 3_600_000],
  ["24h", "24 h", 24 * 3_600_000],
  ["7d", "7 d", 7 * 24 * 3_600_000],
];

export interface Range {
  since_ms: number;
  until_ms?: number;
  /** Ends now, and moves with it. */
  moving: boolean;
}

/** Asked anew each time: what moves ends at the moment of the question. */
export function rangeOf(words: URLSearchParams, standard = "1h"): Range {
  const [from, to] = [Number(words.get("from")) || 0, Number(words.get("to")) || 0];
  if (from && to) return { since_ms: from, until_ms: to, moving: false };
  const named = (key: string) => RANGES.find(([name]) => name === key);
  const range = named(words.get("range") ?? standard) ?? named(standard)!;
  return { since_ms: Date.now() - range[2], moving: true };
}

export function Ranges({ words, standard = "1h", most }: { words: URLSearchParams; standard?: string; most?: string }) {
  const chosen = words.get("from") !== null;
  const last = most ? RANGES.findIndex(([key]) => key === most) + 1 : RANGES.length;
  return (
    <div class="chips" role="group" aria-label="range">
      {RANGES.slice(0, last).map(([range, label]) => (
        <A
          key={range}
          class="chip"
          href={withQuery({ range: range === standard ? null : range, from: null, to: null, at: null })}
          aria-current={!chosen && (words.get("range") ?? standard) === range ? "true" : undefined}
        >
          {label}
        </A>
      ))}
      {chosen && (
        <A class="chip" href={withQuery({ from: null, to: null, at: null })} aria-current="true">
          chosen span ✕
        </A>
      )}
    </div>
  );
}
