import type { MetricLine, MetricLines, ReceivedMetric, ReceivedMetrics } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, ms, rate, short } from "../format.ts";
import { Empty, Failed, Panel } from "../parts.tsx";
import { type Line, Plot } from "../plot.tsx";
import { rangeOf } from "../range.tsx";
import { go, query, withQuery } from "../router.tsx";

/** Of a metric with very many series the page would be nothing but lines. */
const LINES_MAX = 12;

function shown(of: ReceivedMetric, line: string): (n: number) => string {
  if (line.endsWith(":rate")) return rate;
  if (of.unit === "s") return (n) => ms(n * 1000);
  if (of.unit === "ms") return ms;
  if (of.unit === "By") return (n) => bytes(Math.round(n));
  return (n) => short(Math.round(n * 100) / 100);
}

/** What tells the lines of one plot apart. */
function nameOf(line: MetricLine, services: number): string {
  const whose = line.instance || line.service;
  return line.labels ? (services > 1 ? `${whose} ${line.labels}` : line.labels) : whose;
}

/** What services send themselves: a list, and the chosen one over time. */
export function Received() {
  const words = query.value;
  const { state, again } = useAsked((signal) => get<ReceivedMetrics>("/metrics/received", {}, signal), "", 15_000);
  const all = state.value.data?.metrics;
  const chosen = all?.find((of) => of.metric === words.get("metric"));
  const choose = (metric: string) => go(withQuery({ metric: metric || null }));
  return (
    <Panel title="Sent by services">
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all && all.length === 0 && <Empty title="No service sends metrics">Any SDK of OpenTelemetry does so without settings: its address is in the environment of each service.</Empty>}
      {all && all.length > 0 && (
        <>
          <div class="tools">
            <label>
              Metric{" "}
              <select value={chosen?.metric ?? ""} onChange={(e) => choose(e.currentTarget.value)}>
                <option value="">choose one of {all.length}</option>
                {all.map((of) => (
                  <option key={of.metric} value={of.metric}>
                    {of.metric}
                  </option>
                ))}
              </select>
            </label>
            {chosen && (
              <span class="dim">
                {chosen.instrument}
                {chosen.unit && ` in ${chosen.unit}`}, {Object.keys(chosen.services).join(", ")}
                {chosen.description && `: ${chosen.description}`}
              </span>
            )}
          </div>
          {chosen && <Chosen of={chosen} />}
        </>
      )}
    </Panel>
  );
}

function Chosen({ of }: { of: ReceivedMetric }) {
  const words = query.value;
  const key = `${of.metric} ${words.get("range") ?? ""} ${words.get("from") ?? ""} ${words.get("to") ?? ""}`;
  const ask = (signal: AbortSignal) => {
    const { since_ms, until_ms } = rangeOf(words);
    return Promise.all(of.lines.map((metric) => get<MetricLines>("/metrics", { metric, since_ms, until_ms, points: 150 }, signal)));
  };
  const { state } = useAsked(ask, key, words.get("from") ? undefined : 10_000);
  const services = Object.keys(of.services).length;
  const plot = (found: MetricLines, at: number) => {
    const title = of.lines[at] ?? of.metric;
    const lines: Line[] = found.lines.slice(0, LINES_MAX).map((line, n) => ({ name: nameOf(line, services), hue: `hue-${n % 8}`, values: line.values }));
    const more = found.lines.length + found.left_out - lines.length;
    return <Plot key={title} title={title} note={more > 0 ? `the highest ${LINES_MAX}; ${more} more` : ""} show={shown(of, title)} since={found.since_ms} step={found.step_ms} lines={lines} />;
  };
  return (
    <>
      {state.value.error !== null && <Failed error={state.value.error} />}
      <div class="plots-grid">{state.value.data?.map(plot)}</div>
    </>
  );
}
