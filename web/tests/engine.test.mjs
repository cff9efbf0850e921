// The engine in a real browser, against PyTorch and against the reference.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { inWorker, setUp } from "./browser.mjs";

/** The losses of the lecture's first 1,000 steps in PyTorch (tests/fixtures/make.py). */
async function torchLosses() {
  const bytes = await readFile(new URL("../../tests/fixtures/lecture_run.safetensors", import.meta.url));
  const header = 8 + Number(bytes.readBigUInt64LE(0));
  const { losses } = JSON.parse(bytes.subarray(8, header).toString());
  const [from, to] = losses.data_offsets;
  return Array.from({ length: (to - from) / 4 }, (_, i) => bytes.readFloatLE(header + from + 4 * i));
}

/** In a worker: the losses of `count` steps, one call each, and the 26 rows of the step after them. */
async function train(engine, { backend, count }) {
  const session = await engine.open({ fields: { steps: "200000" }, backend });
  const losses = [];
  for (let step = 0; step < count; step++) losses.push((await session.advance(1)).loss);
  const { backend: took, schedule } = session.about();
  const { tensors, wrong, by } = await session.inspect();
  const rows = tensors.map(({ name, row }) => ({ name, ...row }));
  const all = engine.derivations();
  const texts = tensors.every(({ name }, i) => all[i].name === name && all[i].wgsl.includes("fn ") && all[i].twin.includes(`d${name}`));
  return { extras: await session.extras(), texts, losses, rows, wrong, by, took, schedule };
}

for (const [backend, count] of [
  ["cpu", 1000],
  ["webgpu", 100],
]) {
  test(`the lecture's first steps on ${backend}`, { timeout: 300_000 }, async (t) => {
    const { address, page } = await setUp(t, { webgpu: backend === "webgpu" });
    const found = await inWorker(page, address, train, { backend, count });
    assert.equal(found.took, backend);
    const want = (await torchLosses()).slice(0, count);
    assert.equal(found.losses.length, want.length);
    const off = found.losses.map((loss, i) => Math.abs(loss - want[i]));
    assert.ok(off.every((off) => off <= 1e-4), `off by ${Math.max(...off)}`);
    assert.deepEqual(
      found.losses.slice(0, 3).map((loss) => loss.toFixed(4)),
      ["3.9508", "3.4942", "3.7110"],
    );
    assert.equal(found.rows.length, 26);
    const wrong = found.rows.filter((row) => !row.pass);
    assert.deepEqual(wrong, []);
    assert.equal(found.wrong, 0);
    assert.ok(found.texts);
    assert.equal(found.extras.length, 8);
    assert.deepEqual(found.extras.filter(({ pass }) => !pass), []);
    t.diagnostic(`${found.by.join("; ")}; losses off by ${Math.max(...off)} at most`);
  });
}

/** In a worker: what an error says. */
async function refused(engine, setup) {
  try {
    await engine.open(setup);
  } catch (error) {
    return error.message;
  }
  return "opened";
}

test("what cannot be is refused with a reason", { timeout: 120_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false });
  for (const [fields, backend, message] of [
    [{ n_hidden: "5000" }, "cpu", /n_hidden=5000: must be a whole number from 1 to 2048/],
    [{ lr: "fast" }, "cpu", /lr=fast: must be a number from 0 to 3e38, like 0.1/],
    [{ hidden: "64" }, "cpu", /hidden: no such setting; the settings are block_size/],
    [{ data: "towns" }, "cpu", /data=towns: names or municipalities/],
    [{}, "cuda", /backend=cuda: auto, webgpu or cpu/],
    [{}, "webgpu", /backend=webgpu: this browser has WebGPU and offers no adapter.*Chrome and Edge/],
  ]) {
    assert.match(await inWorker(page, address, refused, { fields, backend }), message);
  }
  const why = await inWorker(page, address, async (engine) => {
    const why = async () => (await engine.open({ fields: {}, backend: "auto" })).about().why;
    const offered = await why();
    Object.defineProperty(navigator, "gpu", { value: undefined });
    return [offered, await why()];
  });
  assert.match(why[0], /has WebGPU and offers no adapter/);
  assert.match(why[1], /this browser has no WebGPU.*Chrome/);
});

