import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { DeadLetter, DeadLetterWhole, StoredEvent, Subscriber, Topic } from "../api.ts";
import { get, lines, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, bytes, count, plural, short, span } from "../format.ts";
import { Code, Empty, Failed, Json, Page, Panel, ServiceLink, State, Sure, Time } from "../parts.tsx";
import { plainly } from "../reason.ts";
import { A, go, query, withQuery } from "../router.tsx";
import { message, now, tell, topics } from "../state.ts";
import { Publish } from "./publish.tsx";

const dead = () => (topics.value?.topics ?? []).flatMap((t) => t.subscribers).reduce((n, s) => n + s.dead, 0);

/** More topics than this are shown when asked for by name. */
const MOST = 150;

export function Events() {
  const all = topics.value?.topics ?? [];
  const words = query.value.get("q") ?? "";
  const found = all.filter((t) => t.name.includes(words) || t.publisher?.includes(words) || t.subscribers.some((s) => s.service.includes(words)));
  const late = (t: Topic) => t.subscribers.reduce((n, s) => n + s.dead * 1e9 + s.lag, 0);
  const shown = found.length > MOST ? found.sort((a, b) => late(b) - late(a)).slice(0, MOST) : found;
  const lag = all.flatMap((t) => t.subscribers).reduce((n, s) => n + s.lag, 0);
  return (
    <Page
      title="Events"
      lead={`${plural(all.length, "topic")}, ${plural(all.reduce((n, t) => n + t.events, 0), "event")} kept, ${lag === 0 ? "all delivered" : `${short(lag)} on their way`}`}
      actions={
        <A class={`button ${dead() > 0 ? "alarm" : ""}`} href="/events/dead">
          {dead() > 0 ? plural(dead(), "dead letter") : "Dead letters"}
        </A>
      }
    >
      {all.length > 12 && (
        <div class="tools">
          <input type="search" placeholder="Filter by topic or service" aria-label="filter by name" data-search value={words} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
        </div>
      )}
      {all.length === 0 ? (
        <Empty title="No topic is declared" code={'[services.orders]\npublishes = ["order.placed"]\n\n[services.mail.subscribes]\n"order.placed" = { path = "/events" }'}>
          An event that one service publishes is kept, and delivered to every subscriber at least once, also after a crash.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Topic</th>
                <SubscriberHeads />
              </tr>
            </thead>
            {shown.map((topic) => (
              <TopicRows key={topic.name} topic={topic} />
            ))}
          </table>
          {found.length > shown.length && <p class="more">{found.length - shown.length} more, with nothing late: filter by name to see them.</p>}
        </div>
      )}
    </Page>
  );
}

function TopicRows({ topic }: { topic: Topic }) {
  const head = (
    <th scope="rowgroup" rowSpan={Math.max(topic.subscribers.length, 1)} class="group">
      <A class="row-link" href={`/events/${topic.name}`}>
        {topic.name}
      </A>
      <p class="why">
        {topic.publisher ? `from ${topic.publisher}` : "nobody publishes it"} · {plural(topic.events, "event")} · {bytes(topic.bytes)}
      </p>
    </th>
  );
  return (
    <tbody>
      {topic.subscribers.length === 0 && (
        <tr>
          {head}
          <td colSpan={9} class="dim">
            no subscriber
          </td>
        </tr>
      )}
      {topic.subscribers.map((s, i) => (
        <tr key={s.service}>
          {i === 0 && head}
          <SubscriberCells topic={topic.name} s={s} grouped />
        </tr>
      ))}
    </tbody>
  );
}

function SubscriberHeads() {
  return (
    <>
      <th>Subscriber</th>
      <th>State</th>
      <th class="num">Lag</th>
      <th class="num">Oldest</th>
      <th class="num">In flight</th>
      <th class="num">Held back</th>
      <th class="num">Delivered</th>
      <th class="num">Failed tries</th>
      <th class="num">Dead</th>
    </>
  );
}

