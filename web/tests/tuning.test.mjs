// The layout of a step: it is measured once, remembered, and kept by a run that is continued.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { inWorker, logWhen, setUp } from "./browser.mjs";

/** In a worker: the lines about the layout of sessions, each with what is remembered of those before. */
async function layouts(engine) {
  const kept = new Map();
  const tunings = {
    load: async (key) => kept.get(key),
    save: async (key, text) => void kept.set(key, text),
  };
  const forbidden = {
    load: () => Promise.reject(new DOMException("no", "SecurityError")),
    save: () => Promise.reject(new DOMException("no", "SecurityError")),
  };
  const open = async (tune, tunings, steps = "200000") => {
    const session = await engine.open({ fields: { steps, n_hidden: "16" }, backend: "webgpu", tune }, tunings);
    const lines = session.about().lines.filter((line) => /^(schedule|tuning|note) /.test(line));
    const { loss } = await session.advance(1);
    session.free();
    return { lines, loss };
  };
  const found = { first: await open("auto", tunings), second: await open("auto", tunings) };
  const [key, text] = [...kept][0];
  found.key = JSON.parse(key);
  found.record = JSON.parse(text);
  found.count = kept.size;
  found.again = await open("again", tunings);
  found.off = await open("off", tunings);
  // What cannot be read, what this adapter says that it cannot run, and what fails on it.
  for (const [name, kind] of [
    ["damaged", "{"],
    ["unsuited", JSON.stringify({ ...found.record, tuning: "resident:workers=9,lanes=9" })],
    ["failing", JSON.stringify({ ...found.record, tuning: "resident:workers=4096" })],
  ]) {
    kept.set(key, kind);
    found[name] = await open("auto", tunings);
    found[name].mended = JSON.parse(kept.get(key)).tuning;
  }
  kept.clear();
  found.short = await open("auto", tunings, "3");
  found.forgotten = kept.size;
  found.forbidden = await open("auto", forbidden);
  found.refused = await open("sometimes", tunings).catch(({ message }) => message);
  return found;
}

test("a layout is measured once and remembered", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const found = await inWorker(page, address, layouts);
  const tuning = `tuning      ${found.record.tuning}`;
  assert.match(found.first.lines[0], /^schedule    (resident|staged); measured: \d+ us per step/);
  assert.equal(found.first.lines[1], tuning);
  assert.match(found.second.lines[0], /^schedule    (resident|staged); measured before: \d+ us per step/);
  assert.deepEqual(found.second.lines.slice(1), [tuning]);
  assert.equal(found.count, 1);
  const { backend, schedule, hidden, batch } = found.key;
  assert.deepEqual({ backend, schedule, hidden, batch }, { backend: "webgpu", schedule: "auto", hidden: 16, batch: 32 });
  assert.match(found.again.lines[0], /; measured: /);
  assert.match(found.off.lines[0], /; the model is small$/);
  for (const [name, note] of [
    ["damaged", /^note        the layout that this browser remembers is ignored: it cannot be read/],
    ["unsuited", /^note        the layout that this browser remembers is ignored: .* needs subgroups of 9 invocations/],
    ["failing", /^note        the layout resident:workers=4096 cannot be used here: /],
  ]) {
    const { lines, mended } = found[name];
    assert.match(lines[0], /; measured: /, name);
    assert.match(lines[2], note);
    assert.equal(lines[1], `tuning      ${mended}`);
  }
  // A run that is shorter than a search is worth does not search.
  assert.match(found.short.lines[0], /; the model is small$/);
  assert.equal(found.forgotten, 0);
  assert.match(found.forbidden.lines[0], /; measured: /);
  assert.match(found.refused, /tune=sometimes: auto, off or again is wanted/);
  // Layouts differ by rounding alone.
  const losses = Object.values(found).flatMap(({ loss }) => loss ?? []);
  assert.ok(losses.length === 9 && losses.every((loss) => Math.abs(loss - losses[0]) < 1e-5), losses.join());
  t.diagnostic(`${found.first.lines.join("; ")}`);
});

/** Whose layout a log tells of, and why it is this one. */
function told(log) {
  const [, why] = /^schedule    \w+; (.*)$/m.exec(log) ?? [];
  const [, tuning] = /^tuning      (.*)$/m.exec(log) ?? [];
  return { why, tuning };
}

/** The model as a file. */
async function model(page) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save the model" }).click()]);
  return readFile(await file.path());
}

test("a run keeps its layout over a reload, and ends with the same bits", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const at = (query) => `${address}/dist/${query}`;
  const query = "?backend=webgpu&steps=6000&n_hidden=16&start=1";
  await page.goto(at(query));
  const first = told(await logWhen(page, "finished"));
  assert.match(first.why, /^measured: /);
  const whole = await model(page);
  await page.goto(at(query));
  await page.waitForFunction(() => Number(document.querySelector("#at")?.textContent?.split(" of ")[0]?.replace(/\D/g, "")) >= 500);
  await page.locator("#pause").click();
  const second = told(await logWhen(page, "paused"));
  assert.match(second.why, /^measured before: /);
  assert.equal(second.tuning, first.tuning);
  await page.goto(at(""));
  await page.locator("#continue").click();
  const third = told(await logWhen(page, "finished"));
  assert.deepEqual(third, { why: "as the run was begun", tuning: first.tuning });
  assert.ok(whole.equals(await model(page)), "the models differ");
});

test("where storage is forbidden it trains, and remembers nothing", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  // A service worker would hand over the worker as it is.
  await page.addInitScript(() => delete Navigator.prototype.serviceWorker);
  await page.route("**/worker.js", async (route) => {
    const answer = await route.fetch();
    const deny = 'Object.defineProperty(globalThis, "indexedDB", { get() { throw new DOMException("denied", "SecurityError"); } });';
    await route.fulfill({ response: answer, body: `${deny}\n${await answer.text()}` });
  });
  for (let visit = 0; visit < 2; visit++) {
    await page.goto(`${address}/dist/?backend=webgpu&steps=3000&n_hidden=16&start=1`);
    assert.match(told(await logWhen(page, "finished")).why, /^measured: /);
    assert.match(await page.locator("#notice").textContent(), /keeps no runs|does not keep/);
  }
});

test("the layout is a choice for GPUs", { timeout: 120_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false });
  await page.goto(`${address}/dist/?backend=cpu&tune=again`);
  const log = await logWhen(page, "ready");
  assert.doesNotMatch(log, /^(schedule|tuning) /m);
  const layout = page.getByLabel("layout");
  assert.ok(await layout.isDisabled());
  assert.equal(await layout.inputValue(), "again");
  await page.goto(`${address}/dist/?tune=never`);
  await page.waitForFunction(() => document.documentElement.dataset.state === "failed");
  assert.match(await page.locator("#notice").textContent(), /tune=never\. There are: auto, off, again/);
});
