import { useSignal } from "@preact/signals";
import type { Alert, AlertEvent, Alerts as All, Check, Checks, Silence, Slo } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, count, ms, plural, span } from "../format.ts";
import { Empty, Failed, Figure, Glyph, Page, Panel, Sure, Time } from "../parts.tsx";
import { A, query, withQuery } from "../router.tsx";
import { message, now, tell } from "../state.ts";
import { firedIn, labelled } from "../fired.ts";

const STEP = 30 * 60_000;
const STEPS = 48;

/** The last day by half hours: when a rule fired. */
function Day({ history, firing }: { history: AlertEvent[]; firing: boolean }) {
  const end = Math.ceil(now.value / STEP) * STEP;
  const steps = firedIn(history, firing, end - STEPS * STEP, STEP, STEPS);
  const many = steps.filter(Boolean).length;
  return (
    <svg class="day" viewBox="0 0 96 20" preserveAspectRatio="none" role="img" aria-label={many > 0 ? `fired in ${plural(many, "half hour")} of the last day` : "did not fire in the last day"}>
      <path class="ground" d="M0 19.5H96" />
      {steps.map((fired, i) => (fired ? <rect key={i} x={i * 2 + 0.2} width="1.6" y="2" height="18" /> : null))}
    </svg>
  );
}

/** One bar a run, as high as it took. */
function Runs({ check }: { check: Check }) {
  const runs = check.runs.slice(-60);
  const slowest = Math.max(...runs.map((run) => run.took_ms), 1);
  const bad = runs.filter((run) => !run.ok).length;
  return (
    <svg class="runs" viewBox="0 0 120 20" preserveAspectRatio="none" role="img" aria-label={`${plural(runs.length, "run")}, ${bad} failed`}>
      {runs.map((run, i) => (
        <rect key={run.at_ms} class={run.ok ? "ok" : "bad"} x={(60 - runs.length + i) * 2 + 0.2} width="1.6" y={run.ok ? 18 - (run.took_ms / slowest) * 14 : 0} height="20">
          <title>{run.problem ?? `${run.took_ms} ms`}</title>
        </rect>
      ))}
    </svg>
  );
}

function SilenceIt({ alert, done }: { alert: Alert; done: () => void }) {
  const open = useSignal(false);
  const reason = useSignal("");
  const silence = async (hours: number) => {
    try {
      await post("/alerts/silences", { rule: alert.rule, labels: alert.labels, for_ms: hours * 3_600_000, reason: reason.value });
      tell(true, `${alert.rule} is silent for ${plural(hours, "hour")}`);
      open.value = false;
    } catch (error) {
      tell(false, message(error));
    }
    done();
  };
  if (!open.value) {
    return (
      <button type="button" onClick={() => (open.value = true)}>
        Silence…
      </button>
    );
  }
  return (
    <span class="sure" role="group" aria-label={`silence ${alert.rule}`} onKeyDown={(e) => e.key === "Escape" && (open.value = false)}>
      <input type="text" placeholder="Why" aria-label="reason" value={reason.value} onInput={(e) => (reason.value = e.currentTarget.value)} />
      {[1, 4, 24].map((hours) => (
        <button key={hours} type="button" onClick={() => void silence(hours)}>
          {hours} h
        </button>
      ))}
      <button type="button" onClick={() => (open.value = false)}>
        Cancel
      </button>
    </span>
  );
}

