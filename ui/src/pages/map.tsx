import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Graph, Topics } from "../api.ts";
import { count, ms, percent, rate, short } from "../format.ts";
import { type Edge, edgeId, layers, type Place, reaching } from "../layout.ts";
import { Empty, Figure, Glyph, Page, Spark, State, toneOf } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { graph, services, topics, total } from "../state.ts";
import { edgeKey, GATEWAY, NOTHING, type Sum } from "../traffic.ts";

interface Line extends Edge {
  kind: "call" | "event";
}
interface Node {
  id: string;
  label: string;
  kind: "gateway" | "service" | "external" | "topic";
}

const WIDTH = 172;
const HEIGHT = 50;
const TOPIC = "topic:";

function parts(all: Graph, show: string): { nodes: Node[]; lines: Line[] } {
  const nodes: Node[] = [];
  const lines: Line[] = [];
  if (show !== "events") {
    if (all.routes.length > 0) nodes.push({ id: GATEWAY, label: "outside", kind: "gateway" });
    for (const to of new Set(all.routes.flatMap((r) => r.targets))) lines.push({ from: GATEWAY, to, kind: "call" });
    for (const s of all.services) for (const to of s.calls) lines.push({ from: s.name, to, kind: "call" });
    for (const e of all.externals) nodes.push({ id: e.name, label: e.name, kind: "external" });
  }
  if (show !== "calls") {
    for (const t of all.topics) {
      nodes.push({ id: TOPIC + t.name, label: t.name, kind: "topic" });
      if (t.publisher) lines.push({ from: t.publisher, to: TOPIC + t.name, kind: "event" });
      for (const to of t.subscribers) lines.push({ from: TOPIC + t.name, to, kind: "event" });
    }
  }
  const used = new Set(lines.flatMap((l) => [l.from, l.to]));
  for (const s of all.services) {
    if (show !== "events" || used.has(s.name)) nodes.push({ id: s.name, label: s.name, kind: "service" });
  }
  return { nodes, lines };
}

/** More parts than this are no picture any more, and more work for the browser than is worth it. */
const MOST = 120;

/** Of those who would notice. */
const NAMED = 40;

/** Of many parts those to look at: what was asked for, what is not well, what is busy. */
function picked(nodes: Node[], lines: Line[], words: string, chosen: string | null): Set<string> {
  const sums = total.peek();
  const rank = ({ id, label }: Node): number => {
    if (words !== "" && label.toLowerCase().includes(words)) return Infinity;
    const state = services.peek().get(id)?.state;
    const sum = sums.into.get(id);
    const unwell = state !== undefined && ["bad", "warn"].includes(toneOf(state));
    return (unwell ? 1e9 : 0) + (sum?.failing ?? 0) * 1e6 + (sum?.rate ?? 0);
  };
  const kept = new Set([GATEWAY]);
  const near = new Map<string, string[]>();
  for (const { from, to } of lines) {
    for (const [a, b] of [[from, to], [to, from]] as const) near.set(a, [...(near.get(a) ?? []), b]);
  }
  const add = (id: string) => kept.size < MOST && kept.add(id);
  if (chosen) [chosen, ...(near.get(chosen) ?? [])].forEach(add);
  const ranked = nodes.map((node) => ({ id: node.id, rank: rank(node) })).sort((a, b) => b.rank - a.rank);
  // A word asks for whom it names and whom these speak to; without one, for the busiest.
  const asked = ranked.filter((node) => node.rank === Infinity);
  (words === "" ? ranked : asked).forEach((node) => add(node.id));
  asked.flatMap((node) => near.get(node.id) ?? []).forEach(add);
  return kept;
}

