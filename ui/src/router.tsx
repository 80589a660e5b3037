// Every view is an address, and every link an anchor: a middle click opens a tab.

import { computed, signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";

const here = signal(location.pathname + location.search);

export const path = computed(() => new URL(here.value, location.origin).pathname);
export const query = computed(() => new URL(here.value, location.origin).searchParams);

addEventListener("popstate", () => (here.value = location.pathname + location.search));

export function go(to: string, replace = false): void {
  if (to === here.value) return;
  const before = path.value;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  here.value = to;
  if (path.value !== before) {
    document.getElementById("main")?.scrollTo(0, 0);
    scrollTo(0, 0);
  }
}

/** The same page with other words in its query; empty ones are dropped. */
export function withQuery(changes: Record<string, string | string[] | null>): string {
  const words = new URLSearchParams(query.value);
  for (const [key, value] of Object.entries(changes)) {
    words.delete(key);
    for (const one of Array.isArray(value) ? value : [value]) if (one) words.append(key, one);
  }
  const text = words.toString();
  return `${path.value}${text ? `?${text}` : ""}`;
}

type Props = Omit<JSX.HTMLAttributes<HTMLAnchorElement>, "href"> & {
  href: string;
  children?: ComponentChildren;
};

export function A({ href, children, ...rest }: Props) {
  const follow = (event: MouseEvent) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(href);
  };
  return (
    <a href={href} onClick={follow} {...rest}>
      {children}
    </a>
  );
}
