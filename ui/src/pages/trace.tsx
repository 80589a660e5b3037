import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Trace as Whole } from "../api.ts";
import { ApiError, get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { clock, count, ms, percent, plain, plural, span as length } from "../format.ts";
import { Code, Empty, Failed, Figure, Json, Page, Panel, Rows, Time } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { services, topics } from "../state.ts";
import { term } from "../terms.ts";
import { nameOf, type Node, repeated, type Row, rows, type Tree, tree } from "../waterfall.ts";
import { zone } from "../settings.ts";
import { hueOf, LogText } from "./log-line.tsx";
import { Compared } from "./compare.tsx";

const ROW = 26;

export function Trace({ id }: { id: string }) {
  const vs = query.value.get("vs");
  const { state, again } = useAsked<Whole>((signal) => get(`/traces/${encodeURIComponent(id)}`, {}, signal), id);
  const whole = state.value.data?.trace_id === id.toLowerCase() ? state.value.data : null;
  const of = useMemo(() => (whole ? tree(whole.spans, whole.logs) : null), [whole]);
  const missing = state.value.error instanceof ApiError && state.value.error.status === 404;
  const tries = useRef(0);
  useEffect(() => {
    // It may have begun a moment ago.
    if (!missing || state.value.loading || tries.current >= 5) return;
    const timer = setTimeout(() => {
      tries.current++;
      again();
    }, 1000);
    return () => clearTimeout(timer);
  }, [state.value]);
  if (!whole || !of) {
    return (
      <Page title="Trace" lead={<span class="mono break">{id}</span>}>
        {missing ? (
          <Empty title="There is no such trace">
            It was not recorded, or is older than what is kept. A trace that has just begun appears within a second. <A href="/traces">All traces</A>
          </Empty>
        ) : state.value.error !== null ? (
          <Failed error={state.value.error} again={again} />
        ) : (
          <p class="dim opening">Opening…</p>
        )}
      </Page>
    );
  }
  const root = of.roots[0];
  return (
    <Page
      title={root ? <><span class={`who ${hueOf(root.span.service)}`}>{root.span.service}</span> {nameOf(root.span)}</> : "Trace"}
      lead={
        <>
          <Code text={whole.trace_id} /> <Time at={of.startUs / 1000} date />
        </>
      }
      actions={
        <>
          {root && !vs && (
            <A class="button" href={`/traces?a=${id}&range=24h&q=${encodeURIComponent(`root:true ${term("service", root.span.service)} ${term("name", root.span.name)}`)}`}>
              Compare…
            </A>
          )}
          <button type="button" onClick={again}>
            Refresh
          </button>
        </>
      }
    >
      {vs ? <Compared a={of} b={vs} id={id} /> : <One of={of} whole={whole} />}
    </Page>
  );
}

function One({ of, whole }: { of: Tree; whole: Whole }) {
  const errors = of.all.filter((n) => n.failed).length;
  const calls = (of.all.filter((n) => n.span.attributes["db.system.name"] !== undefined) as Node[]).length;
  return (
    <>
      <dl class="figures">
        <Figure label="Duration" value={ms(of.duration / 1000)} />
        <Figure label="Spans" value={count(of.all.length)} note={of.all.length >= 20_000 ? "the first 20,000" : calls > 0 ? plural(calls, "database call") : ""} />
        <Figure label="Errors" value={count(errors)} tone={errors > 0 ? "bad" : ""} />
        <Figure label="Services" value={count(of.services.length)} />
        <Figure label="Log lines" value={count(whole.logs.length)} />
      </dl>
      <Shares of={of} />
      <Waterfall of={of} />
    </>
  );
}

/** Where the time went: the critical path by service. */
function Shares({ of }: { of: Tree }) {
  const all = of.services.reduce((n, s) => n + s.critical, 0);
  if (all === 0 || of.services.length < 2) return null;
  let x = 0;
  return (
    <figure class="shares">
      <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        {of.services.map((s) => {
          const width = (s.critical / all) * 100;
          const at = x;
          x += width;
          return width > 0 ? <rect key={s.name} class={`fill-${hueOf(s.name)}`} x={at} width={width} height="10" /> : null;
        })}
      </svg>
      <figcaption>
        <span class="dim">Waited for</span>
        {of.services
          .filter((s) => s.critical > 0)
          .slice(0, 8)
          .map((s) => (
            <span key={s.name} class={`dot ${hueOf(s.name)}`}>
              {s.name} {ms(s.critical / 1000)} <span class="dim">{percent(s.critical, all)}</span>
            </span>
          ))}
      </figcaption>
    </figure>
  );
}

function Waterfall({ of }: { of: Tree }) {
  const folded = useSignal<ReadonlySet<string>>(new Set());
  const withLogs = useSignal(true);
  const onlyCritical = useSignal(false);
  const view = useSignal<[number, number]>([0, of.duration || 1]);
  const drag = useSignal<[number, number] | null>(null);
  const chosen = query.value.get("span");
  useEffect(() => {
    view.value = [0, of.duration || 1];
  }, [of]);
  const all = useMemo(() => {
    const found = rows(of, folded.value, withLogs.value);
    return onlyCritical.value ? found.filter((r) => r.kind === "span" && r.node.critical.length > 0) : found;
  }, [of, folded.value, withLogs.value, onlyCritical.value]);
  const chosenAt = chosen ? all.findIndex((r) => r.kind === "span" && r.node.span.span_id === chosen) : -1;
  const node = chosen ? of.byId.get(chosen) : undefined;
  const choose = (id: string | null) => go(withQuery({ span: id }), true);
  const fold = (id: string, on?: boolean) => {
    const next = new Set(folded.value);
    if (on ?? !next.has(id)) next.add(id);
    else next.delete(id);
    folded.value = next;
  };
  const step = (by: 1 | -1, wanted: (row: Row) => boolean) => {
    for (let i = chosenAt === -1 && by === -1 ? all.length - 1 : chosenAt + by; i >= 0 && i < all.length; i += by) {
      const row = all[i]!;
      if (wanted(row) && row.kind === "span") return choose(row.node.span.span_id);
    }
  };
  const onKey = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const any = (r: Row) => r.kind === "span";
    const act: Record<string, () => void> = {
      j: () => step(1, any),
      ArrowDown: () => step(1, any),
      k: () => step(-1, any),
      ArrowUp: () => step(-1, any),
      e: () => step(1, (r) => r.kind === "span" && r.node.failed),
      h: () => chosen && fold(chosen, true),
      ArrowLeft: () => chosen && fold(chosen, true),
      l: () => chosen && fold(chosen, false),
      ArrowRight: () => chosen && fold(chosen, false),
      c: () => (onlyCritical.value = !onlyCritical.value),
      z: () => node && (view.value = [node.start, Math.max(node.end, node.start + 1)]),
      "0": () => (view.value = [0, of.duration || 1]),
    };
    const doing = act[e.key];
    if (!doing) return;
    e.preventDefault();
    e.stopPropagation();
    doing();
  };
  const [from, to] = view.value;
  const wide = to - from;
  const zoomed = from > 0 || to < of.duration;
  const part = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return from + Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * wide;
  };
  const errors = of.all.some((n) => n.failed);
  return (
    <Panel
      class="waterfall"
      title="Waterfall"
      aside={
        <span class="chips">
          {errors && (
            <button type="button" class="chip" onClick={() => step(1, (r) => r.kind === "span" && r.node.failed)} title="e">
              Next error
            </button>
          )}
          <button type="button" class="chip" aria-pressed={onlyCritical.value} onClick={() => (onlyCritical.value = !onlyCritical.value)} title="c">
            Critical path
          </button>
          <button type="button" class="chip" aria-pressed={withLogs.value} onClick={() => (withLogs.value = !withLogs.value)}>
            Logs
          </button>
          <button type="button" class="chip" onClick={() => (folded.value = folded.value.size > 0 ? new Set() : new Set(of.all.filter((n) => n.depth >= 1 && n.children.length > 0).map((n) => n.span.span_id)))}>
            {folded.value.size > 0 ? "Unfold" : "Fold"}
          </button>
          {zoomed && (
            <button type="button" class="chip" onClick={() => (view.value = [0, of.duration || 1])} title="0">
              Whole length
            </button>
          )}
        </span>
      }
    >
      <div class={`waterfall-body ${node ? "with-side" : ""}`}>
        <div class="waterfall-rows">
          <div class="ruler">
            <span />
            <div
              class="ruler-scale"
              title="drag to look closer"
              onPointerDown={(e) => {
                drag.value = [part(e), part(e)];
                e.currentTarget.setPointerCapture(e.pointerId);
              }}
              onPointerMove={(e) => drag.value && (drag.value = [drag.value[0], part(e)])}
              onPointerUp={() => {
                const [a, b] = [...(drag.value ?? [0, 0])].sort((x, y) => x - y) as [number, number];
                drag.value = null;
                if (b - a > wide / 100) view.value = [a, b];
              }}
            >
              {[0, 0.25, 0.5, 0.75].map((at) => (
                <span key={at} style={{ left: `${at * 100}%` }}>
                  {ms((from + wide * at) / 1000)}
                </span>
              ))}
              {drag.value && <i style={{ left: `${((Math.min(...drag.value) - from) / wide) * 100}%`, width: `${(Math.abs(drag.value[1] - drag.value[0]) / wide) * 100}%` }} />}
            </div>
          </div>
          <div class="waterfall-box" style={{ height: `${Math.min(Math.max(all.length, 3) * ROW + 2, 900)}px` }}>
            <Rows
              items={all}
              rowHeight={ROW}
              label="spans; j and k move, h and l fold and unfold, e finds errors"
              role="list"
              keyOf={(row) => (row.kind === "span" ? row.node.span.span_id : `${row.node?.span.span_id} ${row.line.at_ms} ${row.line.message}`)}
              show={chosenAt === -1 ? null : chosenAt}
              onKeyDown={onKey}
              row={(row) =>
                row.kind === "span" ? (
                  <SpanRow node={row.node} view={view.value} chosen={row.node.span.span_id === chosen} folded={folded.value.has(row.node.span.span_id)} fold={() => fold(row.node.span.span_id)} choose={() => choose(row.node.span.span_id === chosen ? null : row.node.span.span_id)} />
                ) : (
                  <A class={`span-log ${row.line.level ?? ""}`} href={`/logs?at=${row.line.at_ms}&service=${row.line.instance}`} title="the lines around it">
                    <span style={{ paddingLeft: `${indent(row.node ? row.node.depth + 1 : 0)}px` }} />
                    <LogText line={row.line} withService={row.node === null || row.line.service !== row.node.span.service} />
                  </A>
                )
              }
            />
          </div>
        </div>
        {node && <Side node={node} of={of} close={() => choose(null)} />}
      </div>
    </Panel>
  );
}