export function Map_() {
  const show = query.value.get("show") ?? "calls";
  const chosen = query.value.get("node");
  const edge = query.value.get("edge");
  const narrow = query.value.get("only") === "near" && chosen !== null;
  const upright = useSignal(innerWidth < 700);
  useEffect(() => {
    const turn = () => (upright.value = innerWidth < 700);
    addEventListener("resize", turn);
    return () => removeEventListener("resize", turn);
  }, []);
  const all = graph.value;
  const plan = useComputed(() => {
    const known = graph.value;
    if (!known) return null;
    const show = query.value.get("show") ?? "calls";
    const near = query.value.get("only") === "near" ? query.value.get("node") : null;
    let { nodes, lines } = parts(known, show);
    const [calls, count] = [lines.filter((l) => l.kind === "call"), nodes.length];
    const words = query.value.get("q")?.toLowerCase() ?? "";
    if (!near && (count > MOST || words !== "")) {
      const kept = picked(nodes, lines, words, query.value.get("node"));
      nodes = nodes.filter((n) => kept.has(n.id));
      lines = lines.filter((l) => kept.has(l.from) && kept.has(l.to));
    }
    if (near) {
      lines = lines.filter((l) => l.from === near || l.to === near);
      const kept = new Set([near, ...lines.flatMap((l) => [l.from, l.to])]);
      nodes = nodes.filter((n) => kept.has(n.id));
    }
    const layout = layers(nodes.map((n) => n.id), lines);
    return { nodes: new Map(nodes.map((n) => [n.id, n])), lines, calls, count, ...layout };
  });
  if (!all || !plan.value) return null;
  const { nodes, lines, calls, count: declared, places, bends } = plan.value;
  const tb = upright.value;
  const [stepMain, stepCross] = tb ? [HEIGHT + 54, WIDTH + 18] : [WIDTH + 72, HEIGHT + 22];
  const every = [...places, ...[...bends.values()].flat()];
  const cross = every.map((p) => p.at * stepCross);
  const main = places.map((p) => p.layer * stepMain);
  const [lowest, highest] = [Math.min(...cross, 0), Math.max(...cross, 0)];
  const spot = (p: Place): At => {
    const c = p.at * stepCross - lowest;
    return tb ? { x: c, y: p.layer * stepMain } : { x: p.layer * stepMain, y: c };
  };
  const at = new Map(places.map((p) => [p.id, spot(p)]));
  const width = (tb ? highest - lowest : Math.max(...main, 0)) + WIDTH + 32;
  const height = (tb ? Math.max(...main, 0) : highest - lowest) + HEIGHT + 32;
  const hit = chosen ? reaching(chosen, calls) : new Set<string>();
  const touched = (l: Line) => (chosen ? l.from === chosen || l.to === chosen || (hit.has(l.from) && (hit.has(l.to) || l.to === chosen)) : true);
  return (
    <Page
      title="Map"
      lead={declared > MOST && !narrow ? `${nodes.size} of ${declared} parts: ${query.value.get("q") ? "those of that name, and whom they speak to" : "what is not well, and what is busiest"}` : "What is declared, and what passes over it now"}
      actions={
        <div class="chips" role="group" aria-label="what is shown">
          {[["calls", "Calls"], ["events", "Events"], ["all", "Both"]].map(([key, label]) => (
            <A key={key} class="chip" href={withQuery({ show: key === "calls" ? null : key!, node: null, edge: null, only: null })} aria-current={show === key ? "true" : undefined}>
              {label}
            </A>
          ))}
        </div>
      }
    >
      {(declared > MOST || query.value.get("q")) && (
        <div class="tools">
          <input type="search" placeholder="Find by name" aria-label="find by name" data-search value={query.value.get("q") ?? ""} onInput={(e) => go(withQuery({ q: e.currentTarget.value, node: null, edge: null, only: null }), true)} />
        </div>
      )}
      {lines.length === 0 && !narrow && declared <= MOST ? (
        <Empty title={show === "events" ? "No event connects these services" : "No call is declared"} code={'[services.orders]\ncalls = ["inventory", "payments"]'}>
          Services find each other by declared edges; each becomes a line here, with its live rate, failures and times.
        </Empty>
      ) : (
        <div class={`map-area ${chosen || edge ? "with-side" : ""}`}>
          <Canvas width={width} height={height}>
            {lines.map((l) => {
              const [a, b] = [at.get(l.from), at.get(l.to)];
              if (!a || !b) return null;
              const sum = l.kind === "call" ? total.value.edges.get(edgeKey(l.from, l.to)) : undefined;
              return <EdgeLine key={`${l.from}>${l.to}`} line={l} from={a} to={b} via={(bends.get(edgeId(l)) ?? []).map(spot)} upright={tb} sum={sum} faded={!touched(l)} chosen={edge === edgeKey(l.from, l.to)} />;
            })}
            {[...nodes.values()].map((n) => {
              const place = at.get(n.id);
              return place ? <NodeBox key={n.id} node={n} x={place.x} y={place.y} chosen={chosen === n.id} hit={hit.has(n.id)} faded={chosen !== null && chosen !== n.id && !hit.has(n.id) && !lines.some((l) => (l.from === chosen && l.to === n.id) || (l.to === chosen && l.from === n.id))} /> : null;
            })}
          </Canvas>
          <Side nodes={nodes} hit={hit} all={all} />
        </div>
      )}
    </Page>
  );
}

