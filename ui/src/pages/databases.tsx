import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Databases as All, SqlRows, Tables } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, count, plural, short } from "../format.ts";
import { Code, Empty, Failed, Page, Panel, ServiceLink, State } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { services } from "../state.ts";
import "../style/look.css";

export function Databases() {
  const { state, again } = useAsked<All>((signal) => get("/databases", {}, signal), "", 10_000);
  const all = state.value.data?.databases ?? [];
  const sized = all.reduce((n, d) => n + (d.bytes ?? 0), 0);
  return (
    <Page title="Databases" lead={state.value.data ? `${plural(all.length, "database")}, each with one owner${sized > 0 ? `, ${bytes(sized)} on this disk` : ""}` : " "}>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all.length === 0 && state.value.data ? (
        <Empty title="No service has a database" code={'[services.orders]\ndatabase = { engine = "sqlite", migrate = "python3 migrate.py" }'}>
          A service's database is its own: no other service gets its address, and a file is out of sight of other processes.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Database</th>
                <th>Owner</th>
                <th>State</th>
                <th>Engine</th>
                <th class="num">On disk</th>
                <th>Share</th>
                <th>Migration</th>
                <th>From a terminal</th>
              </tr>
            </thead>
            <tbody>
              {[...all]
                .sort((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0) || a.service.localeCompare(b.service))
                .map((d) => (
                  <tr key={d.service}>
                    <th scope="row">
                      <A class="row-link" href={`/databases/${d.service}`}>
                        {d.name}
                      </A>
                      {d.file && <p class="why mono break">{d.file.split("/").slice(-3).join("/")}</p>}
                    </th>
                    <td>
                      <ServiceLink name={d.service} />
                    </td>
                    <td>
                      <State state={services.value.get(d.service)?.state ?? "stopped"} />
                    </td>
                    <td>{d.engine}</td>
                    <td class="num">{d.bytes === null ? <span class="dim">–</span> : bytes(d.bytes)}</td>
                    <td>
                      <svg class="classes" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                        <rect class="back" width="100" height="8" />
                        <rect class="class-2" width={sized > 0 ? Math.max(((d.bytes ?? 0) / sized) * 100, 0.5) : 0} height="8" />
                      </svg>
                    </td>
                    <td class="mono clip" title={d.migrate ?? ""}>{d.migrate ?? <span class="dim">by itself</span>}</td>
                    <td>
                      <Code text={`archipel db shell ${d.service}`} />
                    </td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      )}
    </Page>
  );
}

/** As both engines take a name, whatever is in it. */
const quoted = (name: string, engine: string) =>
  (engine === "sqlite" ? [name] : name.split(".")).map((part) => `"${part.replace(/"/g, '""')}"`).join(".");

export function Database({ service }: { service: string }) {
  const { state, again } = useAsked<Tables>((signal) => get(`/databases/${encodeURIComponent(service)}/tables`, {}, signal), service, 30_000);
  const found = state.value.data;
  const asked = query.value.get("sql") ?? "";
  return (
    <Page
      title={
        <>
          Database of <ServiceLink name={service} />
        </>
      }
      lead={found ? `${found.engine}, ${plural(found.tables.length, "table")}; read only` : " "}
      actions={
        <A class="button" href="/databases">
          All databases
        </A>
      }
    >
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      <div class="with-tables">
        <nav class="tables" aria-label="tables">
          {found?.tables.length === 0 && <p class="dim">No table yet.</p>}
          {found?.tables.map((table) => {
            const sql = `SELECT * FROM ${quoted(table.name, found.engine)} LIMIT 100`;
            return (
              <A key={table.name} href={withQuery({ sql })} aria-current={asked === sql ? "true" : undefined} title={table.columns.join(", ")}>
                <span class="mono">{table.name}</span>
                <small>
                  {table.kind === "view" ? "view" : table.rows === null ? "" : `${table.estimated ? "about " : ""}${short(table.rows)} ${table.rows === 1 ? "row" : "rows"}`}
                  {table.bytes ? `, ${bytes(table.bytes)}` : ""}
                </small>
              </A>
            );
          })}
        </nav>
        <div class="stack">{found && <Sql service={service} asked={asked} limits={found} />}</div>
      </div>
    </Page>
  );
}

function Sql({ service, asked, limits }: { service: string; asked: string; limits: Tables }) {
  const typed = useSignal(asked);
  const box = useRef<HTMLTextAreaElement>(null);
  const found = useSignal<{ rows: SqlRows | null; error: unknown; busy: boolean }>({ rows: null, error: null, busy: false });
  const turn = useSignal(0);
  useEffect(() => {
    typed.value = asked;
    if (asked.trim() === "") {
      found.value = { rows: null, error: null, busy: false };
      return;
    }
    const stop = new AbortController();
    found.value = { ...found.peek(), error: null, busy: true };
    post<SqlRows>(`/databases/${encodeURIComponent(service)}/query`, { sql: asked }, stop.signal).then(
      (rows) => (found.value = { rows, error: null, busy: false }),
      (error: unknown) => {
        if (!stop.signal.aborted) found.value = { rows: null, error, busy: false };
      },
    );
    return () => stop.abort();
  }, [service, asked, turn.value]);
  const run = () => {
    if (typed.value === asked) turn.value++;
    else go(withQuery({ sql: typed.value }));
  };
  const { rows, error, busy } = found.value;
  return (
    <>
      <form
        class="sql"
        onSubmit={(e) => {
          e.preventDefault();
          run();
        }}
      >
        <textarea
          ref={box}
          rows={Math.min(Math.max(typed.value.split("\n").length, 3), 14)}
          spellcheck={false}
          aria-label="a statement that reads"
          placeholder="SELECT … FROM …"
          value={typed.value}
          onInput={(e) => (typed.value = e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
              e.preventDefault();
              run();
            }
          }}
        />
        <p class="form-end">
          <button type="submit" class="primary" disabled={typed.value.trim() === ""}>
            Run
          </button>
          {busy && (
            <button type="button" onClick={() => go(withQuery({ sql: null }))}>
              Stop
            </button>
          )}
          <small class="dim">
            <kbd>Ctrl Enter</kbd> One statement that reads, for {limits.time_max_ms / 1000} s and {limits.rows_max} rows at most. The database itself refuses to write.
          </small>
        </p>
      </form>
      {error !== null && <Failed error={error} />}
      {rows === null && error === null && !busy && (
        <Empty title="Choose a table, or ask">Data is read as it is now, beside the service that works on it. To change it, use the service: it knows the rules.</Empty>
      )}
      {rows && (
        <Panel
          title={plural(rows.rows.length, "row")}
          aside={
            <>
              {rows.more && "there are more · "}
              {rows.masked.length > 0 && `${rows.masked.join(", ")} hidden · `}
              {rows.took_ms} ms
            </>
          }
        >
          {rows.rows.length === 0 ? (
            <Empty title="No row" />
          ) : (
            <div class={`scroll result ${busy ? "fading" : ""}`} tabIndex={0} role="region" aria-label="result">
              <table class="tight mono">
                <thead>
                  <tr>
                    {rows.columns.map((name, i) => (
                      <th key={i}>{name}</th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {rows.rows.map((row, i) => (
                    <tr key={i}>
                      {row.map((cell, j) => (
                        <td key={j} class={`clip ${cell !== null && /^-?[\d.]+$/.test(cell) ? "num" : ""}`} title={cell ?? "NULL"}>
                          {cell === null ? <span class="dim">NULL</span> : cell}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {rows.more && <p class="note">Only the first {count(rows.rows.length)} are shown: narrow it with WHERE, or count with GROUP BY.</p>}
        </Panel>
      )}
    </>
  );
}
