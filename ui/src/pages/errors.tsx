import type { ErrorGroup, Errors as All } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, count, plural, short } from "../format.ts";
import { Empty, Failed, Figure, Json, Page, Panel, ServiceLink, Time } from "../parts.tsx";
import { Ranges, rangeOf } from "../range.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { now } from "../state.ts";
import { term } from "../terms.ts";
import { hueOf } from "./log-line.tsx";

const STEP = 30 * 60_000;

/** The last day by half hours. */
function Day({ of }: { of: ErrorGroup }) {
  const end = Math.floor(now.value / STEP);
  const counts = new Map(of.steps.map(([at, n]) => [Math.floor(at / STEP), n]));
  const top = Math.max(...counts.values(), 1);
  return (
    <svg class="day" viewBox="0 0 96 20" preserveAspectRatio="none" role="img" aria-label={`${count([...counts.values()].reduce((a, b) => a + b, 0))} in the last day`}>
      <path class="ground" d="M0 19.5H96" />
      {Array.from({ length: 48 }, (_, i) => {
        const n = counts.get(end - 47 + i) ?? 0;
        return n > 0 ? <rect key={i} x={i * 2 + 0.2} width="1.6" y={20 - 2 - (n / top) * 18} height={2 + (n / top) * 18} /> : null;
      })}
    </svg>
  );
}

export function Errors() {
  const words = query.value;
  const service = words.get("service") ?? undefined;
  const { state, again } = useAsked<All>((signal) => get("/errors", { since_ms: rangeOf(words, "24h").since_ms, service }, signal), words.toString(), 5000);
  const all = state.value.data;
  const text = (words.get("q") ?? "").toLowerCase();
  const shown = (all?.errors ?? []).filter((e) => `${e.service} ${e.title} ${e.place}`.toLowerCase().includes(text));
  const sorted = words.get("sort") === "count" ? [...shown].sort((a, b) => b.count - a.count) : words.get("sort") === "first" ? [...shown].sort((a, b) => b.first_ms - a.first_ms) : shown;
  const fresh = shown.filter((e) => now.value - e.first_ms < 3_600_000).length;
  return (
    <Page title="Errors" lead={all ? `${plural(shown.length, "kind")} of error${fresh > 0 ? `, ${fresh} new in the last hour` : ""}` : " "}>
      <div class="tools">
        <input type="search" placeholder="Filter" aria-label="filter" data-search value={words.get("q") ?? ""} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
        <Ranges words={words} standard="24h" />
        {service && (
          <A class="chip" href={withQuery({ service: null })} aria-current="true">
            {service} ✕
          </A>
        )}
      </div>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all && shown.length === 0 ? (
        <Empty title={all.total === 0 ? "No error" : "No error matches"}>
          Spans that failed and lines of level error are grouped here by what they are and where they came from, whatever numbers are in them. Stack traces of Python, Java, Go, Node and Rust are known.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Error</th>
                <th>Last day</th>
                <th class="num" aria-sort={words.get("sort") === "count" ? "descending" : "none"}>
                  <A href={withQuery({ sort: "count" })} class={words.get("sort") === "count" ? "sorted" : ""}>Count</A>
                </th>
                <th aria-sort={!words.get("sort") ? "descending" : "none"}>
                  <A href={withQuery({ sort: null })} class={!words.get("sort") ? "sorted" : ""}>Last</A>
                </th>
                <th aria-sort={words.get("sort") === "first" ? "descending" : "none"}>
                  <A href={withQuery({ sort: "first" })} class={words.get("sort") === "first" ? "sorted" : ""}>First</A>
                </th>
              </tr>
            </thead>
            <tbody>
              {sorted.slice(0, 300).map((e) => (
                <tr key={e.id}>
                  <th scope="row" class="error-title">
                    <span class={`who ${hueOf(e.service)}`}>{e.service}</span>{" "}
                    <A class="row-link" href={`/errors/${e.id}`}>
                      {e.title}
                    </A>
                    {now.value - e.first_ms < 3_600_000 && <span class="tag">new</span>}
                    {e.place && <p class="why">{e.place}</p>}
                  </th>
                  <td>
                    <Day of={e} />
                  </td>
                  <td class="num">{short(e.count)}</td>
                  <td>{ago(e.last_ms, now.value)}</td>
                  <td class="dim">{ago(e.first_ms, now.value)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Page>
  );
}

export function ErrorPage({ id }: { id: string }) {
  const { state, again } = useAsked<ErrorGroup>((signal) => get(`/errors/${encodeURIComponent(id)}`, {}, signal), id, 5000);
  const e = state.value.data;
  if (!e) {
    return (
      <Page title="Error">
        {state.value.error !== null ? <Failed error={state.value.error} again={again} /> : <p class="dim opening">Opening…</p>}
      </Page>
    );
  }
  const around = `from=${e.last_ms - 30_000}&to=${e.last_ms + 30_000}`;
  return (
    <Page title={e.title} lead={<><ServiceLink name={e.service} />{e.place && <> · <code>{e.place}</code></>}</>}>
      <dl class="figures">
        <Figure label="Count" value={count(e.count)} note={<Day of={e} />} />
        <Figure label="Last seen" value={ago(e.last_ms, now.value)} note={<Time at={e.last_ms} date />} />
        <Figure label="First seen" value={ago(e.first_ms, now.value)} note={<Time at={e.first_ms} date />} />
        <Figure label="Instances" value={e.instances.length} note={e.instances.join(", ")} />
        <Figure label="Releases" value={e.releases.length || "–"} note={e.releases.join(", ") || "no service.version is told"} />
      </dl>
      <Panel title="The latest one">
        <div class="example">
          <Json value={e.example} />
          <p class="links">
            {e.trace_id && (
              <A class="button" href={`/traces/${e.trace_id}${e.span_id ? `?span=${e.span_id}` : ""}`}>
                Its trace
              </A>
            )}
            <A class="button" href={`/logs?${around}&service=${e.service}`}>
              Lines around it
            </A>
            {e.source === "span" ? (
              <A class="button" href={`/traces?range=24h&q=${encodeURIComponent(`${term("service", e.service)} status:error`)}`}>
                Failed spans of {e.service}
              </A>
            ) : (
              <A class="button" href={`/logs?range=24h&q=${encodeURIComponent(`${term("service", e.service)} level:error`)}`}>
                Error lines of {e.service}
              </A>
            )}
          </p>
        </div>
      </Panel>
    </Page>
  );
}