const indent = (depth: number) => Math.min(depth, 14) * 14;

function SpanRow(props: { node: Node; view: [number, number]; chosen: boolean; folded: boolean; fold: () => void; choose: () => void }) {
  const { node, view } = props;
  const [from, to] = view;
  const at = (us: number) => Math.min(Math.max(((us - from) / (to - from)) * 100, -1), 101);
  const left = at(node.start);
  const width = Math.max(at(node.end) - left, 0.25);
  const { span } = node;
  const loop = repeated(node);
  const time = ms(span.duration_us / 1000);
  return (
    <div class={`span-row ${props.chosen ? "chosen" : ""} ${node.failed ? "failed-span" : ""}`} onClick={props.choose}>
      <div class="span-name" style={{ paddingLeft: `${indent(node.depth)}px` }}>
        {node.children.length > 0 ? (
          <button
            type="button"
            class="fold"
            tabIndex={-1}
            aria-label={`${props.folded ? "unfold" : "fold"} ${span.name}`}
            aria-expanded={!props.folded}
            onClick={(e) => {
              e.stopPropagation();
              props.fold();
            }}
          >
            {props.folded ? "▸" : "▾"}
          </button>
        ) : (
          <span class="fold" />
        )}
        <span class={`swatch fill-${hueOf(span.service)}`} aria-hidden="true" />
        <button type="button" class="span-open" tabIndex={-1} aria-pressed={props.chosen} title={`${span.service} ${nameOf(span)}, ${time}${node.failed ? ", failed" : ""}`}>
          {node.failed && <b class="bad-text" aria-label="failed">◆ </b>}
          {(span.kind === "producer" || span.kind === "consumer") && <span class="dim" aria-label={span.kind}>{span.kind === "producer" ? "⇢ " : "⇠ "}</span>}
          <span class="dim">{span.service}</span> {nameOf(span)}
        </button>
        {node.orphan && <span class="tag" title="Its parent was not received: it was not sent, or came too late">no parent</span>}
        {loop && <span class="tag warn-text" title={`${loop.name}, ${length(loop.total / 1000)} in all: most likely asked in a loop`}>×{loop.count}</span>}
        {props.folded && node.below > 0 && <span class={`tag ${node.failedBelow > 0 ? "bad-text" : ""}`}>+{node.below}</span>}
      </div>
      <div class="span-bars" aria-hidden="true">
        <span class={`bar fill-${hueOf(span.service)} ${node.failed ? "failed-bar" : ""}`} style={{ left: `${left}%`, width: `${width}%` }} />
        {node.critical.map(([a, b], i) => {
          const x = at(a);
          return <span key={i} class="critical" style={{ left: `${x}%`, width: `${Math.max(at(b) - x, 0.2)}%` }} />;
        })}
        {node.logs.map((line, i) => (
          <span key={i} class={`tick ${line.level ?? ""}`} style={{ left: `${at(Math.min(Math.max(line.at_ms * 1000 - (span.start_us - node.start), node.start), node.end))}%` }} />
        ))}
        {span.events.map((event, i) => (
          <span key={i} class="tick event" style={{ left: `${at(event.at_us - span.start_us + node.start)}%` }} />
        ))}
        <span class="span-time" style={left + width > 82 ? { right: `${100 - left}%` } : { left: `${left + width}%` }}>
          {time}
        </span>
      </div>
    </div>
  );
}

