// A page that is fetched when it is first opened.

import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { Failed } from "./parts.tsx";

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let known: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const ready = useSignal(known !== null);
    const failed = useSignal(false);
    useEffect(() => {
      if (known) return;
      load().then(
        (page) => {
          known = page;
          ready.value = true;
        },
        () => (failed.value = true),
      );
    }, []);
    const Page = ready.value ? known : null;
    if (Page) return <Page {...props} />;
    // Most likely another version of Archipel runs by now, which has other files.
    if (failed.value) return <Failed error={new Error("This page could not be loaded.")} again={() => location.reload()} />;
    return <p class="dim opening">Opening…</p>;
  };
}
