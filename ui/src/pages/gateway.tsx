import type { Route, Shares, Tallies } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, count, ms, percent, plural, rate, short, span } from "../format.ts";
import { Empty, Failed, Figure, Page, Panel, ServiceLink, Spark } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { term } from "../terms.ts";
import { connections, graph, status, total, traffic } from "../state.ts";
import { sum, type Sum, type Tracked } from "../traffic.ts";

const CLASSES = ["no answer", "1xx", "2xx", "3xx", "4xx", "5xx"];

function Classes({ of }: { of: Sum }) {
  const all = of.by_class.reduce((a, b) => a + b, 0);
  if (all === 0) return <span class="dim">–</span>;
  let x = 0;
  const text = of.by_class.map((n, i) => (n > 0 ? `${CLASSES[i]}: ${count(n)}` : "")).filter(Boolean).join(", ");
  return (
    <svg class="classes" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={text}>
      <title>{text}</title>
      {of.by_class.map((n, i) => {
        const width = (n / all) * 100;
        const at = x;
        x += width;
        return n > 0 ? <rect key={i} class={`class-${i}`} x={at} width={Math.max(width, 1.5)} height="8" /> : null;
      })}
    </svg>
  );
}

/** More rows than this are not drawn again every two seconds. */
const MOST = 100;

