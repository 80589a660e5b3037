import assert from "node:assert/strict";
import { test } from "node:test";
import type { Instance, Series, Service, Span, Status, Topics, Traffic, WorkflowEvent } from "../src/api.ts";
import { address } from "../src/api.ts";
import { concerns, telling } from "../src/attention.ts";
import { growth } from "../src/growth.ts";
import { plainly } from "../src/reason.ts";
import { firedIn, labelled } from "../src/fired.ts";
import { bytes, clock, percent, plain, rate, short, span } from "../src/format.ts";
import { best, score } from "../src/fuzzy.ts";
import { edgeId, layers, reaching } from "../src/layout.ts";
import { begin, progress } from "../src/operation.ts";
import { edgeKey, GATEWAY, keyOf, POINTS, step, sum, totals, whole } from "../src/traffic.ts";
import { heat, written } from "../src/heat.ts";
import { ceiling } from "../src/scale.ts";
import { story } from "../src/story.ts";
import { scale, timeline } from "../src/timeline.ts";
import { replaced, term, terms, toggled } from "../src/terms.ts";
import { visible } from "../src/visible.ts";
import { compare, rows, tree } from "../src/waterfall.ts";

function series(over: Partial<Series>): Series {
  return {
    kind: "outside",
    caller: null,
    callee: "web",
    route: "/**",
    requests: 10,
    by_class: [0, 0, 10, 0, 0, 0],
    refused: 0,
    retries: 0,
    broken: 0,
    bytes: 0,
    inflight: 0,
    breaker_open: false,
    fallbacks: 0,
    rate: 5,
    failing: 0,
    p50_ms: 1,
    p95_ms: 2,
    p99_ms: 3,
    point: [10, 0, 2000],
    ...over,
  };
}

const traffic = (all: Series[]): Traffic => ({ at_ms: 0, step_ms: 2000, connections: 0, series: all });

function instance(over: Partial<Instance> = {}): Instance {
  return {
    id: "web-0",
    state: "ready",
    pid: 7,
    port: 1,
    started_at_ms: 1,
    ready_since_ms: 1,
    restarts: 0,
    next_start_at_ms: null,
    last_exit: null,
    last_probe: null,
    memory_bytes: 0,
    adopted: false,
    inflight: 0,
    ...over,
  };
}

function service(over: Partial<Service> = {}): Service {
  return {
    name: "web",
    state: "ready",
    desired: 1,
    ready: 1,
    settled: true,
    needs_a_person: false,
    reason: null,
    last_lines: [],
    build: null,
    database: null,
    restarts: 0,
    memory_bytes: 0,
    memory_limit: null,
    memory_tier: "none",
    instances: [instance()],
    ...over,
  };
}

const status = (...services: Service[]): Status => ({
  app: "a",
  version: "1",
  profile: null,
  manifest: "",
  pid: 1,
  started_at_ms: 0,
  generation: 1,
  gateway: null,
  problems: [],
  services,
});

test("numbers read as people write them", () => {
  assert.deepEqual([0, 999, 9999, 12_345, 1_500_000].map(short), ["0", "999", "9,999", "12.3k", "1.5M"]);
  assert.deepEqual([0, 1023, 1536, 20 << 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "20 MiB"]);
  assert.deepEqual([5, 1500, 65_000, 3 * 3_600_000 + 60_000 * 20, 3 * 86_400_000].map(span), ["5 ms", "1.5 s", "1 min", "3 h 20 min", "3 d"]);
  assert.deepEqual([0, 0.01, 2.25, 4000].map(rate), ["0/s", "<0.1/s", "2.3/s", "4,000/s"]);
  assert.deepEqual([percent(0, 5), percent(1, 100_000), percent(1, 3), percent(3, 3)], ["0%", "<0.1%", "33%", "100%"]);
  assert.equal(clock(Date.UTC(2026, 0, 1, 3, 4, 5, 6), true), "03:04:05.006");
});

test("a line is shown without the colours of terminals", () => {
  assert.equal(plain("\u001b[1;31merror\u001b[0m: no \u001b[38;5;4mway\u001b[m"), "error: no way");
});