/** Dragged to move, turned with ctrl to zoom, and readable without either. */
function Canvas({ width, height, children }: { width: number; height: number; children: preact.ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const scale = useSignal(1);
  const fit = () => {
    const room = box.current;
    if (!room) return;
    const whole = Math.min(room.clientWidth / width, room.clientHeight / height);
    scale.value = Math.min(1.25, Math.max(whole, 0.55));
  };
  useEffect(fit, [width, height]);
  const zoom = (by: number) => (scale.value = Math.min(2, Math.max(0.15, scale.value * by)));
  const drag = (event: PointerEvent) => {
    const room = box.current;
    if (!room || event.pointerType !== "mouse" || (event.target as Element).closest("a")) return;
    let [x, y] = [event.clientX, event.clientY];
    const move = (e: PointerEvent) => {
      room.scrollBy(x - e.clientX, y - e.clientY);
      [x, y] = [e.clientX, e.clientY];
    };
    const done = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", done);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", done);
  };
  return (
    <div class="canvas">
      <div
        class="canvas-room"
        ref={box}
        onPointerDown={drag}
        onWheel={(e) => {
          if (!e.ctrlKey && !e.metaKey) return;
          e.preventDefault();
          zoom(e.deltaY < 0 ? 1.1 : 1 / 1.1);
        }}
      >
        <svg width={width * scale.value} height={height * scale.value} viewBox={`-16 -16 ${width} ${height}`} role="group" aria-label="map of services">
          {children}
        </svg>
      </div>
      <ul class="legend">
        <li><span class="swatch busy" /> traffic in the last ten seconds</li>
        <li><span class="swatch failing" /> more than 1% of it fails</li>
        <li><span class="swatch" /> declared, quiet</li>
        <li><span class="swatch event" /> events</li>
        <li class="dim">Choose a service or a line for more.</li>
      </ul>
      <div class="zoom" role="group" aria-label="zoom">
        <button type="button" onClick={() => zoom(1.25)} aria-label="closer">+</button>
        <button type="button" onClick={() => zoom(0.8)} aria-label="farther">−</button>
        <button type="button" onClick={fit}>fit</button>
      </div>
    </div>
  );
}

type At = { x: number; y: number };

