import type { ComponentChildren } from "preact";
import type { InForce } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, percent, plural, span } from "../format.ts";
import { KEYS } from "../keys.tsx";
import { Code, Failed, Page, Panel, Time } from "../parts.tsx";
import { theme, zone } from "../settings.ts";
import { graph, status } from "../state.ts";
import "../style/look.css";

export function Settings() {
  const all = status.value;
  const { state, again } = useAsked<InForce>((signal) => get("/settings", {}, signal), String(all?.generation ?? ""), 15_000);
  const force = state.value.data;
  if (!all) return null;
  const facts: [string, ComponentChildren][] = [
    ["Application", all.app],
    ["Profile", all.profile ?? "none"],
    ["Applied", `${plural(all.generation, "time")} since start`],
    ["Archipel", `version ${all.version}, process ${all.pid}`],
    ["Started", <Time at={all.started_at_ms} date />],
    ["Declared", `${plural(all.services.length, "service")}, ${plural(graph.value?.topics.length ?? 0, "topic")}, ${plural(graph.value?.routes.length ?? 0, "route")}`],
    ...(force ? [["Kept apart by", force.isolation] as [string, ComponentChildren]] : []),
  ];
  const total = force?.kept.reduce((n, of) => n + of.bytes, 0) ?? 0;
  return (
    <Page title="Settings">
      {all.problems.map((problem) => (
        <Failed key={problem} error={new Error(problem)} />
      ))}
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      <div class="columns">
        <Panel title="This browser">
          <Choice label="Appearance" value={theme.value} options={[["system", "As the system"], ["light", "Light"], ["dark", "Dark"]]} set={(v) => (theme.value = v)} />
          <Choice label="Times" value={zone.value} options={[["local", "Local"], ["utc", "UTC"]]} set={(v) => (zone.value = v)} />
        </Panel>
        <Panel title="This application">
          <Facts of={facts} />
        </Panel>
      </div>
      {force && (
        <>
          <Panel title="What is kept" aside={`${bytes(total)} on this disk; where there is a budget, the oldest goes first`}>
            <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
              <table class="tight">
                <thead>
                  <tr>
                    <th>What</th>
                    <th class="num">On disk</th>
                    <th>Of its budget</th>
                    <th class="num">Budget</th>
                    <th class="num">At most for</th>
                    <th>Where</th>
                  </tr>
                </thead>
                <tbody>
                  {force.kept.map((of) => (
                    <tr key={of.name}>
                      <th scope="row">{of.name}</th>
                      <td class="num">{bytes(of.bytes)}</td>
                      <td>
                        {of.bytes_max !== null ? (
                          <svg class="classes" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={percent(of.bytes, of.bytes_max)}>
                            <rect class="back" width="100" height="8" />
                            <rect class="class-2" width={Math.min(Math.max((of.bytes / of.bytes_max) * 100, 0.5), 100)} height="8" />
                          </svg>
                        ) : (
                          <span class="dim">by what is in it</span>
                        )}
                      </td>
                      <td class="num">{of.bytes_max !== null ? bytes(of.bytes_max) : <span class="dim">–</span>}</td>
                      <td class="num">{of.age_max_ms !== null ? span(of.age_max_ms) : <span class="dim">–</span>}</td>
                      <td class="mono break">{of.dir}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
          <div class="columns">
            <Panel title="Listens on">
              <div class="scroll" tabIndex={0} role="group" aria-label="a wide table">
                <table class="tight">
                  <tbody>
                    {force.listeners.map((of) => (
                      <tr key={of.name}>
                        <th scope="row">{of.name}</th>
                        <td class="mono break">{of.address}</td>
                        <td class="dim">{of.open_to}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Panel>
            <Panel title="Limits">
              <Facts
                of={force.limits.map((of) => [
                  of.name,
                  <>
                    {of.value} {of.key && <code class="dim">{of.key}</code>}
                  </>,
                ])}
              />
            </Panel>
            <Panel title="Files">
              <Facts of={force.files.map((of) => [of.name, <span class="mono break">{of.value}</span>])} />
            </Panel>
            <Panel title="From a terminal">
              <p class="note">All of this is the same API that the command line uses.</p>
              <p class="note"><Code text="archipel ps --follow" /></p>
              <p class="note"><Code text="archipel logs --follow" /></p>
              <p class="note"><Code text="archipel events list" /></p>
              <p class="note">There is a <a href="/plain">plain page</a> for browsers without scripts.</p>
            </Panel>
          </div>
        </>
      )}
      <Panel title="Keys">
        <dl class="facts keys wide-keys">
          {KEYS.map(([keys, what]) => (
            <div key={keys}>
              <dt>
                {keys.split(" ").map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </Panel>
    </Page>
  );
}

function Facts({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {of.map(([label, value]) => (
        <>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}

function Choice<T extends string>(props: { label: string; value: T; options: [T, string][]; set: (value: T) => void }) {
  return (
    <fieldset class="choice">
      <legend>{props.label}</legend>
      {props.options.map(([value, label]) => (
        <label key={value}>
          <input type="radio" name={props.label} checked={props.value === value} onChange={() => props.set(value)} />
          {label}
        </label>
      ))}
    </fieldset>
  );
}