/** In a worker: a run of 400 steps that is saved at 150 and taken up again, beside one that is not. */
async function interrupted(engine, backend) {
  // Two searches might choose two layouts, and another layout gives other bits.
  const open = () => engine.open({ fields: { steps: "400", n_hidden: "40" }, backend, tune: "off" });
  const [whole, begun] = [await open(), await open()];
  while (!(await whole.advance(0)).finished);
  while (begun.about().step < 150) await begun.advance(150 - begun.about().step);
  const again = await engine.resume(await begun.save(), undefined, backend);
  const step = again.about().step;
  while (!(await again.advance(0)).finished);
  const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
  // A finished model is opened as one, with the same losses and names.
  const model = await engine.resume(await whole.model(), undefined, backend);
  const about = model.about();
  const [opened, wanted] = [await model.finish(), await whole.finish()];
  const finished = about.step === 400 && about.steps === 400 && opened.lines.join() === wanted.lines.join();
  return { step, finished, same: same(await whole.model(), await again.model()) };
}

for (const backend of ["cpu", "webgpu"]) {
  test(`a run that is taken up again ends with the same bits on ${backend}`, { timeout: 300_000 }, async (t) => {
    const { address, page } = await setUp(t, { webgpu: backend === "webgpu" });
    const found = await inWorker(page, address, interrupted, backend);
    assert.deepEqual(found, { step: 150, finished: true, same: true });
  });
}

/** In a worker: the bytes of the engine's memory after 20,000 steps and after 200,000, and the curve. */
async function memory(engine) {
  const bytes = async () => (await engine.default()).memory.buffer.byteLength;
  const session = await engine.open({ fields: {}, backend: "cpu" });
  const sizes = [];
  for (let step = 0, finished = false; !finished; ) {
    ({ step, finished } = await session.advance(0));
    if (finished || (step >= 20_000 && sizes.length === 0)) sizes.push(await bytes());
  }
  return { sizes, points: session.about().curve.points };
}

test("memory stays the same over 200,000 steps, and the curve is the one that lies behind the page's", { timeout: 600_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false });
  const { sizes: [early, late], points } = await inWorker(page, address, memory);
  const lecture = JSON.parse(await readFile(new URL("../src/lecture.json", import.meta.url), "utf8"));
  assert.equal(points.length, lecture.length);
  // Four digits of it are kept.
  points.forEach((point, i) => assert.ok(Math.abs(point - lecture[i]) < 1e-4, `point ${i} is ${point}, not ${lecture[i]}`));
  // Chunks become longer where steps become quicker, and the curve has 180 points more. A megabyte is six bytes
  // a step: whatever is left behind by every step is more.
  assert.ok(late - early < 2 ** 20, `${early} bytes, then ${late}`);
  t.diagnostic(`${early} bytes after 20,000 steps, ${late} after 200,000`);
});

/** In a worker: a run whose device is lost on the way, beside one on the CPU. */
async function lost(engine) {
  const request = GPUAdapter.prototype.requestDevice;
  const devices = [];
  GPUAdapter.prototype.requestDevice = async function (...options) {
    devices.push(await request.apply(this, options));
    return devices.at(-1);
  };
  const open = (backend) => engine.open({ fields: { steps: "300", n_hidden: "40" }, backend, tune: "off" });
  const [undisturbed, session] = [await open("webgpu"), await open("webgpu")];
  while (!(await undisturbed.advance(0)).finished);
  const lines = [];
  let progress;
  do {
    progress = await session.advance(20);
    lines.push(...progress.lines);
    if (progress.step >= 100 && devices.length === 2) devices.at(-1).destroy();
  } while (!progress.finished);
  const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
  const bits = same(await undisturbed.model(), await session.model());
  return { opened: devices.length, notes: lines.filter((line) => line.startsWith("note")), same: bits };
}

test("a lost device is opened again, and no step is lost", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const found = await inWorker(page, address, lost);
  assert.equal(found.opened, 3);
  assert.equal(found.notes.length, 1);
  assert.match(found.notes[0], /lost/);
  assert.ok(found.same);
});

/** In a worker: where a browser whose WebGPU opens no device trains, and what it says. */
async function refusing(engine, backend) {
  GPUAdapter.prototype.requestDevice = () => Promise.reject(new Error("not today"));
  // As if the adapter were hardware, which `auto` takes.
  Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { value: false });
  try {
    const session = await engine.open({ fields: { steps: "20" }, backend });
    const { backend: took, why } = session.about();
    return { took, why, loss: (await session.advance(1)).loss };
  } catch (error) {
    return { error: error.message };
  }
}

