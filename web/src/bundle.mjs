// Builds dist/ from src/ and pkg/: `npm run page`.

import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(web, "dist");

const options = {
  absWorkingDir: web,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
  outdir: "dist",
};

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
// What the page imports later is a file of its own.
await build({ ...options, splitting: true, entryPoints: ["src/main.ts", "src/worker.ts", "src/lessons.ts"] });

const chart = await readFile(join(web, "node_modules/uplot/dist/uPlot.min.css"), "utf8");
const style = await readFile(join(web, "src/style.css"), "utf8");
await writeFile(join(dist, "style.css"), `${chart}\n${style}`);
await copyFile(join(web, "src/index.html"), join(dist, "index.html"));
await copyFile(join(web, "src/icon.svg"), join(dist, "icon.svg"));
for (const engine of ["gpu_makemore_web_bg.wasm", "gpu_makemore_lessons_bg.wasm"]) {
  await copyFile(join(web, "pkg", engine), join(dist, engine));
}

// The service worker knows the files by name, and their contents by one hash: a change makes a new version.
const files = (await readdir(dist)).sort();
// What only the exercises need is as large as the rest together: it is kept once they were opened.
const later = (file) => /^(?:lessons\.js|gpu_makemore_lessons_bg\.wasm|exercises-.*|archive-.*)$/.test(file);
const hash = createHash("sha256");
for (const file of files) {
  hash.update(file).update(await readFile(join(dist, file)));
}
await build({
  ...options,
  entryPoints: ["src/sw.ts"],
  format: "iife",
  define: {
    VERSION: JSON.stringify(hash.digest("hex").slice(0, 16)),
    FILES: JSON.stringify(files.filter((file) => !later(file)).map((file) => (file === "index.html" ? "./" : file))),
    LATER: JSON.stringify(files.filter(later)),
  },
});
