// Lines over time: drawn as SVG, read off with a pointer, and a drag chooses a span of time.

import { useSignal } from "@preact/signals";
import { day, clock } from "./format.ts";
import { go, withQuery } from "./router.tsx";
import { ceiling } from "./scale.ts";
import { zone } from "./settings.ts";

export interface Line {
  name: string;
  hue: string;
  values: (number | null)[];
}

const [WIDTH, HEIGHT] = [600, 130];

export function Plot(props: { title: string; lines: Line[]; since: number; step: number; show: (n: number) => string; limit?: number | null; note?: string }) {
  const { lines, since, step, show } = props;
  const over = useSignal<number | null>(null);
  const drag = useSignal<number | null>(null);
  const count = Math.max(...lines.map((l) => l.values.length), 2);
  const highest = Math.max(0, ...lines.flatMap((l) => l.values.map((v) => v ?? 0)));
  const near = props.limit && highest > props.limit * 0.4 ? props.limit : 0;
  const top = ceiling(Math.max(highest, near) * 1.05);
  const x = (i: number) => (i / (count - 1)) * WIDTH;
  const y = (n: number) => HEIGHT - 2 - (n / top) * (HEIGHT - 6);
  const at = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return Math.min(Math.max(Math.round(((event.clientX - box.left) / box.width) * (count - 1)), 0), count - 1);
  };
  const time = (i: number) => since + i * step;
  const utc = zone.value === "utc";
  const shown = over.value;
  const ranked = [...lines].sort((a, b) => latest(b, shown) - latest(a, shown));
  return (
    <figure class="plot">
      <figcaption>
        <strong>{props.title}</strong>
        <span class="dim">{shown === null ? props.note : `${step >= 60_000 ? `${day(time(shown), utc)} ` : ""}${clock(time(shown), utc, false)}`}</span>
      </figcaption>
      <div class="plot-body">
        <span class="plot-top dim">{show(top)}</span>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${props.title}: ${ranked.slice(0, 4).map((l) => `${l.name} ${show(latest(l, null))}`).join(", ")}`}
          onPointerDown={(e) => (drag.value = at(e))}
          onPointerMove={(e) => (over.value = at(e))}
          onPointerLeave={() => {
            over.value = null;
            drag.value = null;
          }}
          onPointerUp={(e) => {
            const [a, b] = [drag.value, at(e)];
            drag.value = null;
            if (a !== null && Math.abs(a - b) > 1) go(withQuery({ from: String(time(Math.min(a, b))), to: String(time(Math.max(a, b))) }));
          }}
        >
          {[0.5, 1].map((part) => (
            <path key={part} class="grid" d={`M0 ${y(top * part)}H${WIDTH}`} />
          ))}
          {props.limit && props.limit <= top ? <path class="limit" d={`M0 ${y(props.limit)}H${WIDTH}`} /> : null}
          {[...lines].reverse().map((line) => (
            <path key={line.name} class={`line stroke-${line.hue}`} d={path(line.values, x, y)} />
          ))}
          {drag.value !== null && shown !== null && <rect class="h-drag" x={Math.min(x(drag.value), x(shown))} width={Math.abs(x(shown) - x(drag.value))} y="0" height={HEIGHT} />}
          {shown !== null && <path class="cross" d={`M${x(shown)} 0V${HEIGHT}`} />}
        </svg>
      </div>
      <ul class="plot-legend">
        {ranked.slice(0, 6).map((line) => (
          <li key={line.name} class={`dot ${line.hue}`}>
            {line.name} <span class="num">{show(latest(line, shown))}</span>
          </li>
        ))}
        {ranked.length > 6 && <li class="dim">+{ranked.length - 6}</li>}
      </ul>
    </figure>
  );
}

function latest(line: Line, at: number | null): number {
  if (at !== null) return line.values[at] ?? 0;
  // The newest stretch is not whole yet.
  for (let i = line.values.length - 1; i >= 0; i--) {
    const value = line.values[i];
    if (value !== null && value !== undefined) return value;
  }
  return 0;
}

/** Where nothing is known, there is no line. */
function path(values: (number | null)[], x: (i: number) => number, y: (n: number) => number): string {
  let out = "";
  let pen = false;
  values.forEach((value, i) => {
    if (value === null) {
      pen = false;
      return;
    }
    const point = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    // A moment alone is a dot.
    const alone = !pen && (values[i + 1] ?? null) === null;
    out += pen ? `L${point}` : `M${point}${alone ? "h1" : ""}`;
    pen = true;
  });
  return out;
}
