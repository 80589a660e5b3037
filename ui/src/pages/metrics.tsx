import type { MetricLine, MetricLines } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, ms, percent, rate, short } from "../format.ts";
import { growth } from "../growth.ts";
import { Empty, Failed, Figure, Page, Panel } from "../parts.tsx";
import { type Line, Plot } from "../plot.tsx";
import { Ranges, rangeOf } from "../range.tsx";
import { query } from "../router.tsx";
import { services } from "../state.ts";
import { hueOf } from "./log-line.tsx";
import { Received } from "./metrics-received.tsx";

const cores = (n: number) => (n < 0.095 ? `${(n * 100).toFixed(1)}%` : n < 1 ? `${Math.round(n * 100)}%` : `${n.toFixed(2)} cores`);
const whole = (n: number) => short(Math.round(n * 10) / 10);

const OF_SERVICES: [string, string, (n: number) => string, string][] = [
  ["requests", "Requests", rate, "into each service"],
  ["failing", "Failing", rate, "answers of 5xx, and broken ones"],
  ["p95", "95% answered within", ms, "slowest route or caller"],
];
const OF_INSTANCES: [string, string, (n: number) => string, string][] = [
  ["cpu", "Processor", cores, "of one core"],
  ["memory", "Memory", (n) => bytes(Math.round(n)), ""],
  ["files", "Open descriptors", whole, ""],
  ["threads", "Threads", whole, ""],
  ["restarts", "Restarts", whole, "since Archipel started"],
];

function useLines(words: URLSearchParams, of: { service?: string }) {
  const key = `${of.service ?? ""} ${words.get("range") ?? ""} ${words.get("from") ?? ""} ${words.get("to") ?? ""}`;
  const ask = (signal: AbortSignal) => {
    const { since_ms, until_ms } = rangeOf(words);
    return get<MetricLines>("/metrics", { since_ms, until_ms, ...of, points: 150 }, signal);
  };
  return useAsked(ask, key, words.get("from") ? undefined : 5000);
}

/** Instances of one service are added up where that means something. */
function byService(lines: MetricLine[], metric: string): Line[] {
  const found = new Map<string, (number | null)[]>();
  for (const line of lines.filter((l) => l.metric === metric)) {
    const sum = found.get(line.service);
    found.set(line.service, sum ? sum.map((v, i) => added(v, line.values[i] ?? null)) : line.values);
  }
  return [...found].map(([name, values]) => ({ name, hue: hueOf(name), values }));
}

const added = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : a + b);

export function Metrics() {
  const words = query.value;
  const { state, again } = useLines(words, {});
  const all = state.value.data;
  const host = (metric: string) => all?.lines.find((l) => l.metric === metric)?.values ?? [];
  const last = (metric: string) => [...host(metric)].reverse().find((v) => v !== null) ?? null;
  const [cpu, count, used, total, load] = ["host.cpu", "host.cores", "host.memory", "host.memory_total", "host.load"].map(last);
  const own = all?.lines.filter((l) => l.metric === "cpu").reduce((n, l) => n + ([...l.values].reverse().find((v) => v !== null) ?? 0), 0);
  return (
    <Page title="Metrics" lead="What processes take and what passes through them, every five seconds; drag over a plot to look closer">
      <div class="tools">
        <Ranges words={words} />
      </div>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all && all.lines.length === 0 && <Empty title="Nothing has been measured in this span of time">The first numbers come five seconds after the start. They are read from the kernel; programs need no library.</Empty>}
      {all && all.lines.length > 0 && (
        <>
          {typeof cpu === "number" && count && used && total ? (
            <dl class="figures">
              <Figure label="Host, processor" value={percent(cpu, count)} note={`of ${count} cores; services take ${cores(own ?? 0)}`} tone={cpu / count > 0.95 ? "bad" : ""} />
              <Figure label="Host, memory" value={percent(used, total)} note={`${bytes(Math.round(used))} of ${bytes(Math.round(total))}`} tone={used / total > 0.92 ? "bad" : ""} />
              <Figure label="Waiting to run" value={(load ?? 0).toFixed(1)} note="processes, over a minute" />
            </dl>
          ) : null}
          <Panel title="Services">
            <div class="plots-grid">
              {OF_SERVICES.map(([metric, title, show, note]) => (
                <Plot key={metric} title={title} note={note} show={show} since={all.since_ms} step={all.step_ms} lines={byService(all.lines, metric)} />
              ))}
              {OF_INSTANCES.slice(0, 3).map(([metric, title, show, note]) => (
                <Plot key={metric} title={title} note={note} show={show} since={all.since_ms} step={all.step_ms} lines={byService(all.lines, metric)} />
              ))}
            </div>
          </Panel>
          <Panel title="Host">
            <div class="plots-grid">
              <Plot title="Processor" note={`of ${count ?? "?"} cores`} show={cores} limit={count ?? null} since={all.since_ms} step={all.step_ms} lines={[{ name: "busy", hue: "hue-0", values: host("host.cpu") }]} />
              <Plot title="Memory" show={(n) => bytes(Math.round(n))} limit={total ?? null} since={all.since_ms} step={all.step_ms} lines={[{ name: "used", hue: "hue-5", values: host("host.memory") }]} />
              <Plot title="Load" show={(n) => n.toFixed(1)} since={all.since_ms} step={all.step_ms} lines={[{ name: "load", hue: "hue-3", values: host("host.load") }]} />
            </div>
          </Panel>
        </>
      )}
      <Received />
    </Page>
  );
}

/** The same of one service, a line for each instance. */
export function OverTime({ name }: { name: string }) {
  const words = query.value;
  const { state } = useLines(words, { service: name });
  const all = state.value.data;
  const service = services.value.get(name);
  const lines = (metric: string): Line[] =>
    (all?.lines ?? []).filter((l) => l.metric === metric).map((l, i) => ({ name: l.instance || name, hue: l.instance ? `hue-${i % 8}` : hueOf(name), values: l.values }));
  return (
    <Panel title="Over time" aside={<Ranges words={words} />}>
      {state.value.error !== null && <Failed error={state.value.error} />}
      {all && (
        <div class="plots-grid">
          {[...OF_SERVICES, ...OF_INSTANCES].map(([metric, title, show, note]) => {
            const of = lines(metric);
            if (of.length === 0) return null;
            const grows = metric === "memory" ? Math.max(...of.map((l) => growth(l.values, all.step_ms) ?? 0)) : 0;
            return <Plot key={metric} title={title} note={grows > 0 ? `only grows: ${bytes(Math.round(grows))} a minute` : note} show={show} limit={metric === "memory" ? (service?.memory_limit ?? null) : null} since={all.since_ms} step={all.step_ms} lines={of} />;
          })}
        </div>
      )}
    </Panel>
  );
}