function Firing({ all, again }: { all: All; again: () => void }) {
  if (all.alerts.length === 0) {
    return (
      <div class="calm">
        <Glyph state="ready" />
        <p>Nothing fires.{all.quiet_until_ms ? " Something was started or changed just now: for a minute nothing new fires." : ""}</p>
      </div>
    );
  }
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
      <table class="list">
        <thead>
          <tr>
            <th>Alert</th>
            <th>What</th>
            <th>Since</th>
            <th>Told</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {all.alerts.map((alert) => {
            const quiet = alert.silence !== null || alert.explained !== null || alert.state !== "firing";
            return (
              <tr key={alert.rule + labelled(alert.labels)}>
                <th scope="row">
                  <Glyph state={quiet ? "waiting" : "failed"} />{" "}
                  <A class="row-link" href={alert.link}>
                    {alert.rule}
                  </A>{" "}
                  <span class="tag">{alert.state === "firing" ? alert.severity : alert.state}</span>
                  <p class="why">{labelled(alert.labels)}</p>
                </th>
                <td>
                  {alert.summary}
                  {alert.explained && <p class="why">Nobody is told: {alert.explained}</p>}
                  {alert.silence && <p class="why">Silenced by {alert.silence}</p>}
                  {alert.description && <p class="why">{alert.description}</p>}
                </td>
                <td>{ago(alert.since_ms, now.value)}</td>
                <td>{alert.told.join(", ") || <span class="dim">nobody</span>}</td>
                <td class="num">{alert.silence === null && <SilenceIt alert={alert} done={again} />}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Slos({ slos }: { slos: Slo[] }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
      <table class="tight">
        <thead>
          <tr>
            <th>Objective</th>
            <th class="num">Target</th>
            <th class="num">Requests</th>
            <th class="num">Bad</th>
            <th class="num">Budget left</th>
            <th>Burn, last day</th>
          </tr>
        </thead>
        <tbody>
          {slos.map((slo) => (
            <tr key={slo.name}>
              <th scope="row">
                <A class="row-link" href={`/traces?range=24h&q=${encodeURIComponent(`${slo.on} -(${slo.good})`)}`}>
                  {slo.name}
                </A>
                <p class="why mono">{slo.good}</p>
              </th>
              <td class="num">{+(slo.target * 100).toFixed(3)}%</td>
              <td class="num">{count(slo.requests)}</td>
              <td class="num">{count(slo.bad)}</td>
              <td class={`num ${slo.budget_left < 0 ? "bad-text" : ""}`}>{(slo.budget_left * 100).toFixed(1)}%</td>
              <td>
                <svg class="runs" viewBox="0 0 72 20" preserveAspectRatio="none" role="img" aria-label={`burnt at most ${Math.max(...slo.burn, 0).toFixed(1)} times what is allowed`}>
                  {slo.burn.map((burn, i) => (
                    <rect key={i} class={burn > 1 ? "bad" : "ok"} x={i * 3 + 0.3} width="2.4" y={20 - Math.min(Math.max(burn * 5, 0.5), 20)} height="20">
                      <title>{burn.toFixed(1)} times</title>
                    </rect>
                  ))}
                </svg>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Silences({ silences, again }: { silences: Silence[]; again: () => void }) {
  const end = async (id: string) => {
    try {
      await post(`/alerts/silences/${encodeURIComponent(id)}/end`, {});
    } catch (error) {
      tell(false, message(error));
    }
    again();
  };
  return (
    <ul class="silences">
      {silences.map((silence) => (
        <li key={silence.id}>
          <span>
            <strong>{silence.rule ?? "every rule"}</strong> {labelled(silence.labels)} {silence.reason && <>· {silence.reason}</>}
            <p class="why">
              {silence.id}, until <Time at={silence.until_ms} date />
            </p>
          </span>
          <Sure label="End" ask="Send messages again?" yes="End it" act={() => void end(silence.id)} />
        </li>
      ))}
    </ul>
  );
}

function CheckRows({ checks }: { checks: Check[] }) {
  const chosen = query.value.get("check");
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
      <table class="list">
        <thead>
          <tr>
            <th>Check</th>
            <th>State</th>
            <th>Last runs</th>
            <th class="num">Took</th>
            <th class="num">Well</th>
            <th>Certificate</th>
          </tr>
        </thead>
        <tbody>
          {checks.map((check) => {
            const last = check.runs.at(-1);
            const well = check.runs.filter((run) => run.ok).length;
            return (
              <tr key={check.name} aria-current={chosen === check.name ? "true" : undefined}>
                <th scope="row">
                  <A class="row-link" href={withQuery({ check: check.name })}>
                    {check.name}
                  </A>
                  <p class="why">{check.steps.join(" → ")}</p>
                </th>
                <td>
                  <Glyph state={check.state === "ok" ? "ready" : check.state === "failing" ? "failed" : "pending"} /> {check.state}
                  {check.problem && <p class="why">{check.problem}</p>}
                </td>
                <td>
                  <Runs check={check} />
                </td>
                <td class="num">{last ? ms(last.took_ms) : "–"}</td>
                <td class="num">{check.runs.length > 0 ? `${Math.floor((well / check.runs.length) * 100)}%` : "–"}</td>
                <td>{check.certificate_ends_ms ? `${span(check.certificate_ends_ms - now.value)} left` : <span class="dim">–</span>}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function Alerts() {
  const { state, again } = useAsked<All>((signal) => get("/alerts", {}, signal), "", 3000);
  const { state: checked } = useAsked<Checks>((signal) => get("/checks", {}, signal), "", 3000);
  const all = state.value.data;
  const checks = checked.value.data?.checks ?? [];
  const failing = checks.filter((check) => check.state === "failing").length;
  const test = async (channel: string) => {
    try {
      await post(`/alerts/test/${encodeURIComponent(channel)}`, {});
      tell(true, `${channel} took it`);
    } catch (error) {
      tell(false, `${channel}: ${message(error)}`);
    }
  };
  return (
    <Page title="Alerts and checks" lead={all ? `${all.firing === 0 ? "nothing fires" : `${count(all.firing)} firing`}, ${plural(all.rules.length, "rule")}, ${plural(checks.length, "check")}` : " "}>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all?.problem && <Failed error={`The state of alerts cannot be saved: ${all.problem}`} />}
      {all && (
        <>
          <dl class="figures">
            <Figure label="Firing" value={count(all.firing)} tone={all.firing > 0 ? "bad" : ""} note={plural(all.alerts.length - all.firing, "more is pending, silenced or explained", "more are pending, silenced or explained")} />
            <Figure label="Checks failing" value={count(failing)} tone={failing > 0 ? "bad" : ""} note={`of ${checks.length}`} />
            <Figure label="Silences" value={count(all.silences.length)} />
            <Figure label="Channels" value={count(all.channels.length)} note={all.channels.some((c) => c.problem) ? "some are off" : "[notify]"} />
          </dl>
          <div class="stack">
            <Panel title="Now">
              <Firing all={all} again={again} />
            </Panel>
            {all.silences.length > 0 && (
              <Panel title="Silences">
                <Silences silences={all.silences} again={again} />
              </Panel>
            )}
            <Panel title="Checks from outside">
              {checks.length === 0 ? (
                <Empty title="Nothing is checked from outside" code={'[checks.home]\nurl = "/"\ncontains = "Welcome"\nmax_latency = "1s"'}>
                  A check asks as a visitor would, again and again: one request, a connection, or a walk in steps.
                </Empty>
              ) : (
                <CheckRows checks={checks} />
              )}
            </Panel>
            <Panel title="Objectives">
              {all.slos.length === 0 ? (
                <Empty title="No objective is declared" code={'[slos.orders]\non = "service:orders"\ngood = "status<500 duration<300ms"\ntarget = "99.9%"'}>
                  A promise about a share of requests over weeks. It is told when failures come so fast that it will not be kept.
                </Empty>
              ) : (
                <Slos slos={all.slos} />
              )}
            </Panel>
            <Panel title="Rules" aside={plural(all.rules.filter((r) => r.shipped).length, "ships with Archipel", "ship with Archipel")}>
              <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
                <table class="tight">
                  <thead>
                    <tr>
                      <th>Rule</th>
                      <th>When</th>
                      <th>Severity</th>
                      <th>Last day</th>
                      <th>Told</th>
                    </tr>
                  </thead>
                  <tbody>
                    {all.rules.map((rule) => (
                      <tr key={rule.name}>
                        <th scope="row">
                          {rule.firing > 0 && <Glyph state="failed" />} {rule.name}
                          {rule.problem && <p class="why bad-text">{rule.problem}</p>}
                          {rule.left_out > 0 && <p class="why">{count(rule.left_out)} more are not looked at</p>}
                        </th>
                        <td>
                          <code>{rule.when}</code>
                          {rule.description && <p class="why">{rule.description}</p>}
                        </td>
                        <td>{rule.severity}</td>
                        <td>
                          <Day history={all.history.filter((e) => e.rule === rule.name)} firing={rule.firing > 0} />
                        </td>
                        <td>{rule.notify === null ? "every channel" : rule.notify.join(", ") || "nobody"}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Panel>
            <div class="columns">
            <Panel title="History">
              {all.history.length === 0 ? (
                <p class="note">No alert has fired yet.</p>
              ) : (
                <ol class="past">
                  {all.history.slice(0, 30).map((event, i) => (
                    <li key={i}>
                      <Time at={event.at_ms} date /> <Glyph state={event.state === "firing" ? "failed" : "ready"} /> {event.state} <strong>{event.rule}</strong> {labelled(event.labels)}
                      <p class="why">{event.summary}</p>
                    </li>
                  ))}
                </ol>
              )}
            </Panel>
            <Panel title="Messages">
              {all.channels.length === 0 ? (
                <Empty title="Nobody is told" code={'[notify.ops]\nwebhook = "https://hooks.example.org/alerts"\nkey = { secret = "hook-key" }'}>
                  What fires is shown here and by <code>archipel alerts</code>. It is sent once [notify] names somebody: a webhook, Slack or mail.
                </Empty>
              ) : (
                <>
                  <ul class="silences">
                    {all.channels.map((channel) => (
                      <li key={channel.name}>
                        <span>
                          <strong>{channel.name}</strong> {channel.kind}
                          {channel.least === "page" ? ", pages only" : ""}
                          {channel.problem && <p class="why bad-text">off: {channel.problem}</p>}
                        </span>
                        <button type="button" disabled={channel.problem !== null} onClick={() => void test(channel.name)}>
                          Send a test
                        </button>
                      </li>
                    ))}
                  </ul>
                  <ol class="past">
                    {all.deliveries.slice(0, 30).map((d) => (
                      <li key={d.id}>
                        <Time at={d.at_ms} date /> <Glyph state={d.state === "sent" ? "ready" : d.state === "failed" ? "failed" : "waiting"} /> {d.channel}: {d.title}
                        {d.problem && (
                          <p class="why">
                            {d.problem}
                            {d.next_ms ? `, tried ${plural(d.tries, "time")}, again soon` : ""}
                          </p>
                        )}
                      </li>
                    ))}
                  </ol>
                </>
              )}
            </Panel>
            </div>
          </div>
        </>
      )}
    </Page>
  );
}
