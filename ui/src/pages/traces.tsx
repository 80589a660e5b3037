import { useSignal } from "@preact/signals";
import type { Tallies, TraceHistogram, Traces as Found, TraceSummary } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { count, ms, plural, short } from "../format.ts";
import { heat, type Heat, written } from "../heat.ts";
import { Empty, Page, Time } from "../parts.tsx";
import { Facet, Question, Wrong } from "../question.tsx";
import { Ranges, rangeOf } from "../range.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { replaced } from "../terms.ts";
import { hueOf } from "./log-line.tsx";

export const SPAN_KEYS = ["service", "instance", "name", "kind", "status", "duration", "trace", "root", "caller", "route", "method", "path", "db.system.name", "messaging.destination.name"];
const FACETS: [string, string][] = [
  ["service", "Service"],
  ["status", "Status"],
  ["name", "Name"],
  ["kind", "Kind"],
];
const COLUMNS = 72;

export function Traces() {
  const words = query.value;
  const asked = words.get("q") ?? "";
  const sort = words.get("sort") === "duration" ? "duration" : "start";
  // Without a question whole requests are looked at, not each of their spans.
  const question = asked === "" ? "root:true" : asked;
  const key = words.toString();
  const moving = !words.get("from");
  const live = moving ? 10_000 : undefined;
  const window = () => {
    const { since_ms, until_ms } = rangeOf(words);
    return { since_ms, until_ms: until_ms ?? Date.now() };
  };
  const { state: list, again } = useAsked<Found>(
    (signal) => get("/traces", { query: question, ...window(), limit: 200, sort }, signal),
    key,
    sort === "start" ? live : undefined,
  );
  const { state: map } = useAsked<TraceHistogram>(
    (signal) => {
      const { since_ms, until_ms } = window();
      const step_ms = Math.max(1, Math.ceil((until_ms - since_ms) / COLUMNS));
      return get("/traces/histogram", { query: question, since_ms, until_ms, step_ms }, signal);
    },
    key,
    live,
  );
  const { state: facets } = useAsked<Tallies[]>(
    (signal) => Promise.all(FACETS.map(([by]) => get<Tallies>("/traces/by", { query: question, ...window(), by, limit: 200 }, signal))),
    key,
    live,
  );
  const found = list.value.data;
  const drawn = map.value.data ? heat(map.value.data) : null;
  const error = list.value.error ?? map.value.error;
  const cut = found?.cut_at_ms ?? map.value.data?.cut_at_ms;
  return (
    <Page
      title="Traces"
      lead={
        drawn ? (
          <>
            {plural(drawn.total, asked === "" ? "request" : "matching span")}, {drawn.failed > 0 ? <span class="bad-text">{plural(drawn.failed, "error")}</span> : "no error"}
          </>
        ) : (
          " "
        )
      }
    >
      <div class="tools">
        <Question placeholder="service:orders status:error duration>200ms “card declined”" keys={SPAN_KEYS} />
        <Ranges words={words} />
        <div class="chips" role="group" aria-label="quick questions">
          <A class="chip" href={withQuery({ q: replaced(asked, "status", asked.includes("status:error") ? [] : ["status:error"]) })} aria-current={asked.includes("status:error") ? "true" : undefined}>
            Errors
          </A>
          {["100ms", "1s"].map((least) => {
            const one = `duration>${least}`;
            const on = asked.includes(one);
            return (
              <A key={least} class="chip" href={withQuery({ q: replaced(asked, "duration", on ? [] : [one]) })} aria-current={on ? "true" : undefined}>
                &gt; {least.replace(/(\d)([a-z])/, "$1 $2")}
              </A>
            );
          })}
        </div>
      </div>
      {error !== null && error !== undefined && <Wrong error={error} again={again} />}
      {cut && (
        <p class="note">
          This was too much to look at in the time there is. It is complete back to <Time at={cut} date />; ask for a shorter span of time.
        </p>
      )}
      {drawn && drawn.total > 0 && map.value.data && <HeatMap of={drawn} histogram={map.value.data} asked={asked} />}
      <div class="with-facets">
        <details class="facets" open={innerWidth > 900}>
          <summary>Narrow down</summary>
          {facets.value.data?.map((tallies, i) => (
            <Facet
              key={FACETS[i]![0]}
              title={FACETS[i]![1]}
              of={FACETS[i]![0]}
              hue={FACETS[i]![0] === "service"}
              choices={tallies.rows.map((row) => ({ value: row.values[0] ?? "", count: row.count, bad: FACETS[i]![0] === "status" && row.errors > 0 }))}
            />
          ))}
        </details>
        <div class="stack">
          {found && found.traces.length > 0 && <List traces={found.traces} sort={sort} />}
          {found && found.traces.length === 0 && <Nothing asked={asked} />}
          {!found && !error && <p class="dim opening">Looking…</p>}
        </div>
      </div>
    </Page>
  );
}

