import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin, type ProxyOptions } from "vite";

/** The binary embeds each file twice: plain and compressed. */
function compressed(): Plugin {
  let out = "";
  return {
    name: "compressed",
    configResolved: (config) => void (out = config.build.outDir),
    closeBundle() {
      for (const entry of readdirSync(out, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || entry.name.endsWith(".gz")) continue;
        const path = join(entry.parentPath, entry.name);
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

/**
 * `CONSOLE=$(archipel dashboard --no-open) npm run dev`: pages from here, with every change at
 * once; data from an application that runs.
 */
function proxied(): Record<string, ProxyOptions> {
  if (!process.env.CONSOLE) return {};
  const { origin, port, searchParams } = new URL(process.env.CONSOLE);
  const headers = { origin, cookie: `archipel-${port}=${searchParams.get("key")}` };
  return { "^/api/": { target: origin, changeOrigin: true, headers } };
}

export default defineConfig({
  server: { proxy: proxied() },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [compressed()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the policy of the page forbids data: in all but images
    modulePreload: { polyfill: false },
  },
});
