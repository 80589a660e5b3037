// The field for questions, the same on every page that can be searched, and the facets beside it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError } from "./api.ts";
import { short } from "./format.ts";
import { Failed } from "./parts.tsx";
import { A, go, query, withQuery } from "./router.tsx";
import { services } from "./state.ts";
import { hueOf } from "./pages/log-line.tsx";
import { has, term, toggled, value } from "./terms.ts";

const VALUES: Record<string, string[]> = {
  status: ["error", "ok"],
  kind: ["server", "client", "producer", "consumer", "internal"],
  level: ["error", "warn", "info", "debug"],
  stream: ["stdout", "stderr", "event", "build", "otlp"],
  root: ["true"],
};

/** What could be meant by the word at the end. */
function offers(typed: string, keys: string[]): string[] {
  const last = /\S*$/.exec(typed)![0];
  if (last === "") return [];
  const parts = /^(-?)([a-z_.]+)(:|=|!=)(.*)$/i.exec(last);
  if (!parts) return keys.filter((key) => key.startsWith(last.replace(/^-/, "")) && key !== last).map((key) => `${last.startsWith("-") ? "-" : ""}${key}:`);
  const [, minus, key, sign, begun] = parts;
  const all = key === "service" || key === "caller" ? [...services.value.keys()] : (VALUES[key!] ?? []);
  return all.filter((one) => one.startsWith(begun!) && one !== begun).map((one) => `${minus}${key}${sign}${value(one)}`);
}

/** Asks when a person stops typing, or at once with Enter. */
export function Question(props: { placeholder: string; keys: string[] }) {
  const asked = query.value.get("q") ?? "";
  const typed = useSignal(asked);
  const shown = useSignal(-1);
  const open = useSignal(false);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Changed by a facet or by going back: the field follows.
    if (document.activeElement !== field.current || typed.peek().trim() !== asked.trim()) typed.value = asked;
  }, [asked]);
  const ask = (text: string) => {
    clearTimeout(timer.current);
    go(withQuery({ q: text.trim(), at: null }), true);
  };
  const found = open.value ? offers(typed.value, props.keys).slice(0, 8) : [];
  const take = (offer: string) => {
    typed.value = typed.value.replace(/\S*$/, offer) + (offer.endsWith(":") ? "" : " ");
    shown.value = -1;
    if (!offer.endsWith(":")) ask(typed.value);
    field.current?.focus();
  };
  return (
    <div class="question">
      <input
        ref={field}
        type="search"
        role="combobox"
        aria-expanded={found.length > 0}
        aria-controls="offers"
        aria-autocomplete="list"
        aria-label="question"
        autocomplete="off"
        spellcheck={false}
        placeholder={props.placeholder}
        data-search
        value={typed.value}
        onFocus={() => (open.value = true)}
        onBlur={() => (open.value = false)}
        onInput={(e) => {
          typed.value = e.currentTarget.value;
          open.value = true;
          shown.value = -1;
          clearTimeout(timer.current);
          const text = typed.value;
          // A term that waits for its value is no question yet.
          if (!/(:|=|<|>|"[^"]*)$/.test(text)) timer.current = setTimeout(() => ask(text), 400);
        }}
        onKeyDown={(e) => {
          if (e.key === "Enter") {
            if (found[shown.value]) take(found[shown.value]!);
            else ask(typed.value);
          } else if (found.length > 0 && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
            e.preventDefault();
            shown.value = (shown.value + (e.key === "ArrowDown" ? 1 : found.length) + found.length) % found.length;
          } else if (e.key === "Tab" && found[shown.value]) {
            e.preventDefault();
            take(found[shown.value]!);
          }
        }}
      />
      {found.length > 0 && (
        <ul id="offers" class="offers" role="listbox" aria-label="what could be meant">
          {found.map((offer, i) => (
            <li
              key={offer}
              role="option"
              aria-selected={i === shown.value}
              onPointerDown={(e) => {
                e.preventDefault();
                take(offer);
              }}
            >
              {offer}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** What is wrong with a question is shown under the place where it is wrong. */
export function Wrong({ error, again }: { error: unknown; again?: () => void }) {
  if (error instanceof ApiError && error.status === 400 && error.message.includes("\n")) {
    return <pre class="wrong" role="alert">{error.message}</pre>;
  }
  return <Failed error={error} {...(again ? { again } : {})} />;
}

export interface Choice {
  value: string;
  count: number;
  bad?: boolean;
}

/** The values of one key, most first; a click asks for it, a second one does not any more. */
export function Facet({ title, of, choices, hue = false, most = 8 }: { title: string; of: string; choices: Choice[]; hue?: boolean; most?: number }) {
  const all = useSignal(false);
  const asked = query.value.get("q") ?? "";
  const named = choices.filter((c) => c.value !== "");
  if (named.length === 0) return null;
  const top = Math.max(...named.map((c) => c.count), 1);
  const shown = all.value ? named.slice(0, 200) : named.slice(0, most);
  return (
    <fieldset class="facet">
      <legend>{title}</legend>
      <ul>
        {shown.map((choice) => {
          const one = term(of, choice.value);
          return (
            <li key={choice.value}>
              <A href={withQuery({ q: toggled(asked, one), at: null })} aria-current={has(asked, one) ? "true" : undefined} title={one}>
                <span class={hue ? `who ${hueOf(choice.value)}` : choice.bad ? "bad-text" : ""}>{choice.value}</span>
                <span class="num dim">{short(choice.count)}</span>
                <svg viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true">
                  <rect width={(choice.count / top) * 100} height="2" />
                </svg>
              </A>
            </li>
          );
        })}
      </ul>
      {named.length > most && (
        <button type="button" class="quiet" onClick={() => (all.value = !all.value)}>
          {all.value ? "fewer" : `${named.length - most} more`}
        </button>
      )}
    </fieldset>
  );
}