test("a series that falls silent goes on as silence, and history stays bounded", () => {
  let known = whole(traffic([series({ history: [[1, 0, 5]] })]));
  known = step(known, traffic([series({ point: [4, 1, 9] })]));
  known = step(known, traffic([]));
  const one = known.get(keyOf(series({})));
  assert.deepEqual(one?.history, [[1, 0, 5], [4, 1, 9], [0, 0, 0]]);
  assert.equal(one?.rate, 0);
  assert.equal(one?.requests, 10, "what was counted stays");
  for (let i = 0; i < POINTS * 2; i++) known = step(known, traffic([series({})]));
  assert.equal(known.get(keyOf(series({})))?.history.length, POINTS);
});

test("rates are added up per edge; Archipel's own calls are not traffic", () => {
  const known = whole(
    traffic([
      series({ rate: 2 }),
      series({ rate: 3, route: "/a" }),
      series({ kind: "service", caller: "cart", route: null, rate: 1, failing: 1, p95_ms: 90 }),
      series({ kind: "archipel", route: null, rate: 100, p95_ms: 5000 }),
      series({ callee: null, route: null, rate: 7 }),
    ]),
  );
  const all = totals(known);
  assert.equal(all.into.get("web")?.rate, 6);
  assert.equal(all.into.get("web")?.p95_ms, 90, "the slowest is told");
  assert.equal(all.edges.get(edgeKey(GATEWAY, "web"))?.rate, 5);
  assert.equal(all.edges.get(edgeKey("cart", "web"))?.failing, 1);
  assert.equal(all.outside.rate, 12, "requests without a route are from outside too");
});

test("histories of different lengths are added at the newest end", () => {
  const [a, b] = [series({ history: [[1, 0, 1], [2, 0, 9]] }), series({ route: "/b", history: [[10, 1, 3]] })];
  assert.deepEqual(sum([...whole(traffic([a, b])).values()]).history, [[1, 0, 1], [12, 1, 9]]);
});

test("what needs a person comes before what may pass, and nothing is said of what is well", () => {
  const none = totals(new Map());
  assert.deepEqual(concerns(status(service()), null, none), []);
  const failing = totals(whole(traffic([series({ rate: 10, failing: 5 })])));
  const topics: Topics = {
    outboxes: [{ service: "web", pulled: 0, problem: "404" }],
    topics: [
      {
        name: "t.a",
        publisher: "web",
        events: 1,
        bytes: 1,
        first: 1,
        next: 2,
        retain_ms: 0,
        subscribers: [
          { service: "mail", lag: 3, oldest_age_ms: 60_000, inflight: 0, parked: 1, dead: 2, state: "waiting", path: "/e", waiting: 1, delivered: 0, failed_attempts: 9, expired: 0, lost: 0 },
        ],
      },
    ],
  };
  const broken = service({ name: "pay", state: "failed", needs_a_person: true, reason: "exit 1", last_lines: ["a", "b", "c", "d", "e"], instances: [] });
  const found = concerns(status(service({ state: "degraded" }), broken), topics, failing);
  assert.deepEqual(found.map((c) => c.weight), ["bad", "bad", "bad", "warn", "warn", "warn"]);
  assert.equal(found[0]?.title, "pay is failed");
  assert.deepEqual(found[0]?.lines, ["b", "c", "d", "e"]);
  assert.match(found[1]?.title ?? "", /web fails 50%/);
  assert.equal(found[2]?.href, "/events/dead?topic=t.a&subscriber=mail");
});

test("what ends again and again needs attention also while it starts once more", () => {
  const starting = instance({ state: "starting", last_exit: "exit 1 after 1s" });
  const loop = service({ state: "starting", settled: false, restarts: 7, instances: [starting] });
  const found = concerns(status(loop), null, totals(new Map()));
  assert.deepEqual(found.map((c) => [c.weight, c.title]), [["bad", "web keeps ending"]]);
  const first = service({ state: "starting", settled: false, restarts: 0, instances: [instance({ state: "starting" })] });
  assert.deepEqual(concerns(status(first), null, totals(new Map())), []);
});

