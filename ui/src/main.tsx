import { effect } from "@preact/signals";
import { render } from "preact";
import "./style/base.css";
import "./style/shell.css";
import "./style/parts.css";
import "./style/pages.css";
import "./style/telemetry.css";
import { concerns } from "./attention.ts";
import { listen, PAGES, Palette, palette } from "./keys.tsx";
import { Empty, Glyph, Page } from "./parts.tsx";
import { lazy } from "./lazy.tsx";
import { Metrics } from "./pages/metrics.tsx";
import { Overview } from "./pages/overview.tsx";
import { Service } from "./pages/service.tsx";
import { Services } from "./pages/services.tsx";
import { A, path } from "./router.tsx";
import { dismiss, heard, link, notes, now, start, status, topics, total } from "./state.ts";
import { span } from "./format.ts";

// The first pages come with the script; the others when they are opened.
const ErrorPage = lazy(async () => (await import("./pages/errors.tsx")).ErrorPage);
const Errors = lazy(async () => (await import("./pages/errors.tsx")).Errors);
const DeadLetters = lazy(async () => (await import("./pages/events.tsx")).DeadLetters);
const Events = lazy(async () => (await import("./pages/events.tsx")).Events);
const TopicPage = lazy(async () => (await import("./pages/events.tsx")).TopicPage);
const Find = lazy(async () => (await import("./pages/find.tsx")).Find);
const Gateway = lazy(async () => (await import("./pages/gateway.tsx")).Gateway);
const Logs = lazy(async () => (await import("./pages/logs.tsx")).Logs);
const Map_ = lazy(async () => (await import("./pages/map.tsx")).Map_);
const Trace = lazy(async () => (await import("./pages/trace.tsx")).Trace);
const Traces = lazy(async () => (await import("./pages/traces.tsx")).Traces);
const Workflows = lazy(async () => (await import("./pages/workflows.tsx")).Workflows);
const WorkflowPage = lazy(async () => (await import("./pages/workflow.tsx")).WorkflowPage);
const Databases = lazy(async () => (await import("./pages/databases.tsx")).Databases);
const Database = lazy(async () => (await import("./pages/databases.tsx")).Database);
const Apis = lazy(async () => (await import("./pages/apis.tsx")).Apis);
const ApiPage = lazy(async () => (await import("./pages/apis.tsx")).ApiPage);
const Jobs = lazy(async () => (await import("./pages/jobs.tsx")).Jobs);
const Settings = lazy(async () => (await import("./pages/settings.tsx")).Settings);

function View() {
  const words = path.value.split("/").filter((word) => word !== "").map(decodeURIComponent);
  const [area = "", name, id] = words;
  switch (words.length <= (area === "workflows" ? 3 : 2) ? area : "?") {
    case "":
      return <Overview />;
    case "services":
      return name ? <Service key={name} name={name} /> : <Services />;
    case "map":
      return <Map_ />;
    case "traces":
      return name ? <Trace key={name} id={name} /> : <Traces />;
    case "logs":
      return <Logs />;
    case "errors":
      return name ? <ErrorPage key={name} id={name} /> : <Errors />;
    case "measures": // /metrics is for Prometheus
      return <Metrics />;
    case "find":
      return <Find wanted={name ?? ""} />;
    case "events":
      return name === "dead" ? <DeadLetters /> : name ? <TopicPage key={name} name={name} /> : <Events />;
    case "gateway":
      return <Gateway />;
    case "workflows":
      return name && id ? <WorkflowPage key={`${name}/${id}`} service={name} id={id} /> : <Workflows />;
    case "databases":
      return name ? <Database key={name} service={name} /> : <Databases />;
    case "apis":
      return name ? <ApiPage key={name} service={name} /> : <Apis />;
    case "jobs":
      return <Jobs />;
    case "settings":
      return <Settings />;
    default:
      return (
        <Page title="Nothing here">
          <Empty title="This page does not exist">
            Go to the <A href="/">overview</A>, or find what you look for with Ctrl K.
          </Empty>
        </Page>
      );
  }
}

function Nav() {
  const area = `/${path.value.split("/")[1] ?? ""}`;
  const bad = concerns(status.value, topics.value, total.value).filter((c) => c.weight === "bad").length;
  const dead = (topics.value?.topics ?? []).flatMap((t) => t.subscribers).reduce((n, s) => n + s.dead, 0);
  const badges: Record<string, number> = { "/": bad, "/events": dead };
  return (
    <nav class="nav" aria-label="pages">
      {PAGES.map((page) => (
        <A key={page.path} href={page.path} aria-current={area === page.path ? "page" : undefined}>
          <svg viewBox="0 0 20 20" aria-hidden="true">
            <path d={page.icon} />
          </svg>
          <span>{page.label}</span>
          {(badges[page.path] ?? 0) > 0 && <b class="badge">{badges[page.path]}</b>}
        </A>
      ))}
    </nav>
  );
}

function Link() {
  if (link.value === "open") return null;
  const silent = heard.value > 0 ? now.value - heard.value : 0;
  return (
    <p class="link-lost" role="status">
      <Glyph state={link.value === "opening" ? "starting" : "failed"} />
      {link.value === "opening" ? "Connecting" : `No answer from Archipel${silent > 2000 ? ` for ${span(silent)}` : ""}; trying again. What you see is from then.`}
    </p>
  );
}

function App() {
  if (link.value === "locked") {
    return (
      <main id="main" class="alone">
        <h1>This console is locked</h1>
        <p>It opens with the address that this command prints:</p>
        <pre>archipel dashboard</pre>
      </main>
    );
  }
  return (
    <div class="shell">
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="side-bar">
        <A href="/" class="brand" aria-label="overview">
          <img src="/mark.svg" width="26" height="26" alt="" />
          <span>
            <strong>{status.value?.app ?? "Archipel"}</strong>
            <small>{status.value ? (status.value.profile ?? "archipel") : ""}</small>
          </span>
        </A>
        <button type="button" class="find" onClick={() => (palette.value = true)} aria-label="find">
          <svg viewBox="0 0 20 20" aria-hidden="true">
            <path d="M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12ZM17 17l-3.700-3.700" />
          </svg>
          <span>Find</span>
          <kbd>Ctrl K</kbd>
        </button>
        <Nav />
        <p class="about">Archipel {status.value?.version}</p>
      </header>
      <main id="main" tabIndex={-1}>
        <Link />
        {status.value ? <View /> : link.value !== "lost" && <p class="dim opening">Opening…</p>}
      </main>
      <div class="notes" aria-live="polite">
        {notes.value.map((note) => (
          <p key={note.id} class={note.ok ? "ok" : "bad"}>
            <Glyph state={note.ok ? "ready" : "failed"} />
            <span>{note.text}</span>
            <button type="button" class="quiet" aria-label="dismiss" onClick={() => dismiss(note.id)}>
              ✕
            </button>
          </p>
        ))}
      </div>
      <Palette />
    </div>
  );
}

effect(() => {
  const words = path.value.split("/").filter((word) => word !== "");
  const page = words.length > 1 ? decodeURIComponent(words[words.length - 1]!) : PAGES.find((p) => p.path === path.value)?.label;
  document.title = [page, status.value?.app ?? "Archipel"].filter(Boolean).join(" · ");
});

listen();
start();
render(<App />, document.getElementById("app")!);
