import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { LogLine, LogSummary } from "../api.ts";
import { address, get, lines as ask } from "../api.ts";
import { useAsked } from "../asked.ts";
import { count, plural, short } from "../format.ts";
import { Empty, Json, Page, Rows, Time } from "../parts.tsx";
import { Facet, Question, Wrong } from "../question.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { replaced, term } from "../terms.ts";
import { LogText } from "./log-line.tsx";

const KEYS = ["service", "instance", "level", "stream", "message", "trace", "span"];
const values = (of: Record<string, number> | undefined) =>
  Object.entries(of ?? {})
    .map(([value, count]) => ({ value, count, bad: value === "error" }))
    .sort((a, b) => b.count - a.count || a.value.localeCompare(b.value));

interface Line extends LogLine {
  /** Unique in this page. */
  n: number;
}

const RANGES: [string, string, number][] = [
  ["15m", "15 min", 15 * 60_000],
  ["1h", "1 h", 3_600_000],
  ["6h", "6 h", 6 * 3_600_000],
  ["24h", "24 h", 24 * 3_600_000],
  ["all", "All", 0],
];
/** Lines kept in the page while it follows. */
const KEPT = 5000;
const CONTEXT_MS = 20_000;

interface Filter extends Record<string, string | number | string[] | undefined> {
  service: string[];
  level?: string;
  query?: string;
  trace?: string;
  since_ms?: number;
  until_ms?: number;
}

/** What the address asks for; `at` wins over a range, because it means «around this moment». */
function filterOf(words: URLSearchParams): { filter: Filter; live: boolean; at: number | null } {
  const filter: Filter = { service: words.getAll("service") };
  const [level, search, trace] = [words.get("level"), words.get("q"), words.get("trace")];
  if (trace) filter.trace = trace;
  if (level) filter.level = level;
  if (search) filter.query = search;
  const at = Number(words.get("at")) || null;
  const [from, to] = [Number(words.get("from")) || 0, Number(words.get("to")) || 0];
  if (at) {
    filter.since_ms = at - CONTEXT_MS;
    filter.until_ms = at + CONTEXT_MS;
  } else if (from && to) {
    filter.since_ms = from;
    filter.until_ms = to;
  } else {
    const range = RANGES.find(([key]) => key === (words.get("range") ?? "1h"));
    if (range && range[2] > 0) filter.since_ms = Date.now() - range[2];
  }
  return { filter, live: !at && !(from && to) && words.get("live") !== "0", at };
}

