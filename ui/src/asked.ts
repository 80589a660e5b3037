import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

export interface Asked<T> {
  data: T | null;
  error: unknown;
  loading: boolean;
}

/** Asks when `key` changes, and every so often; keeps what it had when an answer fails. */
export function useAsked<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  key: string,
  everyMs?: number,
): { state: Signal<Asked<T>>; again: () => void } {
  const state = useSignal<Asked<T>>({ data: null, error: null, loading: true });
  const tick = useSignal(0);
  const count = tick.value;
  useEffect(() => {
    const stop = new AbortController();
    state.value = { ...state.peek(), loading: true };
    ask(stop.signal).then(
      (data) => {
        if (!stop.signal.aborted) state.value = { data, error: null, loading: false };
      },
      (error: unknown) => {
        if (!stop.signal.aborted) state.value = { ...state.peek(), error, loading: false };
      },
    );
    const timer = everyMs
      ? setInterval(() => {
          if (!document.hidden) tick.value++;
        }, everyMs)
      : undefined;
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [key, count]);
  return { state, again: () => void tick.value++ };
}
