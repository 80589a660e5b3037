import { useMemo } from "preact/hooks";
import type { Trace as Whole } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { count, ms } from "../format.ts";
import { Failed, Figure, Panel, Time } from "../parts.tsx";
import { A } from "../router.tsx";
import { compare, type Tree, tree } from "../waterfall.ts";
import { hueOf } from "./log-line.tsx";

/** Two traces: what took longer in the second, and what only one of them did. */
export function Compared({ a, b, id }: { a: Tree; b: string; id: string }) {
  const { state, again } = useAsked<Whole>((signal) => get(`/traces/${encodeURIComponent(b)}`, {}, signal), b);
  const whole = state.value.data;
  const other = useMemo(() => (whole ? tree(whole.spans, whole.logs) : null), [whole]);
  if (!other) return state.value.error !== null ? <Failed error={state.value.error} again={again} /> : <p class="dim opening">Opening…</p>;
  const all = compare(a, other);
  const most = Math.max(...all.map((d) => Math.abs(d.self[1] - d.self[0])), 1);
  const longer = other.duration - a.duration;
  return (
    <>
      <dl class="figures">
        <Figure label="This one" value={ms(a.duration / 1000)} note={<><Time at={a.startUs / 1000} date /> · <A href={`/traces/${id}`}>open</A></>} />
        <Figure label="The other" value={ms(other.duration / 1000)} note={<><Time at={other.startUs / 1000} date /> · <A href={`/traces/${b}`}>open</A></>} />
        <Figure label="The other took" value={`${longer >= 0 ? "+" : "−"}${ms(Math.abs(longer) / 1000)}`} tone={longer > 0 ? "bad" : ""} />
        <Figure label="Spans" value={`${count(a.all.length)} and ${count(other.all.length)}`} />
      </dl>
      <Panel title="Own time of each kind of span" aside={<A href={`/traces/${b}?vs=${id}`}>Swap</A>}>
        <div class="scroll">
          <table class="tight">
            <thead>
              <tr>
                <th>Span</th>
                <th class="num">This one</th>
                <th class="num">The other</th>
                <th class="num">Difference</th>
                <th>Faster · slower</th>
                <th class="num">Count</th>
              </tr>
            </thead>
            <tbody>
              {all.slice(0, 300).map((d) => {
                const more = d.self[1] - d.self[0];
                const width = (Math.abs(more) / most) * 50;
                return (
                  <tr key={`${d.service} ${d.name}`}>
                    <th scope="row">
                      <span class={`who ${hueOf(d.service)}`}>{d.service}</span> {d.name}
                      {d.failed[0] !== d.failed[1] && <span class="tag bad-text">failed {d.failed[0]} and {d.failed[1]}</span>}
                      {d.counts[0] === 0 && <span class="tag">only in the other</span>}
                      {d.counts[1] === 0 && <span class="tag">only in this one</span>}
                    </th>
                    <td class="num">{d.counts[0] > 0 ? ms(d.self[0] / 1000) : "–"}</td>
                    <td class="num">{d.counts[1] > 0 ? ms(d.self[1] / 1000) : "–"}</td>
                    <td class="num">
                      {more >= 0 ? "+" : "−"}
                      {ms(Math.abs(more) / 1000)}
                    </td>
                    <td>
                      <svg class="share" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                        <rect class={more > 0 ? "bad" : "fill"} x={more > 0 ? 50 : 50 - width} width={Math.max(width, 0.5)} height="6" />
                        <rect class="middle" x="49.7" width="0.6" height="6" />
                      </svg>
                    </td>
                    <td class="num">{d.counts[0] === d.counts[1] ? d.counts[0] : `${d.counts[0]} and ${d.counts[1]}`}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </Panel>
    </>
  );
}
