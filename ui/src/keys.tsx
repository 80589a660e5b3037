// The palette and the keys: everything can be reached without a mouse.

import { signal, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { best } from "./fuzzy.ts";
import { Glyph } from "./parts.tsx";
import { go } from "./router.tsx";
import { operate, services, topics } from "./state.ts";
import { theme } from "./settings.ts";

export const PAGES: { path: string; label: string; key: string; icon: string }[] = [
  { path: "/", label: "Overview", key: "o", icon: "M3 3h6v7H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 12h6v5H3z" },
  { path: "/services", label: "Services", key: "s", icon: "M3 4h14v4H3zM3 12h14v4H3zM6 6h.01M6 14h.01" },
  { path: "/map", label: "Map", key: "m", icon: "M5 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM15 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM6 17a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM7 6l6 3M8 14.500l5-3" },
  { path: "/traces", label: "Traces", key: "r", icon: "M3 4h10M5 8h9M8 12h6M10 16h7" },
  { path: "/logs", label: "Logs", key: "l", icon: "M3 5h14M3 10h10M3 15h12" },
  { path: "/errors", label: "Errors", key: "x", icon: "M10 3 18 16H2ZM10 8v4M10 14h.01" },
  { path: "/find", label: "Follow a key", key: "f", icon: "M6 5a2 2 0 1 0 0-.010M6 7v3c0 2 1.500 3 4 3h2M14 15a2 2 0 1 0 0-4 2 2 0 0 0 0 4" },
  { path: "/measures", label: "Metrics", key: "p", icon: "M3 16h14M4 13l4-5 3 3 5-7" },
  { path: "/events", label: "Events", key: "e", icon: "M3 10h3l2-6 4 12 2-6h3" },
  { path: "/workflows", label: "Workflows", key: "k", icon: "M3 4h5v4H3zM12 12h5v4h-5zM5.500 8v6h6.500M8 6h6.500v6" },
  { path: "/gateway", label: "Gateway", key: "w", icon: "M3 10h9M9 6l4 4-4 4M16 3v14" },
  { path: "/databases", label: "Databases", key: "d", icon: "M4 5c0-1.200 2.700-2 6-2s6 .800 6 2-2.700 2-6 2-6-.800-6-2ZM4 5v10c0 1.200 2.700 2 6 2s6-.800 6-2V5M4 10c0 1.200 2.700 2 6 2s6-.800 6-2" },
  { path: "/apis", label: "API explorer", key: "a", icon: "M7 5 3 10l4 5M13 5l4 5-4 5M11 4 9 16" },
  { path: "/jobs", label: "Jobs", key: "j", icon: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM10 6v4l3 2" },
  { path: "/settings", label: "Settings", key: "t", icon: "M4 6h7M15 6h1M4 14h1M9 14h7M13 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM7 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z" },
];

export const KEYS: [string, string][] = [
  ["Ctrl K", "find and do anything"],
  ...PAGES.map(({ key, label }): [string, string] => [`g ${key}`, label.toLowerCase()]),
  ["/", "search on this page"],
  ["j k", "next and previous row"],
  ["Enter", "open the row"],
  ["Esc", "close, or leave a field"],
  ["?", "these keys"],
];

export const palette = signal(false);

interface Entry {
  group: string;
  label: string;
  hint?: string;
  state?: string;
  act: () => void;
}

function entries(): Entry[] {
  const to = (path: string) => () => go(path);
  const all: Entry[] = PAGES.map((p) => ({ group: "Page", label: p.label, hint: `g ${p.key}`, act: to(p.path) }));
  all.push({ group: "Page", label: "Dead letters", act: to("/events/dead") });
  all.push({ group: "Do", label: "start a workflow…", act: to("/workflows?start=1") });
  for (const s of services.value.values()) {
    all.push({ group: "Service", label: s.name, state: s.state, act: to(`/services/${s.name}`) });
    all.push({ group: "Logs", label: `logs of ${s.name}`, act: to(`/logs?service=${s.name}`) });
    all.push({ group: "Traces", label: `traces of ${s.name}`, act: to(`/traces?q=service:${s.name}`) });
    all.push({ group: "Errors", label: `errors of ${s.name}`, act: to(`/errors?service=${s.name}`) });
    all.push({ group: "Map", label: `${s.name} on the map`, act: to(`/map?node=${s.name}`) });
    all.push({ group: "API", label: `API of ${s.name}`, act: to(`/apis/${s.name}`) });
    if (s.database) all.push({ group: "Database", label: `database of ${s.name}`, act: to(`/databases/${s.name}`) });
    all.push({ group: "Workflows", label: `workflows of ${s.name}`, act: to(`/workflows?service=${s.name}`) });
    if (s.state === "stopped") all.push({ group: "Do", label: `start ${s.name}`, act: () => void (go(`/services/${s.name}`), operate("start", s)) });
    else all.push({ group: "Do", label: `restart ${s.name}…`, act: to(`/services/${s.name}`) });
  }
  for (const t of topics.value?.topics ?? []) {
    all.push({ group: "Topic", label: t.name, act: to(`/events/${t.name}`) });
    all.push({ group: "Do", label: `publish to ${t.name}…`, act: to(`/events/${t.name}?publish=1`) });
  }
  for (const look of ["system", "light", "dark"] as const) all.push({ group: "Do", label: `appearance: ${look}`, act: () => (theme.value = look) });
  return all;
}

export function Palette() {
  const typed = useSignal("");
  const at = useSignal(0);
  const input = useRef<HTMLInputElement>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  // Before the next key arrives: what is typed at once belongs here.
  useLayoutEffect(() => {
    if (!palette.value) return;
    typed.value = "";
    at.value = 0;
    dialog.current?.showModal();
    input.current?.focus();
  }, [palette.value]);
  if (!palette.value) return null;
  const words = typed.value;
  const key = words.trim();
  // A trace, an order, an event, pasted: what is known of it.
  const pasted: Entry[] = /^[0-9a-f]{32}$/i.test(key) ? [{ group: "Trace", label: key, act: () => go(`/traces/${key.toLowerCase()}`) }] : [];
  if (/^[\w.:@-]{6,}$/.test(key) && /\d/.test(key)) pasted.push({ group: "Key", label: `everything about ${key}`, act: () => go(`/find/${encodeURIComponent(key)}`) });
  const found = [...pasted, ...best(entries(), words, (e) => `${e.label} ${e.group}`, 12)];
  if (key !== "") {
    const asked = encodeURIComponent(key);
    found.push({ group: "Logs", label: `search logs for «${key}»`, act: () => go(`/logs?q=${asked}`) });
    found.push({ group: "Traces", label: `search traces for «${key}»`, act: () => go(`/traces?q=${asked}`) });
    if (pasted.length === 0 && key.length >= 3) found.push({ group: "Key", label: `everything about «${key}»`, act: () => go(`/find/${asked}`) });
  }
  const close = () => {
    dialog.current?.close();
    palette.value = false;
  };
  const choose = (entry: Entry | undefined) => {
    close();
    entry?.act();
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      at.value = (at.value + step + found.length) % found.length;
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(found[at.value]);
    }
  };
  return (
    <dialog ref={dialog} class="palette" aria-label="find" onClose={() => (palette.value = false)} onClick={(e) => e.target === dialog.current && close()}>
      <input
        ref={input}
        role="combobox"
        aria-expanded="true"
        aria-controls="found"
        aria-activedescendant={`found-${at.value}`}
        aria-label="find a page, a service, a topic, or something to do"
        placeholder="Find a service, a topic, a page; paste an id"
        value={words}
        onInput={(e) => {
          typed.value = e.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={onKey}
      />
      <ul role="listbox" id="found" aria-label="found">
        {found.map((entry, i) => (
          <li key={entry.group + entry.label} id={`found-${i}`} role="option" aria-selected={i === at.value} onPointerMove={() => (at.value = i)} onClick={() => choose(entry)}>
            <span class="group">{entry.group}</span>
            <span>{entry.label}</span>
            {entry.state && <Glyph state={entry.state} />}
            {entry.hint && <kbd>{entry.hint}</kbd>}
          </li>
        ))}
      </ul>
    </dialog>
  );
}

let leader = 0;

export function listen(): void {
  addEventListener("keydown", (event) => {
    const at = event.target;
    const field = (at instanceof HTMLInputElement && at.type !== "checkbox" && at.type !== "radio") || at instanceof HTMLTextAreaElement || at instanceof HTMLSelectElement;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      palette.value = !palette.value;
      return;
    }
    if (event.key === "Escape" && field) {
      (event.target as HTMLElement).blur();
      return;
    }
    if (field || palette.value || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Date.now() - leader < 1500) {
      leader = 0;
      const page = PAGES.find((p) => p.key === event.key);
      if (page) {
        event.preventDefault();
        go(page.path);
        return;
      }
    }
    switch (event.key) {
      case "g":
        leader = Date.now();
        break;
      case "/": {
        const search = document.querySelector<HTMLInputElement>("[data-search]");
        if (search) {
          event.preventDefault();
          search.focus();
          search.select();
        }
        break;
      }
      case "?":
        go("/settings");
        break;
      case "j":
      case "k": {
        const rows = [...document.querySelectorAll<HTMLElement>(".row-link, .log-row")];
        const current = rows.indexOf(document.activeElement as HTMLElement);
        const next = event.key === "j" ? current + 1 : Math.max(current - 1, 0);
        rows[Math.min(next, rows.length - 1)]?.focus();
        break;
      }
      case "Escape": {
        document.querySelector<HTMLButtonElement>(".side .close")?.click();
        break;
      }
    }
  });
}