test("a service that was ended for its memory is named, and so is the head of a stack trace", () => {
  const exit = "killed: memory limit 160M reached (peak 160M) after 1m1s";
  const leaky = service({ restarts: 1, instances: [instance({ last_exit: exit, started_at_ms: 1_000 })] });
  const found = concerns(status(leaky), null, totals(new Map()), [], [], [], 2_000);
  assert.deepEqual(found.map((c) => [c.title, c.href]), [["web ran out of memory", "/services/web?range=15m"]]);
  assert.match(found[0]!.detail, /memory limit 160M reached/);
  assert.deepEqual(concerns(status(leaky), null, totals(new Map()), [], [], [], 9_000_000), [], "it is no news any more");
  const trace = ["start", 'Exception in thread "main" X: no such file', "\tat a", "\tat b", "\tat c", "\tat d"];
  assert.deepEqual(telling(trace), trace.slice(1, 5));
  assert.deepEqual(telling(["a", "b"]), ["a", "b"]);
});

test("who is slow is named where the waiting begins, not who waits for it", () => {
  const web = series({ rate: 5, p50_ms: 900 });
  const stock = series({ kind: "service", caller: "web", callee: "stock", route: null, rate: 5, p50_ms: 800 });
  const stream = series({ kind: "service", caller: "web", callee: "feed", route: null, rate: 0.1, p50_ms: 60_000 });
  const known = whole(traffic([web, stock, stream]));
  const found = concerns(null, null, totals(known), [], [], known.values());
  assert.deepEqual(found.map((c) => c.title), ["stock is slow"]);
  assert.match(decodeURIComponent(found[0]!.href), /service:stock duration>250ms&sort=duration&range=15m/);
  const cut = whole(traffic([series({ kind: "service", caller: "web", callee: "stock", route: null, rate: 5, p50_ms: 600, breaker_open: true, fallbacks: 7 })]));
  const given = concerns(null, null, totals(cut), [], [], cut.values());
  assert.deepEqual(given.map((c) => [c.weight, c.title]), [["bad", "stock is cut off from web"]]);
  assert.match(given[0]!.detail, /7 answers stood in/);
  const failing = whole(traffic([series({ rate: 5, failing: 5 }), series({ kind: "service", caller: "web", callee: "stock", route: null, rate: 5, failing: 5 })]));
  const told = concerns(null, null, totals(failing), [], [], failing.values());
  assert.deepEqual(told.map((c) => [c.weight, c.title]), [["bad", "stock fails 100% of its requests"], ["warn", "web fails 100% of its requests"]]);
  assert.match(told[1]!.detail, /because of stock/);
});

test("what a value has grown by since it fell last is told where it only grows", () => {
  assert.equal(growth([90, 10, 20, 30, 40, 50, null, 60], 6_000), 100);
  assert.equal(growth([50, 50, 50, 50, 50, 50, 50], 6_000), null);
  assert.equal(growth([10, 20, 30], 6_000), null);
  assert.equal(growth([], 6_000), null);
});

test("an answer that is a problem document is said in words", () => {
  assert.equal(plainly('last with 422: {"title":"Bad","detail":"/sku: missing","code":"x"}'), "last with 422: Bad: /sku: missing");
  for (const reason of ["no instance is ready", 'last with 500: {"tit', "last with 500: {}"]) assert.equal(plainly(reason), reason);
});

test("a restart is done when a new process is ready, not while the old one still is", () => {
  const operation = begin("restart", service(), 0);
  const after = (...instances: Instance[]) => progress(operation, service({ instances }));
  assert.deepEqual(after(instance()), { done: false, step: "waiting" });
  assert.deepEqual(after(instance({ state: "draining" })), { done: false, step: "letting requests finish" });
  assert.deepEqual(after(instance({ state: "starting", pid: 8 })), { done: false, step: "starting" });
  assert.deepEqual(after(instance({ pid: 8 })), { done: true, ok: true, text: "restarted" });
  assert.equal(after(instance({ pid: 8, state: "backing-off" })).done, true);
  const stop = begin("stop", service(), 0);
  assert.equal(progress(stop, service()).done, false);
  assert.equal(progress(stop, service({ instances: [] })).done, true);
  assert.equal(progress(stop, undefined).done, true);
});