export function Logs() {
  const words = query.value;
  const key = words.toString();
  const { filter, live, at } = useMemo(() => filterOf(words), [key]);
  const lines = useSignal<Line[]>([]);
  const error = useSignal<unknown>(null);
  const loading = useSignal(true);
  const away = useSignal(false);
  const missed = useSignal(0);
  const chosen = useSignal<Line | null>(null);
  const next = useRef(0);

  useEffect(() => {
    lines.value = [];
    error.value = null;
    loading.value = true;
    chosen.value = null;
    missed.value = 0;
    const number = (line: LogLine): Line => ({ ...line, n: next.current++ });
    if (!live) {
      const stop = new AbortController();
      ask<LogLine>("/logs", { ...filter, tail: 2000 }, stop.signal).then(
        (found) => {
          loading.value = false;
          lines.value = found.map(number);
          if (at) chosen.value = lines.value.find((line) => line.at_ms === at) ?? null;
        },
        (e: unknown) => {
          if (stop.signal.aborted) return;
          loading.value = false;
          error.value = e;
        },
      );
      return () => stop.abort();
    }
    // One stream gives what was and what comes, so that nothing falls between the two.
    const source = new EventSource(address("/logs", { ...filter, tail: 1000, follow: 1 }));
    let waiting: Line[] = [];
    let fresh = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const flush = () => {
      timer = undefined;
      const all = fresh ? waiting : [...lines.value, ...waiting];
      if (!fresh && away.value) missed.value += waiting.length;
      fresh = false;
      waiting = [];
      lines.value = all.slice(-KEPT);
      loading.value = false;
    };
    source.onopen = () => {
      fresh = true;
      waiting = [];
      error.value = null;
      timer ??= setTimeout(flush, 60);
    };
    source.onmessage = (message: MessageEvent<string>) => {
      waiting.push(number(JSON.parse(message.data) as LogLine));
      timer ??= setTimeout(flush, 60);
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) error.value = new Error("the stream of logs was refused; is the filter right?");
    };
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, [key]);

  const { state: summary } = useAsked<LogSummary>(
    (signal) => get("/logs/summary", { ...filter, buckets: 90 }, signal),
    key,
    live ? 5000 : undefined,
  );
  const picked = words.getAll("service");
  const all = summary.value.data;
  const asked = words.get("q") ?? "";
  const wrong = summary.value.error ?? error.value;
  return (
    <div class="logs-page">
      <Page
        title="Logs"
        lead={all ? `${all.truncated ? "more than " : ""}${plural(all.total, "line")}${at ? " around this moment" : ""}` : " "}
        actions={
          <A class={`chip live ${live ? "on" : ""}`} href={live ? withQuery({ live: "0" }) : withQuery({ live: null, at: null, from: null, to: null })} aria-current={live ? "true" : undefined}>
            {live ? "Live" : "Go live"}
          </A>
        }
      >
        <div class="tools">
          <Question placeholder="level>=warn service:orders “card declined”" keys={KEYS} />
          <div class="chips" role="group" aria-label="level">
            {["warn", "error"].map((level) => {
              const one = `level>=${level}`;
              const on = asked.includes(one);
              return (
                <A key={level} class="chip" href={withQuery({ q: replaced(asked, "level", on ? [] : [one]), level: null })} aria-current={on ? "true" : undefined}>
                  {level === "error" ? "errors" : "warnings"}
                </A>
              );
            })}
          </div>
          <div class="chips" role="group" aria-label="range">
            {RANGES.map(([range, label]) => (
              <A key={range} class="chip" href={withQuery({ range: range === "1h" ? null : range, from: null, to: null, at: null })} aria-current={!words.get("from") && !at && (words.get("range") ?? "1h") === range ? "true" : undefined}>
                {label}
              </A>
            ))}
            {picked.map((name) => (
              <A key={name} class="chip" href={withQuery({ service: picked.filter((p) => p !== name) })} aria-current="true">
                {name} ✕
              </A>
            ))}
            {words.get("trace") && (
              <A class="chip" href={withQuery({ trace: null })} aria-current="true">
                one trace ✕
              </A>
            )}
            {(words.get("from") || at) && (
              <A class="chip" href={withQuery({ from: null, to: null, at: null })} aria-current="true">
                chosen span ✕
              </A>
            )}
          </div>
        </div>
        {all && all.total > 0 && <Histogram summary={all} />}
        <div class="logs-body">
          <details class="facets" open={innerWidth > 900}>
            <summary>Narrow down</summary>
            <Facet title="Level" of="level" choices={values(all?.levels).filter((c) => c.value !== "none")} />
            <Facet title="Service" of="service" hue choices={values(all?.services)} most={14} />
            <Facet title="Instance" of="instance" choices={values(all?.instances)} most={5} />
          </details>
          <div class="logs-lines">
            {wrong !== null && wrong !== undefined && <Wrong error={wrong} />}
            {lines.value.length === 0 && !loading.value && !wrong ? (
              <Empty title="No line matches">
                {words.get("q") || words.get("level") || picked.length > 0 ? (
                  <>Look <A href="/logs?range=all">at everything</A>, or for other words: they are whole words of messages and fields, and <code>declin*</code> takes any ending. The same language finds <A href={`/traces?q=${encodeURIComponent(asked)}`}>spans</A>.</>
                ) : (
                  <>What services write to standard output and error stands here, without any library. Lines of JSON and logfmt are taken apart, stack traces are kept together.</>
                )}
              </Empty>
            ) : (
              <Rows
                items={lines.value}
                rowHeight={innerWidth < 700 ? 42 : 22}
                label="log lines"
                follow={!away.value && !at}
                onAway={(far) => {
                  if (away.value !== far) away.value = far;
                  if (!far) missed.value = 0;
                }}
                keyOf={(line) => line.n}
                row={(line) => (
                  <button type="button" class={`log-row ${chosen.value?.n === line.n ? "chosen" : ""}`} onClick={() => (chosen.value = chosen.value?.n === line.n ? null : line)}>
                    <LogText line={line} />
                  </button>
                )}
              />
            )}
            {away.value && live && missed.value > 0 && (
              <button type="button" class="newer primary" onClick={() => (away.value = false)}>
                {plural(missed.value, "new line")} ↓
              </button>
            )}
          </div>
          {chosen.value && <Detail line={chosen.value} close={() => (chosen.value = null)} />}
        </div>
      </Page>
    </div>
  );
}

