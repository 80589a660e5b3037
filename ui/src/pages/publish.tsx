import { useSignal } from "@preact/signals";
import type { StoredEvent, TopicSchema } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { Failed, IdField, Json, Panel } from "../parts.tsx";
import { A, go, withQuery } from "../router.tsx";
import { message, tell } from "../state.ts";
import "../style/look.css";

/** `name: value` a line. */
export function pairs(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.trim());
  const found = lines.filter((line) => line !== "").map((line): [string, string] => {
    const at = line.indexOf(":");
    if (at <= 0) throw new Error(`«${line}» is not written as name: value`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  return Object.fromEntries(found);
}

export function Publish({ topic, subscribers }: { topic: string; subscribers: string[] }) {
  const { state } = useAsked<TopicSchema>((signal) => get(`/events/topics/${encodeURIComponent(topic)}/schema`, {}, signal), topic);
  const schema = state.value.data;
  const typed = useSignal<string | null>(null);
  const failed = useSignal<string | null>(null);
  const busy = useSignal(false);
  const data = typed.value ?? (schema ? JSON.stringify(schema.example, null, 2) : "");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const field = (name: string) => String(form.get(name) ?? "").trim();
    busy.value = true;
    failed.value = null;
    try {
      const body = { data: JSON.parse(data) as unknown, id: field("id"), key: field("key"), attributes: pairs(field("attributes")) };
      const published = await post<StoredEvent>(`/events/topics/${encodeURIComponent(topic)}`, body);
      tell(true, `published as event ${published.seq}`);
      go(withQuery({ publish: null, from: null, event: String(published.seq) }));
    } catch (error) {
      failed.value = error instanceof SyntaxError ? `the data is no JSON: ${error.message}` : message(error);
    }
    busy.value = false;
  };
  return (
    <Panel title="Publish an event">
      <form class="form" onSubmit={(e) => void submit(e)}>
        <label class="whole">
          <span>
            Data <small class="dim">{schema?.file ? <>JSON, held against <code>{schema.file}</code></> : "JSON; the topic has no schema, so anything is taken"}</small>
          </span>
          <textarea rows={Math.min(Math.max(data.split("\n").length + 1, 5), 22)} spellcheck={false} value={data} onInput={(e) => (typed.value = e.currentTarget.value)} />
        </label>
        <label>
          <span>
            Key <small class="dim">what it is about: its subject</small>
          </span>
          <input name="key" autocomplete="off" />
        </label>
        <IdField />
        <label class="whole">
          <span>
            Further attributes <small class="dim">name: value, one a line</small>
          </span>
          <textarea name="attributes" rows={2} spellcheck={false} />
        </label>
        {failed.value && <Failed error={new Error(failed.value)} />}
        {schema?.document !== null && schema !== null && (
          <details class="whole folded">
            <summary>The schema</summary>
            <Json value={schema.document} />
          </details>
        )}
        <p class="whole form-end">
          <button type="submit" class="primary" disabled={busy.value}>
            {subscribers.length > 0 ? `Publish to ${subscribers.join(", ")}` : "Publish"}
          </button>
          <A class="button" href={withQuery({ publish: null })}>
            Cancel
          </A>
        </p>
      </form>
    </Panel>
  );
}