function SubscriberCells({ topic, s, grouped = false }: { topic: string; s: Subscriber; grouped?: boolean }) {
  const late = (s.oldest_age_ms ?? 0) > 30_000;
  return (
    <>
      <td class={grouped ? "inner" : ""}>
        <ServiceLink name={s.service} />
      </td>
      <td>
        <State state={s.state} />
      </td>
      <td class={`num ${s.lag > 0 ? (late ? "bad-text" : "") : "dim"}`}>{short(s.lag)}</td>
      <td class="num">{s.lag > 0 && s.oldest_age_ms !== null ? span(s.oldest_age_ms) : <span class="dim">–</span>}</td>
      <td class="num">{s.inflight}</td>
      <td class={`num ${s.parked > 0 ? "warn-text" : "dim"}`}>{s.parked}</td>
      <td class="num">{short(s.delivered)}</td>
      <td class={`num ${s.failed_attempts > 0 ? "" : "dim"}`}>{short(s.failed_attempts)}</td>
      <td class="num">
        {s.dead > 0 ? (
          <A class="bad-text" href={`/events/dead?topic=${topic}&subscriber=${s.service}`}>
            {count(s.dead)}
          </A>
        ) : (
          <span class="dim">0</span>
        )}
      </td>
    </>
  );
}

const PAGE = 50;

