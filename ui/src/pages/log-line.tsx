import type { LogLine } from "../api.ts";
import { fieldsInline, plain } from "../format.ts";
import { Time } from "../parts.tsx";

/** One of eight quiet colours, always the same for a name. */
export function hueOf(name: string): string {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return `hue-${hash % 8}`;
}

export function LogText({ line, withService = true }: { line: LogLine; withService?: boolean }) {
  return (
    <span class={`log ${line.level ?? line.stream}`}>
      <Time at={line.at_ms} />
      {withService && <span class={`who ${hueOf(line.service)}`}>{line.instance}</span>}
      <span class="level">{line.level ?? (line.stream === "stderr" ? "err" : line.stream === "event" ? "event" : "")}</span>
      <span class="what">
        {plain(line.message)}
        {line.fields && <span class="fields"> {plain(fieldsInline(line.fields))}</span>}
      </span>
    </span>
  );
}