test("WebGPU that opens no device is told, and the CPU trains", { timeout: 120_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const auto = await inWorker(page, address, refusing, "auto");
  assert.equal(auto.took, "cpu");
  assert.match(auto.why, /WebGPU is there and cannot be used: .*not today/);
  assert.equal(auto.loss.toFixed(4), "3.9508");
  const asked = await inWorker(page, address, refusing, "webgpu");
  assert.match(asked.error, /not today/);
});

/** In a worker: the first tensor that each mistake makes wrong, and what one of them does to a training. */
async function broken(engine, some) {
  const session = await engine.open({ fields: {}, backend: "webgpu" });
  const found = [];
  for (const { name, first } of engine.mistakes().filter(({ name }) => some?.includes(name) ?? true)) {
    const trial = await session.break_it(name, 60);
    const { tensors } = await trial.inspect();
    found.push({ name, first, found: tensors.find(({ row }) => !row.pass)?.name ?? "none" });
    trial.free();
  }
  const trial = await session.break_it("the mean not taken", 60);
  let progress;
  do progress = await trial.advance();
  while (!progress.finished);
  return { found, progress };
}

/** One of each kind: each takes six seconds here. `web/test --all` makes all of them. */
const SOME = [
  "the row maximum not subtracted",
  "nothing taken off at the target",
  "1-h for 1-h**2",
  "the mean term dropped",
  "the mean term dropped in chunks",
  "only the last part",
  "dC of the last use alone",
];

test("mistakes on purpose turn the table red", { timeout: 900_000 }, async (t) => {
  const some = process.env.WEB_TEST_ALL ? undefined : SOME;
  const { address, page } = await setUp(t, { webgpu: true });
  const { found, progress } = await inWorker(page, address, broken, some);
  assert.equal(found.length, some?.length ?? 65);
  // The first shows only where logits are around 100; and where sums are cut into other parts, forgetting the
  // last part shows elsewhere first.
  const other = {
    "the row maximum not subtracted in the training step": "none",
    "the last part forgotten": "W2",
  };
  const off = found.filter((one) => one.found !== (other[one.name] ?? one.first));
  assert.deepEqual(off, []);
  // Both begin with one loss; then the gradients are 32 times too large, and the first steps overshoot.
  const { right, broken: wrong } = progress;
  assert.deepEqual([right.length, wrong.length], [60, 60]);
  assert.ok(Math.abs(right[0] - wrong[0]) < 1e-6, `${right[0]} and ${wrong[0]}`);
  for (const step of [1, 2, 3, 4, 5]) assert.ok(wrong[step] > right[step] + 0.2, `${step}: ${wrong[step]}`);
});

/** In a worker: what the compiler says of every file as it is, and of one with a name that is not there. */
async function compiled(engine) {
  const session = await engine.open({ fields: {}, backend: "webgpu" });
  const files = engine.sources();
  const errors = [];
  const unused = [];
  for (const { file, text } of files) {
    try {
      errors.push(...(await session.compile(file, text)));
    } catch (error) {
      unused.push(error.message);
    }
  }
  const { text } = files.find(({ file }) => file === "tanh.wgsl");
  const refused = await session.compile("tanh.wgsl", text.replace("(1.0 - h * h)", "(1.0 - hh * h)"));
  const line = 1 + text.split("\n").findIndex((line) => line.includes("(1.0 - h * h)"));
  const known = engine.mistakes().map(({ file, from }) => files.find((one) => one.file === file)?.text.split(from).length);
  return { files: files.map(({ file }) => file), errors, unused, refused, line, known };
}

test("the browser's compiler takes all files, and tells where one is wrong", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const { files, errors, unused, refused, line, known } = await inWorker(page, address, compiled);
  assert.ok(files.length >= 20 && files.includes("resident/train.wgsl"), files.join());
  assert.deepEqual(errors, []);
  // A device takes one of the two ways in which invocations wait for each other. One without subgroups does not hand
  // rows out in them either.
  const of = (file) => `no kernel on this device is made of ${file}.wgsl`;
  const without = ["resident/subgroup", "staged/through_subgroup"].map(of);
  assert.deepEqual(unused.toSorted(), unused.length === 1 ? [of("resident/workgroup")] : without);
  assert.equal(refused.length, 1);
  assert.deepEqual({ ...refused[0], message: "" }, { file: "tanh.wgsl", line, column: 19, message: "" });
  assert.match(refused[0].message, /hh/);
  // Every known mistake is in one of them, once.
  assert.deepEqual([...new Set(known)], [2]);
});