export function TopicPage({ name }: { name: string }) {
  const topic = topics.value?.topics.find((t) => t.name === name);
  const fixed = Number(query.value.get("from")) || null;
  const next = topic?.next ?? 1;
  const from = Math.max(topic?.first ?? 1, fixed ?? next - PAGE);
  const { state, again } = useAsked<StoredEvent[]>(
    (signal) => (topic ? lines("/events/topics/" + encodeURIComponent(name), { from, tail: PAGE }, signal) : Promise.resolve([])),
    `${name} ${from} ${fixed ? "" : next}`,
  );
  const open = Number(query.value.get("event")) || null;
  if (!topic) {
    return (
      <Page title={name}>
        <Empty title={`There is no topic «${name}»`}>
          <A href="/events">All topics</A>
        </Empty>
      </Page>
    );
  }
  const events = [...(state.value.data ?? [])].reverse();
  const shown = events.find((e) => e.seq === open);
  const publishing = query.value.get("publish") !== null;
  return (
    <Page
      title={name}
      lead={
        <>
          {topic.publisher ? <>from <ServiceLink name={topic.publisher} /></> : "nobody publishes it"} · {plural(topic.events, "event")} kept for{" "}
          {topic.retain_ms > 0 ? span(topic.retain_ms) : "ever"} · {bytes(topic.bytes)}
        </>
      }
      actions={
        <A class="button" href={withQuery({ publish: publishing ? null : "1" })} aria-expanded={publishing}>
          Publish…
        </A>
      }
    >
      {publishing && <Publish topic={name} subscribers={topic.subscribers.map((s) => s.service)} />}
      <Panel title="Subscriptions">
        {topic.subscribers.length === 0 ? (
          <Empty title="Nobody subscribes" code={`[services.another.subscribes]\n"${name}" = { path = "/events" }`} />
        ) : (
          <div class="scroll">
            <table class="tight">
              <thead>
                <tr>
                  <SubscriberHeads />
                  <th />
                </tr>
              </thead>
              <tbody>
                {topic.subscribers.map((s) => (
                  <tr key={s.service}>
                    <SubscriberCells topic={name} s={s} />
                    <td class="end">
                      <Sure
                        label="Replay"
                        class="quiet"
                        ask={`Deliver ${fixed ? `everything from number ${from}` : `all ${plural(topic.events, "event")}`} to ${s.service} again?`}
                        yes="Deliver again"
                        act={() => void replayFrom(name, s.service, fixed ? from : topic.first)}
                      />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <Panel
        title="Events"
        aside={
          <span class="chips">
            <A class="chip" href={withQuery({ from: String(Math.max(topic.first, from - PAGE)), event: null })} aria-disabled={from <= topic.first}>
              Older
            </A>
            <A class="chip" href={withQuery({ from: from + PAGE >= next ? null : String(from + PAGE), event: null })} aria-disabled={from + PAGE >= next}>
              Newer
            </A>
            <A class="chip" href={withQuery({ from: null, event: null })} aria-current={fixed ? undefined : "true"}>
              Newest
            </A>
          </span>
        }
      >
        {state.value.error !== null && <Failed error={state.value.error} again={again} />}
        {events.length === 0 && !state.value.loading ? (
          <Empty title="No event yet" code={`archipel events publish ${name} '{"hello": "world"}'`}>
            What {topic.publisher ?? "its publisher"} publishes stands here, newest first.
          </Empty>
        ) : (
          <div class="split">
            <div class="scroll">
              <table class="tight">
                <thead>
                  <tr>
                    <th class="num fit">Number</th>
                    <th>Time</th>
                    <th>Id</th>
                    <th>Data</th>
                  </tr>
                </thead>
                <tbody>
                  {events.map((e) => (
                    <tr key={e.seq} class={e.seq === open ? "chosen" : ""}>
                      <td class="num">
                        <A class="row-link" href={withQuery({ event: e.seq === open ? null : String(e.seq) })}>
                          {e.seq}
                        </A>
                      </td>
                      <td>
                        <Time at={e.at_ms} />
                      </td>
                      <td class="mono clip">{String(e.event?.id ?? "")}</td>
                      <td class="mono clip wide-clip">{JSON.stringify(e.event?.data ?? e.event)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            {shown && (
              <aside class="side" aria-label={`event ${shown.seq}`}>
                <button type="button" class="quiet close" aria-label="close" onClick={() => go(withQuery({ event: null }))}>
                  ✕
                </button>
                <h2>Event {shown.seq}</h2>
                <p class="dim">
                  <Time at={shown.at_ms} date />
                </p>
                <Json value={shown.event} />
                <p class="links">
                  <A href={`/find/${encodeURIComponent(String(shown.event?.id ?? ""))}`}>All that names it</A>
                  <A href={withQuery({ from: String(shown.seq) })}>From here on</A>
                </p>
              </aside>
            )}
          </div>
        )}
      </Panel>
    </Page>
  );
}

async function replayFrom(topic: string, subscriber: string, from: number): Promise<void> {
  try {
    await post("/events/replay", { topic, subscriber, from });
    tell(true, `${topic} goes to ${subscriber} again, from number ${from}`);
  } catch (error) {
    tell(false, message(error));
  }
}

export function DeadLetters() {
  const topic = query.value.get("topic") ?? "";
  const subscriber = query.value.get("subscriber") ?? "";
  const total = dead();
  const { state, again } = useAsked<{ dead: DeadLetter[] }>(
    (signal) => get("/events/dead", { topic, subscriber }, signal),
    `${topic} ${subscriber} ${total}`,
    4000,
  );
  const letters = state.value.data?.dead ?? [];
  const picked = useSignal<ReadonlySet<string>>(new Set());
  const open = query.value.get("letter");
  const chosen = useComputed(() => letters.filter((l) => picked.value.has(l.id)).map((l) => l.id));
  useEffect(() => {
    picked.value = new Set([...picked.value].filter((id) => letters.some((l) => l.id === id)));
  }, [state.value.data]);
  const act = async (what: "replay" | "discard", ids: string[]) => {
    try {
      await post(`/events/${what}`, { ids });
      tell(true, what === "replay" ? `${plural(ids.length, "event")} on the way again` : `${plural(ids.length, "dead letter")} discarded`);
      picked.value = new Set();
    } catch (error) {
      tell(false, message(error));
    }
    again();
  };
  const flip = (id: string) => {
    const set = new Set(picked.value);
    if (!set.delete(id)) set.add(id);
    picked.value = set;
  };
  const ids = letters.filter((l) => picked.value.has(l.id)).map((l) => l.id);
  return (
    <Page
      title="Dead letters"
      lead="Events that could not be delivered, with the reason. Nothing is lost: mend the cause, then replay."
      actions={
        ids.length > 0 && (
          <>
            <button type="button" class="primary" onClick={() => void act("replay", ids)}>
              Replay {ids.length}
            </button>
            <Sure label={`Discard ${ids.length}`} ask={`Discard ${plural(chosen.value.length, "event")} for good?`} yes="Discard" act={() => void act("discard", ids)} />
          </>
        )
      }
    >
      {(topic || subscriber) && (
        <p class="filters">
          Only {topic} {subscriber && `→ ${subscriber}`} · <A href="/events/dead">all of them</A>
        </p>
      )}
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {letters.length === 0 && !state.value.loading ? (
        <Empty title="No dead letter" code="archipel events dead">
          An event ends here when its subscriber refuses it for good (4xx), or when every attempt failed. Its reason and its content are kept.
        </Empty>
      ) : (
        <div class="split">
          <div class="scroll">
            <table class="list">
              <thead>
                <tr>
                  <th>
                    <input
                      type="checkbox"
                      aria-label="all"
                      checked={ids.length === letters.length && letters.length > 0}
                      onChange={(e) => (picked.value = new Set(e.currentTarget.checked ? letters.map((l) => l.id) : []))}
                    />
                  </th>
                  <th>Reason</th>
                  <th>Topic → subscriber</th>
                  <th class="num">Tries</th>
                  <th>Died</th>
                  <th />
                </tr>
              </thead>
              <tbody>
                {letters.map((l) => (
                  <tr key={l.id} class={open === l.id ? "chosen" : ""}>
                    <td>
                      <input type="checkbox" aria-label={`choose ${l.event_id ?? l.id}`} checked={picked.value.has(l.id)} onChange={() => flip(l.id)} />
                    </td>
                    <th scope="row">
                      <A class="row-link reason" href={withQuery({ letter: open === l.id ? null : l.id })}>
                        {plainly(l.reason)}
                      </A>
                      <p class="why mono">{l.event_id}</p>
                    </th>
                    <td>
                      <A href={`/events/${l.topic}`}>{l.topic}</A> → {l.subscriber || "nobody"}
                    </td>
                    <td class="num">{l.attempts}</td>
                    <td title={new Date(l.last_at_ms).toISOString()}>{ago(l.last_at_ms, now.value)}</td>
                    <td class="end">
                      {l.state === "replaying" ? (
                        <State state="replaying" />
                      ) : (
                        <button type="button" class="quiet" onClick={() => void act("replay", [l.id])}>
                          Replay
                        </button>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {open && <Letter id={open} replay={() => void act("replay", [open])} />}
        </div>
      )}
    </Page>
  );
}

function Letter({ id, replay }: { id: string; replay: () => void }) {
  const { state } = useAsked<DeadLetterWhole>((signal) => get(`/events/dead/${encodeURIComponent(id)}`, {}, signal), id);
  const letter = state.value.data;
  return (
    <aside class="side" aria-label="dead letter">
      <button type="button" class="quiet close" aria-label="close" onClick={() => go(withQuery({ letter: null }))}>
        ✕
      </button>
      {state.value.error !== null && <Failed error={state.value.error} />}
      {letter && letter.id === id && (
        <>
          <h2>{letter.event_type ?? letter.topic}</h2>
          <p class="why">{plainly(letter.reason)}</p>
          {letter.state === "dead" && (
            <p class="links">
              <button type="button" class="primary" onClick={replay}>
                Replay this event
              </button>
            </p>
          )}
          <dl class="facts">
            <dt>First try</dt>
            <dd>
              <Time at={letter.first_at_ms} date />
            </dd>
            <dt>Last try</dt>
            <dd>
              <Time at={letter.last_at_ms} date />
            </dd>
            <dt>From</dt>
            <dd>{letter.event_source ?? "–"}</dd>
          </dl>
          {plainly(letter.reason) !== letter.reason && (
            <details class="folded">
              <summary>The whole reason</summary>
              <Json value={letter.reason} />
            </details>
          )}
          <Json value={letter.event} />
          <p class="links">
            <A href={`/logs?service=${letter.subscriber}&at=${letter.last_at_ms}`}>What {letter.subscriber} wrote then</A>
          </p>
          <Code text={`archipel events replay ${letter.id}`} />
        </>
      )}
    </aside>
  );
}