test("lines run one way, circles are cut, and long lines keep clear of what they pass", () => {
  const edges = [
    { from: "out", to: "web" },
    { from: "web", to: "cart" },
    { from: "cart", to: "stock" },
    { from: "stock", to: "web" },
    { from: "out", to: "stock" },
    { from: "web", to: "unknown" },
  ];
  const { places, bends } = layers(["out", "web", "cart", "stock", "alone"], edges);
  const layer = new Map(places.map((p) => [p.id, p.layer]));
  assert.deepEqual(
    ["alone", "out", "web", "cart", "stock"].map((id) => layer.get(id)),
    [0, 0, 1, 2, 3],
  );
  const passed = bends.get(edgeId({ from: "out", to: "stock" }));
  assert.deepEqual(passed?.map((p) => p.layer), [1, 2]);
  for (const bend of passed ?? []) {
    assert.ok(!places.some((p) => p.layer === bend.layer && p.at === bend.at), "a place of its own");
  }
  assert.deepEqual(layers([], []).places, []);
});

test("a thousand services are placed at once", () => {
  const ids = Array.from({ length: 1000 }, (_, i) => `s${i}`);
  const edges = ids.flatMap((from, i) => [1, 7, 40].map((far) => ({ from, to: ids[(i + far) % 1000]! })));
  const started = performance.now();
  assert.equal(layers(ids, edges).places.length, 1000);
  assert.ok(performance.now() - started < 5000);
});

test("who notices is found over any number of edges", () => {
  const edges = [{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "c", to: "a" }, { from: "x", to: "y" }];
  assert.deepEqual([...reaching("c", edges)].sort(), ["a", "b"]);
  assert.deepEqual([...reaching("x", edges)], []);
});

test("a few letters find a name", () => {
  const names = ["payments", "psp-sim", "catalog", "carrier-sim", "cart"];
  assert.equal(best(names, "cart", (n) => n, 3)[0], "cart");
  assert.equal(best(names, "ps", (n) => n, 3)[0], "psp-sim");
  assert.equal(score("catalog", "xyz"), 0);
  assert.equal(best(names, "", (n) => n, 9).length, 5);
});

test("of a long list only what is in sight is drawn", () => {
  assert.deepEqual(visible(100_000, 20, 40_000, 600, 5), { first: 1995, last: 2035 });
  assert.deepEqual(visible(3, 20, 0, 600), { first: 0, last: 3 });
  assert.deepEqual(visible(10, 20, 9000, 600), { first: 10, last: 10 });
});

test("terms of a question come and go without breaking the others", () => {
  assert.deepEqual(terms('a "b c" (d OR e) -f:"g h"'), ["a", '"b c"', "(d OR e)", '-f:"g h"']);
  assert.equal(toggled("a", term("service", "web")), "a service:web");
  assert.equal(toggled("a service:web", term("service", "web")), "a");
  assert.equal(toggled("a OR b", "c"), "(a OR b) c");
  assert.equal(term("name", "GET /a b"), 'name:"GET /a b"');
  assert.equal(replaced("duration>1s service:web", "duration", ["duration>=5ms"]), "service:web duration>=5ms");
  assert.equal(replaced("durations:3", "duration", []), "durations:3");
});

function spanOf(id: string, parent: string | null, start: number, duration: number, over: Partial<Span> = {}): Span {
  return { trace_id: "t", span_id: id, parent_id: parent, service: "web", instance: null, name: id, kind: "server", status: "unset", start_us: 1_000_000 + start, duration_us: duration, attributes: {}, resource: {}, events: [], links: [], ...over };
}

test("the critical path is what the whole waited for, and adds up to it", () => {
  const of = tree([spanOf("root", null, 0, 100), spanOf("fast", "root", 10, 20), spanOf("slow", "root", 10, 60), spanOf("last", "root", 80, 15)], []);
  const critical = (id: string) => of.byId.get(id)!.critical;
  assert.deepEqual(critical("fast"), [], "the slow one beside it was waited for");
  assert.deepEqual(critical("slow"), [[10, 70]]);
  assert.deepEqual(critical("last"), [[80, 95]]);
  const sum = of.all.flatMap((n) => n.critical).reduce((n, [a, b]) => n + b - a, 0);
  assert.equal(sum, 100);
  assert.equal(of.byId.get("root")!.self, 25);
});