function Histogram({ summary }: { summary: LogSummary }) {
  const drag = useSignal<[number, number] | null>(null);
  const width = summary.buckets.length;
  const top = Math.max(...summary.buckets.map((b) => b.error + b.warn + b.other), 1);
  const end = summary.from_ms + width * summary.bucket_ms;
  const place = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return Math.min(Math.max(((event.clientX - box.left) / box.width) * width, 0), width);
  };
  const timeOf = (x: number) => Math.round(summary.from_ms + x * summary.bucket_ms);
  const done = () => {
    const span = drag.value;
    drag.value = null;
    if (!span) return;
    const [a, b] = span[0] < span[1] ? span : [span[1], span[0]];
    const [from, to] = b - a < 0.5 ? [Math.floor(a), Math.floor(a) + 1] : [a, b];
    go(withQuery({ from: String(timeOf(from)), to: String(timeOf(to)), at: null }));
  };
  return (
    <figure class="histogram">
      <svg
        viewBox={`0 0 ${width} 40`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`lines over time, at most ${count(top)} in one bar; drag to choose a span`}
        onPointerDown={(e) => (drag.value = [place(e), place(e)])}
        onPointerMove={(e) => drag.value && (drag.value = [drag.value[0], place(e)])}
        onPointerUp={done}
        onPointerLeave={() => (drag.value = null)}
      >
        {summary.buckets.map((b, i) => {
          const scale = (n: number) => (n / top) * 39;
          const [e, w, o] = [scale(b.error), scale(b.warn), scale(b.other)];
          return (
            <g key={i}>
              <rect class="h-other" x={i + 0.1} width="0.8" y={40 - e - w - o} height={o} />
              <rect class="h-warn" x={i + 0.1} width="0.8" y={40 - e - w} height={w} />
              <rect class="h-error" x={i + 0.1} width="0.8" y={40 - e} height={e} />
            </g>
          );
        })}
        {drag.value && <rect class="h-drag" x={Math.min(...drag.value)} width={Math.abs(drag.value[1] - drag.value[0])} y="0" height="40" />}
      </svg>
      <figcaption>
        <Time at={summary.from_ms} date />
        <span class="legend-inline">
          <i class="h-error" /> {short(summary.levels.error ?? 0)} errors <i class="h-warn" /> {short(summary.levels.warn ?? 0)} warnings
        </span>
        <Time at={end} date />
      </figcaption>
    </figure>
  );
}

function Detail({ line, close }: { line: Line; close: () => void }) {
  return (
    <aside class="side log-detail" aria-label="one line">
      <button type="button" class="quiet close" aria-label="close" onClick={close}>
        ✕
      </button>
      <p class="dim">
        <Time at={line.at_ms} date /> · <A href={`/services/${line.service}`}>{line.instance}</A> · {line.stream}
        {line.level && ` · ${line.level}`}
      </p>
      <Json value={line.message} />
      {line.fields && (
        <dl class="facts">
          {Object.entries(line.fields).map(([name, value]) => (
            <>
              <dt>{name}</dt>
              <dd class="mono break">
                {typeof value === "string" && value.length >= 8 ? (
                  <A href={`/find/${encodeURIComponent(value)}`} title="all that is known of it">
                    {value}
                  </A>
                ) : (
                  JSON.stringify(value)
                )}
              </dd>
            </>
          ))}
        </dl>
      )}
      {line.trace_id && (
        <p>
          <span class="dim">trace</span> <A class="mono" href={`/traces/${line.trace_id}${line.span_id ? `?span=${line.span_id}` : ""}`}>{line.trace_id}</A>
        </p>
      )}
      <p class="links">
        <A href={`/logs?service=${line.instance}&at=${line.at_ms}`}>Lines around it</A>
        <A href={`/logs?at=${line.at_ms}`}>Everywhere at this moment</A>
        {line.trace_id && <A href={`/logs?range=all&live=0&q=${term("trace", line.trace_id)}`}>Lines of its trace</A>}
      </p>
    </aside>
  );
}
