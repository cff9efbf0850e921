// Times a training step in Chromium, in one worker and in turn: this page, TensorFlow.js and jax-js; each on the
// CPU in WebAssembly, then each on WebGPU (SwiftShader, on the processor).

import assert from "node:assert/strict";
import { build } from "esbuild";
import { cp, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { inWorker, setUp } from "../tests/browser.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const here = fileURLToPath(new URL(".", import.meta.url));
const out = `${here}dist`;
await mkdir(out, { recursive: true });
await build({ entryPoints: [`${here}peers.js`], outfile: `${out}/peers.js`, bundle: true, format: "esm", minify: true, logLevel: "error" });
const wasm = `${here}node_modules/@tensorflow/tfjs-backend-wasm/dist/`;
for (const name of ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm"]) {
  await cp(wasm + name, `${out}/${name}`);
}

/** In a worker. */
async function measure(engine, { rounds, address, backend, ours, theirs }) {
  const peers = await import(`${address}/benches/dist/peers.js`);
  // Initial values, minibatches and losses of the first steps, from the engine.
  const COUNT = 20;
  const session = await engine.open({ fields: {}, backend });
  const bytes = await session.model();
  const header = 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const tensors = JSON.parse(new TextDecoder().decode(bytes.subarray(8, header)));
  const params = {};
  delete tensors.__metadata__;
  for (const [name, { shape, data_offsets: [from, to] }] of Object.entries(tensors)) {
    params[name] = { shape, values: new Float32Array(bytes.slice(header + from, header + to).buffer) };
  }
  const vocab = session.about().vocab;
  const token = (letter) => vocab.indexOf(letter);
  const batches = [];
  const losses = [];
  for (let step = 0; step < COUNT; step++) {
    const { examples } = await session.inspect();
    batches.push({
      x: examples.flatMap(({ context }) => Array.from(context, token)),
      y: examples.map(({ target }) => token(target)),
    });
    losses.push((await session.advance(1)).loss);
  }
  const device = backend === "cpu" ? "wasm" : "webgpu";
  const set = { params, batches, lr: 0.1, wasm: `${address}/benches/dist/`, device };
  const others = [
    [`TensorFlow.js, ${device}`, await peers.tensorflow(set)],
    [`jax-js, ${device}`, await peers.jaxJs(set)],
  ];
  const off = {};
  for (const [name, { step, loss }] of others) {
    off[name] = 0;
    for (let i = 0; i < COUNT; i++) {
      step(i);
      off[name] = Math.max(off[name], Math.abs((await loss()) - losses[i]));
    }
  }
  const page = `this page, ${backend}`;
  const times = { [page]: [] };
  for (const [name] of others) times[name] = [];
  for (let round = 0; round < rounds; round++) {
    let [count, seconds] = [0, 0];
    while (count < ours) {
      const progress = await session.advance(0);
      count += progress.count;
      seconds += progress.seconds;
    }
    times[page].push((seconds / count) * 1e6);
    for (const [name, { step, loss }] of others) {
      step(0);
      await loss();
      const begun = performance.now();
      for (let i = 0; i < theirs; i++) step(i);
      await loss(); // of the last step: whoever queues its work has done it now
      times[name].push(((performance.now() - begun) / theirs) * 1000);
    }
  }
  return { off, times };
}

/** Seconds from opening the page to the first line of the log, on the CPU; the first time for an empty cache. */
async function opening(page, address) {
  const seconds = [];
  for (let round = 0; round <= ROUNDS; round++) {
    await page.goto(`${address}/dist/?backend=cpu&steps=2000&start=1`);
    const line = await page.waitForFunction(() => /^ *0\/ *2000: /m.test(document.querySelector("#log").textContent) && performance.now());
    seconds.push((await line.jsonValue()) / 1000);
  }
  return seconds;
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const ends = [];
const { address, page } = await setUp({ after: (end) => ends.push(end) }, { webgpu: false });
const [cold, ...warm] = await opening(page, address);
for (const end of ends) await end();
console.log(
  `From opening the page to its first step on the CPU: ${cold.toFixed(2)} s with an empty cache, then ${median(warm).toFixed(2)} s, ` +
    `${Math.max(...warm).toFixed(2)} at most.\n`,
);

const text = (value) => value.toFixed(value < 100 ? 1 : 0);
for (const { webgpu, ...set } of [
  { webgpu: false, backend: "cpu", ours: 10_000, theirs: 200 },
  { webgpu: true, backend: "webgpu", ours: 500, theirs: 20 },
]) {
  const ends = [];
  const { address, page } = await setUp({ after: (end) => ends.push(end) }, { webgpu });
  const { off, times } = await inWorker(page, address, measure, { rounds: ROUNDS, address, ...set });
  const [, chromium] = /Chrome\/(\S+)/.exec(await page.evaluate(() => navigator.userAgent));
  for (const end of ends) await end();
  for (const [name, most] of Object.entries(off)) assert.ok(most < 1e-3, `${name} computes another step: off by ${most}`);
  const [ours] = Object.values(times).map(median);
  console.log(`Chromium ${chromium}; us per step, median, least and most of ${ROUNDS} rounds in turn\n`);
  console.log("| program | median | least | most | times this page |\n|---|--:|--:|--:|--:|");
  for (const [name, all] of Object.entries(times)) {
    const figures = [median(all), Math.min(...all), Math.max(...all)].map(text);
    console.log(`| ${name} | ${figures.join(" | ")} | ${(median(all) / ours).toFixed(1)} |`);
  }
  console.log(`\nLosses of the first 20 steps differ from this page's by ${Math.max(...Object.values(off)).toExponential(1)} at most.\n`);
}