test("lines stand in the span that said them; broken traces still have rows", () => {
  const line = (at_ms: number, over = {}) => ({ at_ms, service: "web", instance: "web-0", stream: "stdout", level: null, message: "m", ...over });
  const spans = [spanOf("root", null, 0, 50_000), spanOf("child", "root", 20_000, 10_000), spanOf("a", "b", 0, 1), spanOf("b", "a", 0, 1), spanOf("lost", "nowhere", 5, 1)];
  const of = tree(spans, [line(1025), line(1001, { span_id: "root" }), line(5000), line(1025, { service: "other" })]);
  assert.equal(of.byId.get("child")!.logs.length, 1);
  assert.equal(of.byId.get("root")!.logs.length, 1);
  assert.equal(of.loose.length, 2);
  assert.equal(of.all.length, 5, "also those of a circle");
  assert.ok(of.byId.get("lost")!.orphan);
  assert.equal(rows(of, new Set(["root"]), true).filter((r) => r.kind === "span").length, 4);
});

test("five thousand spans are laid out at once", () => {
  const spans = Array.from({ length: 5000 }, (_, i) => spanOf(`s${i}`, i === 0 ? null : `s${Math.floor((i - 1) / 4)}`, i, 10_000 - i));
  const started = performance.now();
  assert.equal(tree(spans, []).all.length, 5000);
  assert.ok(performance.now() - started < 2000);
});

test("two traces differ where one took longer", () => {
  const a = tree([spanOf("root", null, 0, 100), spanOf("db", "root", 10, 20)], []);
  const b = tree([spanOf("root", null, 0, 180), spanOf("db", "root", 10, 90)], []);
  const [first] = compare(a, b);
  assert.deepEqual([first?.name, first?.self], ["db", [20, 90]]);
});

test("a heat map holds every span once", () => {
  const bucket = { count: 3, errors: 1, p50_us: 0, p95_us: 0, p99_us: 0, at_ms: 1000, classes: [[100, 2], [5000, 1]] as [number, number][] };
  const of = heat({ since_ms: 0, until_ms: 4000, step_ms: 1000, buckets: [bucket], cut_at_ms: null });
  assert.equal(of.cells.reduce((n, c) => n + c.count, 0), 3);
  assert.deepEqual(of.errors, [0, 1, 0, 0]);
  assert.ok(of.cells.every((c) => c.row >= 0 && c.row < of.bounds.length && c.column === 1));
  assert.equal(heat({ since_ms: 0, until_ms: 10, step_ms: 1, buckets: [], cut_at_ms: null }).total, 0);
  assert.deepEqual([written(0.5), written(1500), written(2_000_000)], ["0.5us", "1.5ms", "2s"]);
});

test("a story is told in the order of time, with what could not be delivered", () => {
  const trace = { trace_id: "t", service: "web", name: "GET /", start_us: 2_000_000, duration_us: 1, spans: 1, errors: 0, services: {} };
  const event = { topic: "a.b", seq: 1, at_ms: 2000, event: { id: "e1", source: "/services/orders" } };
  const dead = { id: "d", topic: "a.b", subscriber: "mail", reason: "no", attempts: 1, first_at_ms: 0, last_at_ms: 0, state: "dead", event_id: "e1", event_type: null, event_source: null };
  const workflow = { service: "orders", id: "k-1", name: "order", version: null, status: "running", created_at_ms: 2000, updated_at_ms: null, ended_at_ms: null, scheduled_at_ms: null, parent: null, custom_status: null, parked: null, tags: {} };
  const told = story({ key: "k", traces: [trace], logs: [{ at_ms: 1, service: "web", instance: "web-0", stream: "stdout", level: null, message: "m" }], events: [event], dead: [dead], workflows: [workflow], cut: false });
  assert.deepEqual(told.map((e) => e.kind), ["log", "trace", "workflow", "event"]);
  assert.ok(told[3]?.kind === "event" && told[3].dead.length === 1 && told[3].service === "orders");
});

