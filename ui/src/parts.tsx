// The small pieces that all pages are made of.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Point, Service } from "./api.ts";
import { words } from "./attention.ts";
import { bytes, clock, day, ms, percent, rate } from "./format.ts";
import { progress } from "./operation.ts";
import { message, now, operate, operations } from "./state.ts";
import { zone } from "./settings.ts";
import type { Sum } from "./traffic.ts";
import { visible } from "./visible.ts";
import { A } from "./router.tsx";

const TONES: Record<string, string> = {
  ready: "good",
  completed: "good",
  idle: "good",
  flowing: "good",
  built: "good",
  cached: "good",
  failed: "bad",
  "backing-off": "bad",
  "storage-failed": "bad",
  dead: "bad",
  stalled: "bad",
  suspended: "warn",
  pending: "busy",
  terminated: "off",
  canceled: "off",
  degraded: "warn",
  waiting: "warn",
  full: "bad",
  absent: "warn",
  stopped: "off",
};

/** Form as well as colour: a state must be told apart without seeing red. */
const GLYPHS: Record<string, string> = {
  good: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11Z",
  bad: "M8 1.2 14.8 8 8 14.8 1.2 8Z",
  warn: "M8 2 15 14H1Z",
  off: "M3 6.5h10v3H3Z",
  busy: "M8 2.5a5.5 5.5 0 0 1 0 11Z",
};

export const toneOf = (state: string): string => TONES[state] ?? "busy";

export function Glyph({ state }: { state: string }) {
  const tone = toneOf(state);
  return (
    <svg class={`glyph ${tone}`} width="12" height="12" viewBox="0 0 16 16" aria-hidden="true">
      {tone === "busy" && <circle cx="8" cy="8" r="5.5" class="ring" />}
      <path d={GLYPHS[tone]} />
    </svg>
  );
}

export function State({ state }: { state: string }) {
  return (
    <span class={`state ${toneOf(state)}`}>
      <Glyph state={state} />
      {words(state)}
    </span>
  );
}