export function Gateway() {
  const all = graph.value;
  const gateway = status.value?.gateway;
  if (!all) return null;
  if (!gateway) {
    return (
      <Page title="Gateway">
        <Empty title="There is no public entrance" code={'[gateway]\nlisten = "127.0.0.1:8080"\n\n[[gateway.routes]]\nmatch = "/**"\nto = "web"'}>
          With a gateway, requests from outside come in at one address, by declared routes, with retries and counters.
        </Empty>
      </Page>
    );
  }
  const outside = [...traffic.value.values()].filter((s) => s.kind === "outside");
  const byRoute = new Map<string | null, Tracked[]>();
  for (const s of outside) byRoute.set(s.route, [...(byRoute.get(s.route) ?? []), s]);
  const of = (route: Route): Tracked[] => byRoute.get(route.label) ?? [];
  const words = query.value.get("q") ?? "";
  const found = all.routes.filter((route) => `${route.method ?? ""} ${route.host ?? ""}${route.path} ${route.to}`.includes(words));
  const busy = (route: Route) => of(route).reduce((n, s) => n + s.rate, 0);
  const routes = found.length > MOST ? found.sort((a, b) => busy(b) - busy(a)).slice(0, MOST) : found;
  const lost = outside.filter((s) => s.callee === null);
  const whole = total.value.outside;
  const answered = [...traffic.value.values()].filter((s) => s.kind !== "archipel" && (s.refused > 0 || s.retries > 0 || s.broken > 0));
  return (
    <Page
      title="Gateway"
      lead={
        <>
          <a href={gateway.url} target="_blank" rel="noreferrer">
            {gateway.url.replace("http://", "")} ↗
          </a>
          {" · "}
          {all.hosts.length > 0 ? all.hosts.join(", ") : "every host"}
        </>
      }
    >
      {gateway.error && <Failed error={new Error(gateway.error)} />}
      <dl class="figures">
        <Figure label="Requests" value={rate(whole.rate)} note={`${short(whole.requests)} since start`} />
        <Figure label="Failing" value={whole.rate > 0 ? percent(whole.failing, whole.rate) : "–"} note={`${short(whole.by_class[5] ?? 0)} answers of 5xx since start`} tone={whole.failing > 0 ? "bad" : ""} />
        <Figure label="95% within" value={ms(whole.p95_ms)} note="slowest route, ten seconds" />
        <Figure label="Connections" value={count(connections.value)} note={plural(whole.inflight, "request in flight", "requests in flight")} />
        <Figure label="No route" value={short(sum(lost).requests)} note="since start, answered 404" />
        <Figure label="Sent" value={bytes(whole.bytes)} note="since start" />
      </dl>
      <Panel title="Routes" aside="the most specific wins">
        {all.routes.length > MOST && (
          <div class="tools inset">
            <input type="search" placeholder="Filter by path or service" aria-label="filter routes" data-search value={words} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
            {found.length > MOST && <span class="dim">the {MOST} busiest of {found.length}</span>}
          </div>
        )}
        {all.routes.length === 0 ? (
          <Empty title="No route" code={'[[gateway.routes]]\nmatch = "/**"\nto = "web"'} />
        ) : (
          <div class="scroll">
            <table class="tight">
              <thead>
                <tr>
                  <th>Route</th>
                  <th>To</th>
                  <th>Five minutes</th>
                  <th class="num">Rate</th>
                  <th class="num">Failing</th>
                  <th class="num">p50</th>
                  <th class="num">p95</th>
                  <th class="num">Requests</th>
                  <th>Answers</th>
                  <th>Limits</th>
                </tr>
              </thead>
              <tbody>
                {routes.map((route) => {
                  const s = sum(of(route));
                  return (
                    <tr key={route.label}>
                      <th scope="row" class="mono">
                        {route.method && <span class="method">{route.method}</span>}
                        {route.host}
                        {route.path}
                        {route.strip && <p class="why">without {route.strip}</p>}
                      </th>
                      <td>
                        {route.targets.length === 1 ? <ServiceLink name={route.targets[0] ?? ""} /> : route.to}
                      </td>
                      <td>
                        <Spark points={s.history} />
                      </td>
                      <Numbers s={s} />
                      <td>
                        <Classes of={s} />
                      </td>
                      <td class="dim">
                        {[route.timeout_ms && `${span(route.timeout_ms)}`, route.body_bytes_max && `body ${bytes(route.body_bytes_max)}`].filter(Boolean).join(", ")}
                      </td>
                    </tr>
                  );
                })}
                {sum(lost).requests > 0 && (
                  <tr>
                    <th scope="row">no route</th>
                    <td class="dim">404</td>
                    <td>
                      <Spark points={sum(lost).history} />
                    </td>
                    <Numbers s={sum(lost)} />
                    <td>
                      <Classes of={sum(lost)} />
                    </td>
                    <td />
                  </tr>
                )}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <Splits />
      <Reasons />
      <Panel title="Refusals, retries, broken answers" aside="since start">
        {answered.length === 0 ? (
          <Empty title="None">
            When no instance can answer, the gateway does it itself and says why: that is a refusal. Requests that may be repeated are tried again first.
          </Empty>
        ) : (
          <div class="scroll">
            <table class="tight">
              <thead>
                <tr>
                  <th>From</th>
                  <th>To</th>
                  <th>Route</th>
                  <th class="num">Refused</th>
                  <th class="num">Tried again</th>
                  <th class="num">Broken off</th>
                  <th class="num">Of</th>
                </tr>
              </thead>
              <tbody>
                {answered
                  .sort((a, b) => b.refused - a.refused)
                  .slice(0, 200)
                  .map((s) => (
                    <tr key={`${s.kind}${s.caller}${s.callee}${s.route}`}>
                      <th scope="row">{s.caller ?? "outside"}</th>
                      <td>{s.callee ? <ServiceLink name={s.callee} /> : <span class="dim">no route</span>}</td>
                      <td class="mono dim">{s.route ?? ""}</td>
                      <td class={`num ${s.refused > 0 ? "bad-text" : "dim"}`}>{count(s.refused)}</td>
                      <td class="num">{count(s.retries)}</td>
                      <td class="num">{count(s.broken)}</td>
                      <td class="num">{short(s.requests)}</td>
                    </tr>
                  ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </Page>
  );
}

/** Where more than one system answers: splits, the share of those that are not ours, copies. */
function Splits() {
  const { state } = useAsked<Shares>((signal) => get("/routes", {}, signal), "", 10_000);
  const all = state.value.data;
  const routes = (all?.routes ?? []).filter((r) => r.to.length > 1 || r.external > 0 || r.to.some((t) => t.external) || r.fallback || r.mirror || r.compare);
  if (!all || routes.length === 0) return null;
  return (
    <Panel title="More than one system" aside={all.external > 0 ? `${percent(all.external, all.requests)} of all requests still go elsewhere` : "since start"}>
      <div class="scroll">
        <table class="tight">
          <thead>
            <tr>
              <th>Route</th>
              <th>To</th>
              <th class="num">Requests</th>
              <th class="num">Not ours</th>
              <th class="num">Fell back</th>
              <th class="num">Answered differently</th>
            </tr>
          </thead>
          <tbody>
            {routes.slice(0, MOST).map((r) => (
              <tr key={r.route}>
                <th scope="row" class="mono">{r.route}</th>
                <td>
                  {r.to.map((t) => (
                    <div key={t.name}>
                      {t.external ? t.name : <ServiceLink name={t.name} />}
                      {t.share !== null && <span class="dim"> {t.share}% declared, {r.requests > 0 ? percent(t.requests, r.requests) : "none"} seen</span>}
                    </div>
                  ))}
                  {r.mirror && <div class="dim">copied to {r.mirror.to}, {short(r.mirror.done)}</div>}
                </td>
                <td class="num">{short(r.requests)}</td>
                <td class="num">{r.requests > 0 ? percent(r.external, r.requests) : "–"}</td>
                <td class="num">{r.fallback ? `${short(r.fallback.requests)} to ${r.fallback.to}` : <span class="dim">–</span>}</td>
                <td class={`num ${r.compare && r.compare.differing > 0 ? "bad-text" : ""}`}>{r.compare ? `${short(r.compare.differing)} of ${short(r.compare.done)} (${r.compare.to})` : <span class="dim">–</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** Why requests failed, by the spans of the last hour. */
function Reasons() {
  const { state } = useAsked<Tallies>(
    (signal) => get("/traces/by", { query: "archipel.hop:true error.type:*", since_ms: Date.now() - 3_600_000, by: ["error.type", "caller", "service"], limit: 50 }, signal),
    "",
    10_000,
  );
  const all = state.value.data?.rows ?? [];
  if (all.length === 0) return null;
  return (
    <Panel title="Why requests failed" aside="last hour">
      <div class="scroll">
        <table class="tight">
          <thead>
            <tr>
              <th>Reason</th>
              <th>From</th>
              <th>To</th>
              <th class="num">Requests</th>
              <th class="num">p95</th>
            </tr>
          </thead>
          <tbody>
            {all.map(({ values, count: n, p95_us }) => {
              const [reason = "", caller = "", service = ""] = values;
              const asked = [term("error.type", reason), term("caller", caller), term("service", service)].join(" ");
              return (
                <tr key={asked}>
                  <th scope="row">
                    <A href={`/traces?q=${encodeURIComponent(asked)}`}>{/^\d+$/.test(reason) ? `the service answered ${reason}` : reason.replace(/-/g, " ")}</A>
                  </th>
                  <td>{caller}</td>
                  <td>
                    <ServiceLink name={service} />
                  </td>
                  <td class="num">{count(n)}</td>
                  <td class="num">{ms(p95_us / 1000)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Numbers({ s }: { s: Sum }) {
  return (
    <>
      <td class="num">{rate(s.rate)}</td>
      <td class={`num ${s.failing > 0 ? "bad-text" : "dim"}`}>{s.rate > 0 ? percent(s.failing, s.rate) : "–"}</td>
      <td class="num">{ms(s.p50_ms)}</td>
      <td class="num">{ms(s.p95_ms)}</td>
      <td class="num">{short(s.requests)}</td>
    </>
  );
}