function EdgeLine(props: { line: Line; from: At; to: At; via: At[]; upright: boolean; sum: Sum | undefined; faded: boolean; chosen: boolean }) {
  const { from, to, upright, sum, line } = props;
  const back = upright ? to.y <= from.y : to.x <= from.x;
  const start = upright ? { x: from.x + WIDTH / 2, y: from.y + (back ? 0 : HEIGHT) } : { x: from.x + (back ? 0 : WIDTH), y: from.y + HEIGHT / 2 };
  const end = upright ? { x: to.x + WIDTH / 2, y: to.y + (back ? HEIGHT : 0) } : { x: to.x + (back ? WIDTH : 0), y: to.y + HEIGHT / 2 };
  const curve = (a: At, b: At) => {
    const bend = (upright ? Math.abs(b.y - a.y) : Math.abs(b.x - a.x)) * 0.45 * (back ? -1 : 1);
    return upright
      ? `C${a.x} ${a.y + bend} ${b.x} ${b.y - bend} ${b.x} ${b.y}`
      : `C${a.x + bend} ${a.y} ${b.x - bend} ${b.y} ${b.x} ${b.y}`;
  };
  // Past the nodes of each layer in between, straight along their place.
  const stops = props.via.flatMap((p): At[] =>
    upright
      ? [{ x: p.x + WIDTH / 2, y: p.y }, { x: p.x + WIDTH / 2, y: p.y + HEIGHT }]
      : [{ x: p.x, y: p.y + HEIGHT / 2 }, { x: p.x + WIDTH, y: p.y + HEIGHT / 2 }],
  );
  const points = [start, ...stops, end];
  let path = `M${start.x} ${start.y}`;
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1]!, points[i]!];
    path += i % 2 === 1 ? curve(a, b) : `L${b.x} ${b.y}`;
  }
  const busy = (sum?.rate ?? 0) > 0;
  const failing = busy && sum!.failing / sum!.rate > 0.01;
  const weight = busy ? 1.5 + Math.min(Math.log10(1 + sum!.rate) * 1.5, 5) : 1.2;
  const tone = failing ? "failing" : busy ? "busy" : "";
  const first = points[1]!;
  const [mx, my] = [(start.x + first.x) / 2, (start.y + first.y) / 2];
  const name = `${line.from === GATEWAY ? "outside" : line.from.replace(TOPIC, "")} to ${line.to.replace(TOPIC, "")}`;
  const drawn = (
    <g class={`edge ${line.kind} ${tone} ${props.faded ? "faded" : ""} ${props.chosen ? "chosen" : ""}`}>
      <path class="hit" d={path} />
      <path class="drawn" d={path} stroke-width={weight} />
      {busy && !props.faded && (
        <text x={mx} y={my - 5}>
          {rate(sum!.rate)}
          {failing && ` · ${percent(sum!.failing, sum!.rate)} failing`}
        </text>
      )}
    </g>
  );
  if (line.kind === "event") return drawn;
  return (
    <A href={withQuery({ edge: edgeKey(line.from, line.to), node: null })} aria-label={`${name}: ${rate(sum?.rate ?? 0)}`}>
      {drawn}
    </A>
  );
}

function NodeBox({ node, x, y, chosen, hit, faded }: { node: Node; x: number; y: number; chosen: boolean; hit: boolean; faded: boolean }) {
  const service = services.value.get(node.id);
  const sum = node.kind === "gateway" ? total.value.outside : total.value.into.get(node.id);
  const topic = node.kind === "topic" ? topics.value?.topics.find((t) => TOPIC + t.name === node.id) : undefined;
  const small = topic
    ? `${short(topic.events)} events${lagOf(topics.value, topic.name)}`
    : node.kind === "external"
      ? "not ours"
      : sum && sum.rate > 0
        ? `${rate(sum.rate)} · ${ms(sum.p95_ms)}`
        : node.kind === "gateway"
          ? "gateway"
          : (service?.state ?? "");
  const tone = service ? toneOf(service.state) : "";
  const label = node.label.length > 18 ? `${node.label.slice(0, 17)}…` : node.label;
  return (
    <A href={withQuery({ node: chosen ? null : node.id, edge: null })} aria-label={`${node.label}, ${service?.state ?? node.kind}`} aria-current={chosen ? "true" : undefined}>
      <g class={`node ${node.kind} ${tone} ${chosen ? "chosen" : ""} ${hit ? "hit" : ""} ${faded ? "faded" : ""}`} transform={`translate(${x} ${y})`}>
        <title>{node.label}</title>
        <rect width={WIDTH} height={HEIGHT} rx={node.kind === "topic" ? HEIGHT / 2 : 9} />
        {service && (
          <g transform="translate(12 11) scale(.8)">
            <Glyph state={service.state} />
          </g>
        )}
        <text class="name" x={service ? 31 : 16} y="21">
          {label}
        </text>
        <text class="small" x={service ? 31 : 16} y="38">
          {small}
        </text>
      </g>
    </A>
  );
}