/** The keys that say most, first. */
const FIRST = ["http.request.method", "http.route", "url.path", "url.full", "http.response.status_code", "error.type", "otel.status_description", "db.system.name", "db.query.text", "db.operation.name", "db.collection.name", "messaging.destination.name", "messaging.operation.type", "rpc.method", "archipel.caller"];

function Side({ node, of, close }: { node: Node; of: Tree; close: () => void }) {
  const { span } = node;
  const rank = (key: string) => (FIRST.indexOf(key) + 1 || 100);
  const attributes = Object.entries(span.attributes).sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
  const critical = node.critical.reduce((n, [a, b]) => n + b - a, 0);
  const topic = span.attributes["messaging.destination.name"];
  return (
    <aside class="side span-side" aria-label="one span">
      <button type="button" class="quiet close" aria-label="close" onClick={close}>
        ✕
      </button>
      <h2>{nameOf(span)}</h2>
      <p class="dim">
        {services.value.has(span.service) ? <A href={`/services/${span.service}`}>{span.instance ?? span.service}</A> : (span.instance ?? span.service)} · {span.kind}
        {span.status !== "unset" && <> · <span class={node.failed ? "bad-text" : ""}>{span.status}</span></>}
      </p>
      <dl class="figures narrow">
        <Figure label="Duration" value={ms(span.duration_us / 1000)} note={percent(span.duration_us, of.duration)} />
        <Figure label="Own time" value={ms(node.self / 1000)} note={critical > 0 ? `${ms(critical / 1000)} on the critical path` : "not on the critical path"} />
      </dl>
      {attributes.length > 0 && <Attributes all={attributes} />}
      {span.events.map((event, i) => (
        <section key={i}>
          <h3>
            {event.name} <span class="num">+{ms((event.at_us - span.start_us) / 1000)}</span>
          </h3>
          {Object.entries(event.attributes ?? {}).map(([key, value]) => (
            <div key={key}>
              <span class="dim">{key}</span>
              <Json value={value} />
            </div>
          ))}
        </section>
      ))}
      {node.logs.length > 0 && (
        <section>
          <h3>{plural(node.logs.length, "log line")}</h3>
          {node.logs.slice(0, 100).map((line, i) => (
            <p key={i} class={`said ${line.level ?? ""}`}>
              <span class="dim">{clock(line.at_ms, zone.value === "utc")}</span> {plain(line.message)}
            </p>
          ))}
        </section>
      )}
      {span.links.length > 0 && (
        <section>
          <h3>Belongs to</h3>
          {span.links.map((link, i) => (
            <p key={i}>
              <A class="mono" href={`/traces/${link.trace_id}?span=${link.span_id}`}>
                {link.trace_id.slice(0, 16)}…
              </A>
            </p>
          ))}
        </section>
      )}
      {Object.keys(span.resource).length > 0 && (
        <details>
          <summary>The sender</summary>
          <Attributes all={Object.entries(span.resource)} />
        </details>
      )}
      <p class="links">
        <A href={`/logs?q=${encodeURIComponent(term("trace", span.trace_id))}&from=${Math.floor(span.start_us / 1000) - 1000}&to=${Math.ceil((span.start_us + span.duration_us) / 1000) + 1000}`}>Its logs</A>
        <A href={`/traces?q=${encodeURIComponent(`${term("service", span.service)} ${term("name", span.name)}`)}`}>Others like it</A>
        {typeof topic === "string" && topics.value?.topics.some((t) => t.name === topic) && <A href={`/events/${topic}`}>The topic</A>}
      </p>
    </aside>
  );
}

function Attributes({ all }: { all: [string, unknown][] }) {
  const text = (of: unknown) => (typeof of === "string" ? of : JSON.stringify(of));
  return (
    <dl class="attributes">
      {all.map(([key, of]) => (
        <>
          <dt>{key}</dt>
          <dd class="mono break">
            {text(of)}
            {text(of).length <= 200 && (
              <A class="ask" href={`/traces?q=${encodeURIComponent(term(key, text(of)))}`} title={`spans with ${key} like this`} aria-label={`spans with ${key} like this`}>
                ⌕
              </A>
            )}
          </dd>
        </>
      ))}
    </dl>
  );
}