function Nothing({ asked }: { asked: string }) {
  if (asked !== "") {
    return (
      <Empty title="No span matches">
        Terms side by side must all hold; words are whole words, <code>declin*</code> takes any ending. Try <A href={withQuery({ range: "7d" })}>seven days</A>, or{" "}
        <A href="/traces">no question at all</A>.
      </Empty>
    );
  }
  return (
    <Empty title="Nothing passed in this span of time" code="curl http://127.0.0.1:8080/">
      Every request through the gateway and between services becomes a span, without any library. Services that use an SDK of OpenTelemetry add theirs: the address is in their environment.{" "}
      <A href={withQuery({ range: "7d" })}>Look at seven days</A>
    </Empty>
  );
}

function List({ traces, sort }: { traces: TraceSummary[]; sort: string }) {
  const slowest = Math.max(...traces.map((t) => t.duration_us), 1);
  const compared = query.value.get("a");
  const head = (by: string, label: string) => (
    <A href={withQuery({ sort: by === "start" ? null : by })} class={sort === by ? "sorted" : ""}>
      {label}
    </A>
  );
  return (
    <div class="scroll">
      {compared && (
        <p class="note">
          Choose the trace to compare with <span class="mono">{compared.slice(0, 8)}</span>. <A href={withQuery({ a: null })}>Leave it</A>
        </p>
      )}
      <table class="list traces">
        <thead>
          <tr>
            <th aria-sort={sort === "start" ? "descending" : "none"}>{head("start", "Start")}</th>
            <th>Request</th>
            <th class="num" aria-sort={sort === "duration" ? "descending" : "none"}>
              {head("duration", "Duration")}
            </th>
            <th class="wide-only">Of the slowest</th>
            <th class="num">Spans</th>
            <th>Services</th>
          </tr>
        </thead>
        <tbody>
          {traces.map((t) => (
            <tr key={t.trace_id}>
              <td class="dim">
                <Time at={t.start_us / 1000} />
              </td>
              <th scope="row">
                <A class="row-link" href={compared && compared !== t.trace_id ? `/traces/${compared}?vs=${t.trace_id}` : `/traces/${t.trace_id}`}>
                  <span class={`who ${hueOf(t.service)}`}>{t.service || "?"}</span> {t.path ? `${t.name.split(" ")[0]} ${t.path}` : t.name}
                </A>
                {t.errors > 0 && <span class="tag bad-text">{plural(t.errors, "error")}</span>}
              </th>
              <td class="num">{ms(t.duration_us / 1000)}</td>
              <td class="wide-only">
                <svg class="share" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                  <rect class={t.errors > 0 ? "bad" : "fill"} width={Math.max((t.duration_us / slowest) * 100, 0.7)} height="6" rx="1" />
                </svg>
              </td>
              <td class="num">{count(t.spans)}</td>
              <td class="services-of">
                {Object.entries(t.services)
                  .sort((a, b) => b[1] - a[1])
                  .slice(0, 4)
                  .map(([name, spans]) => (
                    <span key={name} class={`dot ${hueOf(name)}`} title={`${name}: ${plural(spans, "span")}`}>
                      {name}
                    </span>
                  ))}
                {Object.keys(t.services).length > 4 && <span class="dim">+{Object.keys(t.services).length - 4}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {traces.length >= 200 && <p class="more">The {sort === "start" ? "newest" : "slowest"} 200. A narrower question shows others.</p>}
    </div>
  );
}

const CELL = { width: 10, height: 8 };

/** A click on a cell asks for what lies in it; a drag for a field of cells. */
function HeatMap({ of, histogram, asked }: { of: Heat; histogram: TraceHistogram; asked: string }) {
  const drag = useSignal<[number, number, number, number] | null>(null);
  const over = useSignal<{ column: number; row: number } | null>(null);
  const rows = of.bounds.length;
  const [width, height] = [of.columns * CELL.width, rows * CELL.height];
  const begin = Math.floor(histogram.since_ms / histogram.step_ms) * histogram.step_ms;
  const place = (event: PointerEvent): [number, number] => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * of.columns);
    const row = rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * rows);
    return [Math.min(Math.max(column, 0), of.columns - 1), Math.min(Math.max(row, 0), rows - 1)];
  };
  const timeOf = (column: number) => begin + column * histogram.step_ms;
  const lower = (row: number) => (of.bounds[row] ?? 0) / Math.SQRT2;
  const choose = () => {
    const field = drag.value;
    drag.value = null;
    if (!field) return;
    const [c1, c2] = [Math.min(field[0], field[2]), Math.max(field[0], field[2])];
    const [r1, r2] = [Math.min(field[1], field[3]), Math.max(field[1], field[3])];
    const limits: string[] = [];
    if (r1 > 0) limits.push(`duration>=${written(lower(r1))}`);
    if (r2 < rows - 1) limits.push(`duration<${written(of.bounds[r2]!)}`);
    // The question that is asked when there is none goes with it.
    const q = replaced(asked === "" ? "root:true" : asked, "duration", limits);
    go(withQuery({ from: String(timeOf(c1)), to: String(timeOf(c2 + 1)), q, at: null }));
  };
  const hit = over.value && of.cells.find((c) => c.column === over.value!.column && c.row === over.value!.row);
  const field = drag.value;
  const failing = Math.max(...of.errors, 1);
  // Labels at every second row or less.
  const every = Math.max(1, Math.ceil(rows / 6));
  return (
    <figure class="heat">
      <div class="heat-body">
        <div class="heat-scale" aria-hidden="true">
          {of.bounds.map((upper, row) => (row % every === 0 ? <span key={row} style={{ bottom: `${((row + 1) / rows) * 100}%` }}>{ms(upper / 1000)}</span> : null))}
        </div>
        <svg
          viewBox={`0 0 ${width} ${height}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`how long ${count(of.total)} spans took over time; choose cells to see what lies in them`}
          onPointerDown={(e) => {
            const [column, row] = place(e);
            drag.value = [column, row, column, row];
            e.currentTarget.setPointerCapture(e.pointerId);
          }}
          onPointerMove={(e) => {
            const [column, row] = place(e);
            over.value = { column, row };
            if (drag.value) drag.value = [drag.value[0], drag.value[1], column, row];
          }}
          onPointerUp={choose}
          onPointerLeave={() => (over.value = null)}
          onPointerCancel={() => (drag.value = null)}
        >
          {of.cells.map((c) => (
            <rect
              key={`${c.column} ${c.row}`}
              class={`heat-${1 + Math.floor((Math.log1p(c.count) / Math.log1p(of.most)) * 5.99)}`}
              x={c.column * CELL.width + 0.5}
              y={(rows - 1 - c.row) * CELL.height + 0.5}
              width={CELL.width - 1}
              height={CELL.height - 1}
            />
          ))}
          {field && (
            <rect
              class="heat-drag"
              x={Math.min(field[0], field[2]) * CELL.width}
              y={(rows - 1 - Math.max(field[1], field[3])) * CELL.height}
              width={(Math.abs(field[2] - field[0]) + 1) * CELL.width}
              height={(Math.abs(field[3] - field[1]) + 1) * CELL.height}
            />
          )}
        </svg>
        <svg class="heat-errors" viewBox={`0 0 ${width} 10`} preserveAspectRatio="none" role="img" aria-label={`${count(of.failed)} errors over time`}>
          {of.errors.map((n, column) => (n > 0 ? <rect key={column} x={column * CELL.width + 0.5} width={CELL.width - 1} y={10 - 2 - (n / failing) * 8} height={2 + (n / failing) * 8} /> : null))}
        </svg>
      </div>
      <figcaption>
        <Time at={begin} date />
        <span>
          {hit && over.value ? (
            <>
              <Time at={timeOf(over.value.column)} /> · {ms(lower(over.value.row) / 1000)} to {ms(of.bounds[over.value.row]! / 1000)} · {short(hit.count)}
            </>
          ) : (
            "Choose cells to see what lies in them"
          )}
        </span>
        <Time at={begin + of.columns * histogram.step_ms} date />
      </figcaption>
    </figure>
  );
}
