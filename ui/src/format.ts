// Numbers, sizes and times as people read them.

const grouped = new Intl.NumberFormat("en-GB");

export function count(n: number): string {
  return grouped.format(n);
}

/** 1,234 in full; above ten thousand `12.3k`. */
export function short(n: number): string {
  if (n < 10_000) return count(Math.round(n));
  const units = ["k", "M", "G", "T"];
  let value = n;
  let unit = "";
  for (const next of units) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 100 ? value.toFixed(1) : Math.round(value)}${unit}`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  let value = n;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Per second. */
export function rate(n: number): string {
  if (n === 0) return "0/s";
  if (n < 0.1) return "<0.1/s";
  return `${n < 10 ? n.toFixed(1) : short(n)}/s`;
}

export function ms(n: number | null | undefined): string {
  if (n === null || n === undefined) return "–";
  if (n < 1) return `${n.toFixed(2)} ms`;
  if (n < 10) return `${n.toFixed(1)} ms`;
  if (n < 1000) return `${Math.round(n)} ms`;
  return span(n);
}

/** A length of time: `840 ms`, `12 s`, `4 min`, `3 h 20 min`, `2 d`. */
export function span(n: number): string {
  if (n < 1000) return `${Math.round(n)} ms`;
  const seconds = n / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

export function ago(at: number | null, now: number): string {
  if (at === null) return "–";
  const past = now - at;
  if (past < 1500) return "just now";
  return `${span(Math.floor(past / 1000) * 1000)} ago`;
}

export function percent(part: number, whole: number): string {
  if (whole === 0 || part === 0) return "0%";
  const share = (100 * part) / whole;
  if (part > 0 && share < 0.1) return "<0.1%";
  return `${share < 10 ? share.toFixed(1) : Math.round(share)}%`;
}

const two = (n: number, width = 2) => String(n).padStart(width, "0");

export function clock(at: number, utc: boolean, fraction = true): string {
  const date = new Date(at);
  const [h, m, s] = utc
    ? [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getHours(), date.getMinutes(), date.getSeconds()];
  const text = `${two(h)}:${two(m)}:${two(s)}`;
  return fraction ? `${text}.${two(date.getMilliseconds(), 3)}` : text;
}

export function day(at: number, utc: boolean): string {
  const date = new Date(at);
  return utc
    ? `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`
    : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Without the colours that programs write for terminals. */
export function plain(text: string): string {
  return text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** The fields of a structured line in one row, without what stands beside it anyway. */
export function fieldsInline(fields: Record<string, unknown> | undefined): string {
  if (!fields) return "";
  const skipped = new Set(["time", "timestamp", "ts", "level", "msg", "message", "service", "pid", "hostname", "target"]);
  return Object.entries(fields)
    .filter(([name, value]) => !skipped.has(name) && value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ")
    .slice(0, 400);
}