function lagOf(all: Topics | null, name: string): string {
  const lag = all?.topics.find((t) => t.name === name)?.subscribers.reduce((n, s) => n + s.lag, 0) ?? 0;
  return lag > 0 ? ` · ${short(lag)} waiting` : "";
}

function Side({ nodes, hit, all }: { nodes: ReadonlyMap<string, Node>; hit: Set<string>; all: Graph }) {
  const chosen = query.value.get("node");
  const edge = query.value.get("edge");
  const node = chosen ? nodes.get(chosen) : undefined;
  if (edge) {
    const [from, to] = edge.split(">");
    const sum = total.value.edges.get(edge) ?? NOTHING;
    const name = (id?: string) => (id === GATEWAY ? <A href="/gateway">outside</A> : <A href={`/services/${id}`}>{id}</A>);
    return (
      <aside class="side" aria-label="edge">
        <Close />
        <h2>
          {name(from)} → {name(to)}
        </h2>
        <Spark points={sum.history} wide />
        <dl class="figures narrow">
          <Figure label="Rate" value={rate(sum.rate)} note={`${short(sum.requests)} since start`} />
          <Figure label="Failing" value={sum.rate > 0 ? percent(sum.failing, sum.rate) : "–"} note={`${short((sum.by_class[5] ?? 0) + sum.broken)} since start`} tone={sum.failing > 0 ? "bad" : ""} />
          <Figure label="Half within" value={ms(sum.p50_ms)} />
          <Figure label="95% within" value={ms(sum.p95_ms)} />
          <Figure label="Tried again" value={count(sum.retries)} />
          <Figure label="Refused by us" value={count(sum.refused)} />
        </dl>
      </aside>
    );
  }
  if (!node) return null;
  const service = services.value.get(node.id);
  const topic = all.topics.find((t) => TOPIC + t.name === node.id);
  const external = all.externals.find((e) => e.name === node.id);
  return (
    <aside class="side" aria-label={node.label}>
      <Close />
      <h2>{node.label}</h2>
      {service && <State state={service.state} />}
      {service?.reason && <p class="why">{service.reason}</p>}
      {external && <p class="dim">{external.url}{external.owner && `, ${external.owner}`}</p>}
      {topic && <p class="dim">{topic.description ?? `published by ${topic.publisher ?? "nobody"}`}</p>}
      <h3>If it stops</h3>
      {hit.size === 0 ? (
        <p class="dim">{topic ? "Events wait in the topic." : "No other service would notice."}</p>
      ) : (
        <ul class="plain">
          {[...hit].slice(0, NAMED).map((id) => (
            <li key={id}>{id === GATEWAY ? "visitors from outside" : <A href={withQuery({ node: id })}>{id}</A>}</li>
          ))}
          {hit.size > NAMED && <li class="dim">and {hit.size - NAMED} more</li>}
        </ul>
      )}
      <p class="links">
        {service && <A href={`/services/${node.id}`}>Service</A>}
        {service && <A href={`/logs?service=${node.id}`}>Logs</A>}
        {topic && <A href={`/events/${topic.name}`}>Topic</A>}
        {node.kind === "gateway" && <A href="/gateway">Gateway</A>}
        <A href={withQuery({ only: query.value.get("only") ? null : "near" })}>{query.value.get("only") ? "Whole map" : "Only neighbours"}</A>
      </p>
    </aside>
  );
}

function Close() {
  return (
    <button type="button" class="quiet close" aria-label="close" onClick={() => go(withQuery({ node: null, edge: null, only: null }))}>
      ✕
    </button>
  );
}