test("a history is bars: with how long each took, which attempt it was, and what goes on", () => {
  const of = (at_ms: number, kind: string, event_id: number, more: Partial<WorkflowEvent> = {}): WorkflowEvent => ({ event_id, at_ms, kind, name: null, of: null, service: null, about: null, payload: null, payload_bytes: null, failure: null, ...more });
  const line = timeline(
    [
      of(100, "turn", -1),
      of(100, "started", -1, { name: "order" }),
      of(110, "activity scheduled", 0, { name: "pay", payload: "1" }),
      of(150, "activity failed", -1, { of: 0, failure: "no" }),
      of(160, "timer created", 1, { about: "260" }),
      of(260, "timer fired", -1, { of: 1 }),
      of(261, "activity scheduled", 2, { name: "pay", payload: "1" }),
      of(262, "activity scheduled", 3, { name: "pay", payload: "2" }),
      of(300, "event raised", -1, { name: "paid" }),
    ],
    1100,
  );
  assert.deepEqual([line.from, line.to, line.turns], [100, 1100, [100]]);
  assert.deepEqual(
    line.lanes.map((l) => [l.kind, l.name, l.attempt, l.state, l.to]),
    [
      ["activity", "pay", 1, "failed", 150],
      ["timer", "timer", 1, "completed", 260],
      ["activity", "pay", 2, "open", null],
      ["activity", "pay", 1, "open", null],
      ["event", "paid", 1, "completed", 300],
    ],
  );
  assert.deepEqual(timeline([], 5).lanes, []);
  const { at, cuts } = scale(line);
  assert.deepEqual([at(100), at(1100), at(-5), at(5000)], [0, 1, 0, 1]);
  assert.deepEqual(cuts, [], "what works all the while is not cut");
  const waits = timeline([of(0, "turn", -1), of(0, "activity scheduled", 0, { name: "pay" }), of(100, "activity completed", -1, { of: 0 })], 86_400_000);
  const drawn = scale(waits);
  assert.equal(drawn.cuts[0]?.ms, 86_400_000 - 100);
  assert.ok(Math.abs(drawn.at(100) - 0.7) < 0.01, `${drawn.at(100)}`);
  assert.deepEqual([scale(timeline([], 5)).at(5), scale(timeline([], 5)).at(0)].every(Number.isFinite), true);
});

test("the scale of a plot ends at a round number", () => {
  assert.deepEqual([0, 0.7, 1, 1.2, 95, 3400].map(ceiling), [1, 0.8, 1, 1.5, 100, 4000]);
});

test("a question of several words arrives as it was asked", () => {
  assert.equal(address("/traces", { query: "a:b c+d", limit: 5, none: undefined, service: ["x", "y"] }), "/api/v1/traces?query=a%3Ab%20c%2Bd&limit=5&service=x&service=y");
});

test("bars show when an alert fired, also what began before and goes on", () => {
  const event = (at_ms: number, state: string, service = "a") => ({ at_ms, state, rule: "r", labels: { service }, summary: "" });
  // Newest first, as it is told.
  const history = [event(350, "firing", "b"), event(220, "resolved"), event(110, "firing"), event(20, "resolved", "c")];
  assert.deepEqual(firedIn(history, true, 0, 100, 5), [true, true, true, true, true]);
  assert.deepEqual(firedIn(history, false, 0, 100, 5), [true, true, true, false, false]);
  assert.deepEqual(firedIn([], false, 0, 100, 2), [false, false]);
  assert.equal(labelled({ service: "a", topic: "t" }), "service a, topic t");
});

test("an alert needs attention unless it is silenced or explained", () => {
  const alert = { rule: "r", labels: { service: "a" }, severity: "page", state: "firing", since_ms: 0, summary: "s", description: null, link: "/x", told: [], silence: null, explained: null };
  const found = (change: object) => concerns(null, null, totals(new Map()), [], [{ ...alert, ...change }]).map((c) => c.title);
  assert.deepEqual(found({}), ["Alert: r (a)"]);
  for (const quiet of [{ silence: "sil_1" }, { explained: "b is down" }, { state: "pending" }]) assert.deepEqual(found(quiet), []);
});
