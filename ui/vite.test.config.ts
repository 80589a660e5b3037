import { readdirSync } from "node:fs";
import { defineConfig } from "vite";

/** Tests as plain modules, for node's own runner. */
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    ssr: true,
    outDir: ".test-build",
    minify: false,
    rollupOptions: {
      input: readdirSync("test").map((name) => `test/${name}`),
      output: { entryFileNames: "[name].test.mjs" },
    },
  },
});
