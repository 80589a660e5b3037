import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

function kept<T extends string>(key: string, values: readonly T[], initial: T) {
  const read = localStorage.getItem(key) as T | null;
  const value = signal<T>(read && values.includes(read) ? read : initial);
  effect(() => localStorage.setItem(key, value.value));
  return value;
}

export const theme = kept<Theme>("theme", ["system", "light", "dark"], "system");
export const zone = kept<"local" | "utc">("zone", ["local", "utc"], "local");

effect(() => {
  const root = document.documentElement;
  if (theme.value === "system") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme.value);
});