export function Page(props: {
  title: ComponentChildren;
  lead?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <>
      <header class="page-head">
        <div>
          <h1>{props.title}</h1>
          {props.lead && <p class="lead">{props.lead}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </>
  );
}

export function Panel(props: {
  title?: ComponentChildren;
  aside?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.class ?? ""}`}>
      {props.title && (
        <header>
          <h2>{props.title}</h2>
          {props.aside && <div class="aside">{props.aside}</div>}
        </header>
      )}
      {props.children}
    </section>
  );
}

/** What would be here, and what to do so that it is. */
export function Empty(props: { title: string; children?: ComponentChildren; code?: string }) {
  return (
    <div class="empty">
      <h3>{props.title}</h3>
      {props.children && <p>{props.children}</p>}
      {props.code && <pre>{props.code}</pre>}
    </div>
  );
}

export function Failed({ error, again }: { error: unknown; again?: () => void }) {
  return (
    <div class="failed" role="alert">
      <Glyph state="failed" />
      <span>{message(error)}</span>
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Figure(props: { label: string; value: ComponentChildren; note?: ComponentChildren; tone?: string }) {
  return (
    <div class={`figure ${props.tone ?? ""}`}>
      <dt>{props.label}</dt>
      <dd>{props.value}</dd>
      {props.note && <p>{props.note}</p>}
    </div>
  );
}

/** A small plot of the last five minutes; failures stand on the ground line. */
export function Spark({ points, of = "rate", wide = false }: { points: Point[]; of?: "rate" | "slow"; wide?: boolean }) {
  const width = wide ? 480 : 120;
  const height = wide ? 64 : 26;
  const shown = points.slice(wide ? -150 : -75);
  const value = (p: Point) => (of === "rate" ? p[0] : p[2]);
  const top = Math.max(...shown.map(value), 1);
  const x = (i: number) => (shown.length < 2 ? width : (i / (shown.length - 1)) * width);
  const y = (n: number) => height - 1 - (n / top) * (height - 3);
  if (shown.every((p) => value(p) === 0)) {
    return (
      <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label="quiet">
        <path class="ground" d={`M0 ${height - 1}H${width}`} />
      </svg>
    );
  }
  const line = shown.map((p, i) => `${i === 0 ? "M" : "L"}${x(i).toFixed(1)} ${y(value(p)).toFixed(1)}`).join("");
  const failed = shown
    .map((p, i) => (p[1] > 0 && of === "rate" ? `M${x(i).toFixed(1)} ${height}V${Math.min(y(p[1]), height - 4).toFixed(1)}` : ""))
    .join("");
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label="the last minutes">
      <path class="area" d={`${line}L${width} ${height}L0 ${height}Z`} />
      <path class="line" d={line} />
      {failed && <path class="fails" d={failed} />}
    </svg>
  );
}

export function Meter({ value, limit }: { value: number; limit: number | null }) {
  if (!limit) return <span class="num">{value > 0 ? bytes(value) : "–"}</span>;
  const share = Math.min(value / limit, 1);
  return (
    <span class="meter" title={`${bytes(value)} of ${bytes(limit)} (${percent(value, limit)})`}>
      <span class="num">{bytes(value)}</span>
      <svg viewBox="0 0 60 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="back" width="60" height="4" rx="2" />
        <rect class={share > 0.9 ? "bad" : share > 0.75 ? "warn" : "fill"} width={Math.max(share * 60, 1)} height="4" rx="2" />
      </svg>
    </span>
  );
}

export function Errors({ sum }: { sum: Sum | undefined }) {
  if (!sum || sum.rate === 0) return <span class="num dim">–</span>;
  return <span class={`num ${sum.failing > 0 ? "bad-text" : "dim"}`}>{percent(sum.failing, sum.rate)}</span>;
}

export function Red({ sum }: { sum: Sum | undefined }) {
  return (
    <>
      <td class="num">{sum && sum.requests > 0 ? rate(sum.rate) : <span class="dim">–</span>}</td>
      <td class="num">
        <Errors sum={sum} />
      </td>
      <td class="num">{ms(sum?.p95_ms)}</td>
    </>
  );
}

export function Time({ at, date = false }: { at: number; date?: boolean }) {
  const utc = zone.value === "utc";
  const text = `${date ? `${day(at, utc)} ` : ""}${clock(at, utc, !date)}`;
  return <time dateTime={new Date(at).toISOString()}>{text}</time>;
}

export function ServiceLink({ name }: { name: string }) {
  return <A href={`/services/${name}`}>{name}</A>;
}

/** Asks once more in its own place; nothing jumps over the page. */
export function Sure(props: {
  label: string;
  ask: string;
  yes: string;
  act: () => void;
  disabled?: boolean;
  class?: string;
}) {
  const asking = useSignal(false);
  const yes = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (asking.value) yes.current?.focus();
  }, [asking.value]);
  if (!asking.value) {
    return (
      <button type="button" class={props.class ?? ""} disabled={props.disabled} onClick={() => (asking.value = true)}>
        {props.label}
      </button>
    );
  }
  return (
    <span class="sure" role="group" aria-label={props.ask} onKeyDown={(e) => e.key === "Escape" && (asking.value = false)}>
      <span>{props.ask}</span>
      <button
        ref={yes}
        type="button"
        class="primary"
        onClick={() => {
          asking.value = false;
          props.act();
        }}
      >
        {props.yes}
      </button>
      <button type="button" onClick={() => (asking.value = false)}>
        Cancel
      </button>
    </span>
  );
}

export function Operations({ service }: { service: Service }) {
  const operation = operations.value.get(service.name);
  if (operation) {
    const state = progress(operation, service);
    const took = Math.max(0, (now.value - operation.since) / 1000).toFixed(0);
    return (
      <span class="busy" role="status">
        <span class="spinner" aria-hidden="true" />
        {state.done ? state.text : state.step} · {took} s
      </span>
    );
  }
  const stopped = service.state === "stopped";
  const failed = service.state === "failed" || service.state === "backing-off";
  return (
    <>
      {(stopped || failed) && (
        <button type="button" class="primary" onClick={() => void operate("start", service)}>
          {failed ? "Try again now" : "Start"}
        </button>
      )}
      {!stopped && (
        <>
          <Sure label="Restart" ask={`Restart ${service.name}?`} yes="Restart" act={() => void operate("restart", service)} />
          <Sure label="Stop" ask={`Stop ${service.name}? Its callers will get errors.`} yes="Stop" act={() => void operate("stop", service)} />
        </>
      )}
    </>
  );
}

/** For what may be made under an id of one's own choice. */
export function IdField() {
  return (
    <label>
      <span>
        Id <small class="dim">a new one when empty</small>
      </span>
      <input name="id" autocomplete="off" />
    </label>
  );
}

export function Json({ value }: { value: unknown }) {
  return <pre class="json">{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>;
}

export function Code({ text }: { text: string }) {
  const copied = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text).catch(() => {});
    copied.value = true;
    setTimeout(() => (copied.value = false), 1500);
  };
  return (
    <span class="code">
      <code>{text}</code>
      <button type="button" class="quiet" onClick={() => void copy()} aria-label={`copy ${text}`}>
        {copied.value ? "copied" : "copy"}
      </button>
    </span>
  );
}

/** A list of any length: only what is in sight is in the page. Rows have one height. */
export function Rows<T>(props: {
  items: T[];
  rowHeight: number;
  row: (item: T, index: number) => ComponentChildren;
  keyOf: (item: T) => string | number;
  label: string;
  /** Stays at the end while new rows come, until someone scrolls away. */
  follow?: boolean;
  onAway?: (away: boolean) => void;
  class?: string;
  role?: "log" | "list";
  /** The row that must be in sight, when it changes. */
  show?: number | null;
  onKeyDown?: (event: KeyboardEvent) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const seen = useSignal({ top: 0, height: 800 });
  const measure = () => {
    const at = box.current;
    if (!at) return;
    seen.value = { top: at.scrollTop, height: at.clientHeight };
    if (props.onAway) props.onAway(at.scrollHeight - at.scrollTop - at.clientHeight > props.rowHeight * 2);
  };
  useLayoutEffect(() => {
    const at = box.current;
    if (at && props.follow) at.scrollTop = at.scrollHeight;
    measure();
  }, [props.items, props.follow]);
  useLayoutEffect(() => {
    const at = box.current;
    if (!at || props.show === null || props.show === undefined) return;
    const top = props.show * props.rowHeight;
    if (top < at.scrollTop) at.scrollTop = top;
    else if (top + props.rowHeight > at.scrollTop + at.clientHeight) at.scrollTop = top + props.rowHeight - at.clientHeight;
  }, [props.show]);
  useEffect(() => {
    const watcher = new ResizeObserver(measure);
    if (box.current) watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  const { first, last } = visible(props.items.length, props.rowHeight, seen.value.top, seen.value.height);
  return (
    <div class={`rows ${props.class ?? ""}`} ref={box} onScroll={measure} tabIndex={0} role={props.role ?? "log"} aria-live="off" aria-label={props.label} {...(props.onKeyDown ? { onKeyDown: props.onKeyDown } : {})}>
      <div class="rows-all" style={{ height: `${props.items.length * props.rowHeight}px` }}>
        <div class="rows-seen" style={{ transform: `translateY(${first * props.rowHeight}px)` }}>
          {props.items.slice(first, last).map((item, i) => (
            <div class="row" role={props.role === "list" ? "listitem" : undefined} style={{ height: `${props.rowHeight}px` }} key={props.keyOf(item)}>
              {props.row(item, first + i)}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}
