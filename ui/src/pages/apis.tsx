import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Api, Apis as All, Operation, Sent } from "../api.ts";
import { get, postLines } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, ms, plural } from "../format.ts";
import { Empty, Failed, Json, Page, Panel, ServiceLink, State } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { message, services } from "../state.ts";
import { pairs } from "./publish.tsx";
import "../style/look.css";

export function Apis() {
  const { state, again } = useAsked<All>((signal) => get("/apis", {}, signal), "", 30_000);
  const all = state.value.data?.apis ?? [];
  const words = (query.value.get("q") ?? "").toLowerCase();
  const shown = all.filter((api) => api.service.includes(words));
  const told = all.filter((api) => api.file !== null).length;
  return (
    <Page title="API explorer" lead={state.value.data ? `${told} of ${plural(all.length, "service")} with a contract` : " "}>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {state.value.data && told === 0 && (
        <Empty title="No service declares a contract" code={'[services.orders]\napi = "openapi.yaml"'}>
          With one, each operation gets a form here. A service without is asked for /openapi.json; and requests can be written by hand.
        </Empty>
      )}
      {all.length > 12 && (
        <div class="tools">
          <input type="search" placeholder="Filter by name" aria-label="filter by name" data-search value={words} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
        </div>
      )}
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th>Service</th>
              <th>State</th>
              <th>Speaks</th>
              <th>Contract</th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, 300).map((api) => (
              <tr key={api.service}>
                <th scope="row">
                  <A class="row-link" href={`/apis/${api.service}`}>
                    {api.service}
                  </A>
                </th>
                <td>
                  <State state={services.value.get(api.service)?.state ?? "stopped"} />
                </td>
                <td>{api.protocol}</td>
                <td class="mono">{api.file ?? <span class="dim">none declared</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {shown.length > 300 && <p class="more">{shown.length - 300} more: filter by name to see them.</p>}
      </div>
    </Page>
  );
}

const keyOf = (of: Operation) => `${of.method} ${of.path}`;

export function ApiPage({ service }: { service: string }) {
  const { state, again } = useAsked<Api>((signal) => get(`/apis/${encodeURIComponent(service)}`, {}, signal), service);
  const api = state.value.data;
  const words = (query.value.get("q") ?? "").toLowerCase();
  const asked = query.value.get("op");
  const found = (api?.operations ?? []).filter((of) => `${keyOf(of)} ${of.summary ?? ""} ${of.tags.join(" ")}`.toLowerCase().includes(words));
  const chosen = api?.operations.find((of) => keyOf(of) === asked) ?? null;
  const byHand = asked === "by-hand" || (api !== null && api.operations.length === 0);
  return (
    <Page
      title={api?.title ? `${api.title}${api.version ? ` ${api.version}` : ""}` : service}
      lead={
        api ? (
          <>
            <ServiceLink name={service} />
            {api.source && <>, by <code>{api.source}</code>, {plural(api.operations.length, "operation")}</>}
          </>
        ) : (
          " "
        )
      }
      actions={
        <>
          {!byHand && (
            <A class="button" href={withQuery({ op: "by-hand" })}>
              Write a request
            </A>
          )}
          <A class="button" href="/apis">
            All services
          </A>
        </>
      }
    >
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {api?.problem && (
        <div class="why-box">
          <strong>No contract to show</strong>
          <p>{api.problem}</p>
        </div>
      )}
      <div class={api && api.operations.length > 0 ? "with-tables" : ""}>
        {api && api.operations.length > 0 && (
          <nav class="tables operations" aria-label="operations">
            <input type="search" placeholder="Filter" aria-label="filter operations" data-search value={query.value.get("q") ?? ""} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
            {found.map((of) => (
              <A key={keyOf(of)} href={withQuery({ op: keyOf(of) })} aria-current={of === chosen ? "true" : undefined}>
                <span class="mono break">
                  <b class={`verb ${of.method.toLowerCase()}`}>{of.method}</b> <span class={of.deprecated ? "struck" : ""}>{of.path}</span>
                </span>
                <small>{of.summary}</small>
              </A>
            ))}
            {found.length === 0 && <p class="dim">No operation matches.</p>}
          </nav>
        )}
        <div class="stack">
          {chosen && <Try key={keyOf(chosen)} service={service} of={chosen} />}
          {byHand && <Try key="by-hand" service={service} of={BY_HAND} byHand />}
          {api && !chosen && !byHand && (
            <Empty title="Choose an operation">Its form comes from the contract. A request goes to the service from Archipel itself, by the data plane: balanced, counted and traced as any other.</Empty>
          )}
        </div>
      </div>
    </Page>
  );
}

const BY_HAND: Operation = { method: "GET", path: "/", summary: null, description: null, tags: [], deprecated: false, secured: false, parameters: [], body: { media_type: "application/json", required: false, example: null, schema: null }, answers: {} };
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

function Try({ service, of, byHand = false }: { service: string; of: Operation; byHand?: boolean }) {
  const answer = useSignal<Sent | null>(null);
  const failed = useSignal<string | null>(null);
  const busy = useSignal(false);
  const going = useRef<AbortController | null>(null);
  // Who leaves the page ends the request.
  useEffect(() => () => going.current?.abort(), []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const field = (name: string) => String(form.get(name) ?? "").trim();
    busy.value = true;
    failed.value = null;
    try {
      let path = byHand ? field("path") : of.path;
      const headers = pairs(field("headers"));
      const words = new URLSearchParams();
      for (const p of of.parameters) {
        const value = field(`${p.in}:${p.name}`);
        if (value === "") continue;
        if (p.in === "path") path = path.split(`{${p.name}}`).join(encodeURIComponent(value));
        else if (p.in === "query") words.append(p.name, value);
        else if (p.in === "header") headers[p.name] = value;
        else if (p.in === "cookie") headers.cookie = [headers.cookie, `${p.name}=${value}`].filter(Boolean).join("; ");
      }
      const text = words.toString();
      if (text) path += `?${text}`;
      const body = field("body");
      if (of.body && body !== "" && !Object.keys(headers).some((name) => name.toLowerCase() === "content-type")) headers["content-type"] = of.body.media_type;
      answer.value = null;
      going.current = new AbortController();
      const request = { method: byHand ? field("method") : of.method, path, headers, ...(body === "" ? {} : { body }) };
      for await (const part of postLines<Sent>(`/apis/${encodeURIComponent(service)}/send`, request, going.current.signal)) {
        answer.value = { ...part, body: (answer.peek()?.body ?? "") + part.body };
      }
    } catch (error) {
      // Stopped, with what came until then in the page.
      if (!going.current?.signal.aborted) failed.value = message(error);
    }
    if (answer.value?.open) answer.value = { ...answer.value, open: false };
    busy.value = false;
  };
  return (
    <>
      <Panel
        title={
          byHand ? (
            "A request by hand"
          ) : (
            <span class="mono break">
              <b class={`verb ${of.method.toLowerCase()}`}>{of.method}</b> {of.path}
            </span>
          )
        }
        aside={of.secured ? "asks for a login: give it as a header" : ""}
      >
        {(of.summary || of.description) && (
          <p class="note">
            {of.summary && <strong>{of.summary}</strong>}
            {of.description && <span class="prose">{of.description}</span>}
          </p>
        )}
        <form class="form" onSubmit={(e) => void submit(e)}>
          {byHand && (
            <>
              <label>
                Method
                <select name="method">
                  {METHODS.map((name) => (
                    <option key={name}>{name}</option>
                  ))}
                </select>
              </label>
              <label>
                Path
                <input name="path" required defaultValue="/" autocomplete="off" />
              </label>
            </>
          )}
          {of.parameters.map((p) => (
            <label key={`${p.in}:${p.name}`}>
              <span>
                <code>{p.name}</code> {p.required && <span class="tag">required</span>}{" "}
                <small class="dim">
                  {p.in}, {p.kind}
                </small>
              </span>
              {p.choices.length > 0 ? (
                <select name={`${p.in}:${p.name}`}>
                  {!p.required && <option value="" />}
                  {p.choices.map((one) => (
                    <option key={one}>{one}</option>
                  ))}
                </select>
              ) : (
                <input name={`${p.in}:${p.name}`} required={p.required} defaultValue={p.required ? (p.example ?? "") : ""} placeholder={p.example ?? ""} autocomplete="off" />
              )}
              {p.description && <small class="dim">{p.description}</small>}
            </label>
          ))}
          {of.body && (
            <label class="whole">
              <span>
                Body <small class="dim">{of.body.media_type}{of.body.required ? "" : ", may be left out"}</small>
              </span>
              <textarea name="body" rows={byHand ? 4 : Math.min(Math.max(JSON.stringify(of.body.example, null, 2)?.split("\n").length ?? 3, 3) + 1, 22)} spellcheck={false} defaultValue={of.body.example === null ? "" : typeof of.body.example === "string" ? of.body.example : JSON.stringify(of.body.example, null, 2)} />
            </label>
          )}
          <details class="whole folded">
            <summary>Headers{of.secured ? ": the login goes here" : ""}</summary>
            <textarea name="headers" rows={3} spellcheck={false} aria-label="headers" placeholder="authorization: Bearer …" />
          </details>
          {of.body?.schema !== null && of.body && (
            <details class="whole folded">
              <summary>The body's schema</summary>
              <Json value={of.body.schema} />
            </details>
          )}
          {failed.value && <Failed error={new Error(failed.value)} />}
          <p class="whole form-end">
            <button type="submit" class="primary" disabled={busy.value}>
              {busy.value ? (answer.value?.open ? "Receiving…" : "Sending…") : "Send"}
            </button>
            {busy.value && (
              <button type="button" onClick={() => going.current?.abort()}>
                Stop
              </button>
            )}
            {Object.keys(of.answers).length > 0 && (
              <small class="dim">
                answers {Object.entries(of.answers).map(([status, told]) => (
                  <span key={status} class="tag" title={told}>
                    {status}
                  </span>
                ))}
              </small>
            )}
          </p>
        </form>
      </Panel>
      {answer.value && <Answer of={answer.value} />}
    </>
  );
}

function Answer({ of }: { of: Sent }) {
  const well = of.status < 400;
  return (
    <Panel
      title={
        <>
          <span class={well ? "good-text" : "bad-text"}>{of.status}</span> {of.open ? "and goes on, for" : "in"} {ms(of.took_ms)}
        </>
      }
      aside={<A href={`/traces/${of.trace_id}`}>its trace</A>}
    >
      <div class="example">
        {of.body === "" ? <p class="dim">{of.open ? "nothing yet" : "without a body"}</p> : <Json value={laidOut(of)} />}
        {of.problem && <p class="note">{of.problem[0]?.toUpperCase() + of.problem.slice(1)}.</p>}
        {of.cut && <p class="note">Only the first {bytes(of.bytes)} are shown.</p>}
        <details class="folded">
          <summary>{plural(of.headers.length, "header")}</summary>
          <Json value={of.headers.map(([name, value]) => `${name}: ${value}`).join("\n")} />
        </details>
      </div>
    </Panel>
  );
}

function laidOut(of: Sent): string {
  if (of.cut || of.open) return of.body;
  try {
    return JSON.stringify(JSON.parse(of.body), null, 2);
  } catch {
    return of.body;
  }
}
