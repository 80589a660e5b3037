// What needs attention now, worst first: a pure function of what is known.

import type { Alert, Job, Status, Topics } from "./api.ts";
import { bytes, count, ms, percent, plural, span } from "./format.ts";
import { term } from "./terms.ts";
import type { Totals, Tracked } from "./traffic.ts";

export interface Concern {
  weight: "bad" | "warn";
  title: string;
  detail: string;
  /** Where the cause can be seen. */
  href: string;
  lines?: string[];
}

/** Older than this, an event that is not delivered is late. */
const LATE_MS = 30_000;
/** So many restarts, and not ready, is no accident. */
const OFTEN = 3;
/** So long after it, an end for its memory is still news. */
const MEMORY_NEWS_MS = 3_600_000;
/** A share of failures, and a rate below which one failure is no share. */
const FAILING = 0.02;
/** A service that takes longer than this for half of its answers is waited for by somebody. Half,
 *  because an event stream is counted until its end, and is no slow answer. */
const SLOW_MS = 250;
/** Requests a second below which one answer would be half of them. */
const SLOW_RATE_MIN = 0.4;

export function concerns(
  status: Status | null,
  topics: Topics | null,
  totals: Totals,
  jobs: Job[] = [],
  alerts: Alert[] = [],
  series: Iterable<Tracked> = [],
  now = Date.now(),
): Concern[] {
  const moving = [...series].filter((s) => s.kind !== "archipel" && s.callee !== null && s.rate > 0);
  const found: Concern[] = [];
  const add = (weight: Concern["weight"], title: string, detail: string, href: string, lines?: string[]) =>
    found.push(lines && lines.length > 0 ? { weight, title, detail, href, lines } : { weight, title, detail, href });
  for (const problem of status?.problems ?? []) add("bad", "Archipel", problem, "/settings");
  if (status?.gateway?.error) add("bad", "The gateway does not listen", status.gateway.error, "/gateway");
  for (const s of status?.services ?? []) {
    const href = `/services/${s.name}`;
    if (s.needs_a_person) {
      add("bad", `${s.name} is ${words(s.state)}`, s.reason ?? "It will not get well by waiting.", href, telling(s.last_lines));
    } else if (["failed", "backing-off", "degraded"].includes(s.state)) {
      add("warn", `${s.name} is ${words(s.state)}`, s.reason ?? "", href, telling(s.last_lines));
    }
    const unlucky = s.instances.find((i) => i.last_exit !== null && i.state !== "ready");
    if (!s.needs_a_person && s.restarts >= OFTEN && unlucky && ["pending", "starting"].includes(s.state)) {
      // Between two failures it looks as if it were just starting.
      add("bad", `${s.name} keeps ending`, `started again ${plural(s.restarts, "time")}, last ${unlucky.last_exit}`, href, telling(s.last_lines));
    }
    // What has a limit of its own per instance is near it as a whole when each is.
    const limit = (s.memory_limit ?? 0) * Math.max(s.instances.length, 1);
    const ended = s.instances.find((i) => i.last_exit?.includes("memory limit") && now - (i.started_at_ms ?? now) < MEMORY_NEWS_MS);
    const grown = `${href}?range=15m`;
    if (ended) {
      add("bad", `${s.name} ran out of memory`, `${ended.last_exit}; started again ${plural(s.restarts, "time")}, ${bytes(s.memory_bytes)} now`, grown);
    } else if (limit > 0 && s.memory_bytes > 0.9 * limit) {
      add("warn", `${s.name} is near its memory limit`, `${bytes(s.memory_bytes)} of ${bytes(limit)}`, grown);
    }
  }
  const fails = (of: { failing: number; rate: number }) => of.failing > 0 && of.failing / of.rate > FAILING;
  /** Whom `name` calls where that goes wrong: there the cause is, or behind it. */
  const behind = (name: string, wrong: (s: Tracked) => boolean) => [...new Set(moving.filter((s) => s.caller === name && wrong(s)).map((s) => s.callee))].join(", ");
  const unwell = new Set((status?.services ?? []).filter((s) => ["failed", "backing-off", "stopped"].includes(s.state)).map((s) => s.name));
  for (const [name, sum] of totals.into) {
    if (!fails(sum)) continue;
    const what = `${name} fails ${percent(sum.failing, sum.rate)} of its requests`;
    const cause = behind(name, fails);
    if (cause !== "") add("warn", what, `because of ${cause}, which it calls`, `/traces?q=${question("service", name, "status:error")}`);
    // What does not run has been named, unless somebody stopped it.
    else if (!unwell.has(name)) add("bad", what, `in the last ten seconds; ${plural(sum.by_class[5] ?? 0, "failed answer")} since start`, `/traces?q=${question("service", name, "status:error")}`);
    else if (status?.services.some((s) => s.name === name && s.state === "stopped")) add("bad", `${name} is stopped, and still asked for`, `${percent(sum.failing, sum.rate)} of its requests fail`, `/services/${name}`);
  }
  const cut = new Map<string, Tracked[]>();
  for (const s of moving.filter((s) => s.breaker_open)) cut.set(s.callee!, [...(cut.get(s.callee!) ?? []), s]);
  for (const [name, by] of cut) {
    if (unwell.has(name)) continue;
    const stood = by.reduce((n, s) => n + s.fallbacks, 0);
    const detail = `too many of its answers failed or came late, so the breaker is open${stood > 0 ? `; ${plural(stood, "answer")} stood in for it since start` : ""}`;
    add("bad", `${name} is cut off from ${[...new Set(by.map((s) => s.caller ?? "the outside"))].join(", ")}`, detail, `/traces?q=${question("service", name, `(duration>${SLOW_MS}ms OR status:error)`)}&sort=duration&range=15m`);
  }
  const slow = (s: Tracked) => s.rate >= SLOW_RATE_MIN && (s.p50_ms ?? 0) > SLOW_MS;
  const late = new Map<string, Tracked>();
  for (const s of moving) {
    if (slow(s) && !fails(s) && !cut.has(s.callee!) && (s.p50_ms ?? 0) > (late.get(s.callee!)?.p50_ms ?? 0)) late.set(s.callee!, s);
  }
  for (const [name, s] of late) {
    if (behind(name, slow) !== "") continue;
    add("warn", `${name} is slow`, `half of its answers to ${s.caller ?? "the outside"} take ${ms(s.p50_ms)} or more, and it waits for nobody else`, `/traces?q=${question("service", name, `duration>${SLOW_MS}ms`)}&sort=duration&range=15m`);
  }
  for (const topic of topics?.topics ?? []) {
    for (const s of topic.subscribers) {
      const who = `${topic.name} → ${s.service}`;
      if (s.dead > 0) {
        add("bad", plural(s.dead, "dead letter"), who, `/events/dead?topic=${topic.name}&subscriber=${s.service}`);
      }
      if (s.lost > 0) add("bad", `${count(s.lost)} events were lost to retention`, who, `/events/${topic.name}`);
      if (s.lag > 0 && (s.oldest_age_ms ?? 0) > LATE_MS) {
        add(
          "warn",
          `${plural(s.lag, "event")} behind, the oldest for ${span(s.oldest_age_ms ?? 0)}`,
          `${who}${s.parked > 0 ? `; ${plural(s.parked, "key")} held back` : ""}`,
          `/events/${topic.name}`,
        );
      }
    }
  }
  for (const outbox of topics?.outboxes ?? []) {
    // What is not there has been named.
    if (outbox.problem && outbox.problem !== "no instance is ready") add("warn", `The outbox of ${outbox.service} cannot be pulled`, outbox.problem, `/services/${outbox.service}`);
  }
  for (const job of jobs) {
    if (job.last && job.last.exit_code !== 0) add("warn", `Job ${job.name} failed`, job.last.outcome, "/jobs");
  }
  for (const alert of alerts) {
    if (alert.state !== "firing" || alert.silence !== null || alert.explained !== null) continue;
    // Of what is seen from here as well, once is enough.
    if (found.some((c) => c.href.replace("?range=15m", "") === alert.link)) continue;
    const of = Object.values(alert.labels).join(", ");
    add(alert.severity === "page" ? "bad" : "warn", `Alert: ${alert.rule}${of ? ` (${of})` : ""}`, alert.summary, alert.link);
  }
  // Stable: within one weight the order of the parts stays.
  return found.sort((a, b) => (a.weight === b.weight ? 0 : a.weight === "bad" ? -1 : 1));
}

const question = (key: string, value: string, and: string) => encodeURIComponent(`${term(key, value)} ${and}`.trim());

/** Four lines: the last ones, or the head of the stack trace that they end in the middle of. */
export function telling(lines: string[]): string[] {
  const head = lines.findLastIndex((line) => !/^(\s|at |Caused by:|\.\.\. )/.test(line));
  return head >= 0 && head < lines.length - 4 ? lines.slice(head, head + 4) : lines.slice(-4);
}

export function words(state: string): string {
  return state.replace(/-/g, " ");
}
