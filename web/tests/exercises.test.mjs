// The exercises and the hunt: as a learner has them, and every answer on a device.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inWorker, logWhen, setUp } from "./browser.mjs";

const folder = fileURLToPath(new URL("../../exercises", import.meta.url));

/** The sections of a file of answers, as src/exercises/answers.rs reads them. */
function sections(text) {
  return text
    .split("//# ")
    .slice(1)
    .map((section) => {
      const [title, ...lines] = section.split("\n");
      const [kind, name = ""] = title.split(/: (.*)/);
      return { kind: kind.trim(), name: name.trim(), text: lines.filter((line) => !line.startsWith("//>")).join("\n").trim() };
    });
}

/** All exercises with their answers, in their order. */
async function answers() {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".wgsl")).sort();
  return Promise.all(
    files.map(async (file) => {
      const [text, all] = await Promise.all([file, `answers/${file}`].map((name) => readFile(join(folder, name), "utf8")));
      const parts = sections(all);
      const of = (kind) => parts.filter((part) => part.kind === kind);
      return { file, name: basename(file, ".wgsl").slice(3), text, solution: of("solution")[0].text, mistakes: of("mistake") };
    }),
  );
}

/** The page on its view of exercises. */
async function visit(t, { webgpu = false, query = "?backend=cpu", init } = {}) {
  const { address, browser, page } = await setUp(t, { webgpu });
  const refused = [];
  page.on("console", (message) => {
    if (message.type() === "error") refused.push(message.text());
  });
  if (init !== undefined) await page.addInitScript(init);
  const open = async (page) => {
    await page.goto(`${address}/dist/${query}`);
    await page.getByRole("tab", { name: "Exercises" }).click();
    await page.locator("#lessons [data-lesson]").nth(39).waitFor();
  };
  await open(page);
  return { address, browser, page, open, refused };
}

/** A folder that is gone after the test. */
async function space(t) {
  const made = await mkdtemp(join(tmpdir(), "gpu-makemore-"));
  t.after(() => rm(made, { recursive: true }));
  return made;
}

const content = (page) => page.locator("#lesson-editor .cm-content");
const text = (page) => page.locator("#lesson-editor .cm-line").evaluateAll((lines) => lines.map(({ textContent }) => textContent).join("\n"));
const state = (page, name) => page.locator(`[data-lesson="${name}"]`).getAttribute("data-state");

/** Puts a text in the place of what is in the editor, by keys and the clipboard. */
async function write(page, text) {
  await content(page).click();
  await page.keyboard.press("Control+a");
  await content(page).evaluate((editor, text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    editor.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
}

/** Checks, and waits for the verdict. */
async function check(page, verdict) {
  await page.keyboard.press("Control+Enter");
  await page.locator(`#verdict[data-verdict="${verdict}"]:not(.stale)`).waitFor({ timeout: 60_000 });
  return page.locator("#verdict").textContent();
}

async function choose(page, name) {
  await page.locator(`[data-lesson="${name}"]`).click();
  await page.locator("#lesson-title", { hasText: new RegExp(`· ${name}$`) }).waitFor();
}

test("a mistake is named and drawn, the solution is right, and both are kept", { timeout: 300_000 }, async (t) => {
  const [first] = await answers();
  const { page, open, refused } = await visit(t);
  assert.equal(await page.locator("[data-lesson]").count(), 41);
  assert.equal(await page.locator("#lessons-done").textContent(), "0 of 41 done");
  assert.equal(await page.locator("#lesson-title").textContent(), "1 · dlogprobs");
  assert.equal((await text(page)).trim(), first.text.trim());
  await content(page).click();
  assert.match(await check(page, "untouched"), /not begun/);
  assert.equal(await state(page, "dlogprobs"), "not begun");

  const mistake = first.mistakes.find(({ name }) => name === "divided by all elements");
  await write(page, mistake.text);
  assert.equal(await state(page, "dlogprobs"), "begun");
  assert.match(await check(page, "wrong"), /wrong in 32 of 864 elements\n/);
  assert.match(await page.locator("#lesson-mistake").textContent(), /divided by all elements/);
  assert.equal(await state(page, "dlogprobs"), "wrong");
  assert.equal(await page.locator('[data-lesson="dlogprobs"] .dot').textContent(), "×");
  assert.ok(await page.locator("#lesson-next").isHidden());

  // Three maps of 32 by 27 cells. The first two have one scale, which the reference's largest value ends.
  const maps = page.locator("#lesson-maps canvas");
  await page.waitForFunction(() => [...document.querySelectorAll("#lesson-maps canvas")].every(({ width, height }) => width === 27 && height === 32));
  assert.equal(await maps.count(), 3);
  const scales = await page.locator("#lesson-maps figcaption small").allTextContents();
  assert.deepEqual(scales.slice(0, 2), ["±0.03125", "±0.03125"]);
  const darkest = await maps.evaluateAll((all) =>
    all.map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return Math.min(...Array.from({ length: data.length / 4 }, (_, i) => data[4 * i] + data[4 * i + 1] + data[4 * i + 2]));
    }),
  );
  // Light theme: what is large is dark. The learner's values are 27 times smaller.
  assert.ok(darkest[0] > darkest[1] + 200, darkest.join());
  const readout = page.locator("#lesson-maps .readout");
  await page.locator("#lesson-maps .map").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  assert.match(await readout.textContent(), /^dlogprobs\(row 1, col 1\)\nyours +\S+\nreference +\S+\ndifference +\S+$/);

  await write(page, first.solution);
  assert.match(await page.locator("#lesson-told").textContent(), /changed/);
  assert.match(await check(page, "right"), /dlogprobs: right$/);
  assert.equal(await page.locator("#lesson-mistake").textContent(), "");
  assert.equal(await page.locator("#lessons-done").textContent(), "1 of 41 done");
  await page.locator("#lesson-next").click();
  assert.equal(await page.locator("#lesson-title").textContent(), "2 · dprobs");
  await write(page, "fn dprobs(row: u32, col: u32) -> f32 {\n    return 2.0;\n}\n");
  await check(page, "wrong");

  // The first that is not right is open again, under the address of the view.
  await page.reload();
  await page.locator("#lessons [data-lesson]").nth(39).waitFor();
  assert.equal(await page.locator("#lesson-title").textContent(), "2 · dprobs");
  assert.match(await text(page), /return 2\.0;/);
  assert.deepEqual([await state(page, "dlogprobs"), await state(page, "dprobs"), await state(page, "dh")], ["right", "wrong", "not begun"]);
  await choose(page, "dlogprobs");
  assert.equal((await text(page)).trim(), first.solution);
  // Right is said of a text, not of an exercise.
  await content(page).click();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(" // ?");
  assert.equal(await state(page, "dlogprobs"), "begun");
  await page.keyboard.press("Control+z");
  assert.equal(await state(page, "dlogprobs"), "right");
  // As it was, and back.
  await page.getByRole("button", { name: "Restore the original" }).click();
  assert.equal((await text(page)).trim(), first.text.trim());
  assert.equal(await state(page, "dlogprobs"), "not begun");
  await open(page);
  await choose(page, "dlogprobs");
  await page.getByRole("button", { name: "Bring back the other text" }).click();
  assert.equal((await text(page)).trim(), first.solution);
  assert.deepEqual(refused, []);
});

test("the exercises are loaded when they are opened, and then work without a network", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false });
  const only = /lessons|exercises-|archive-/;
  const kept = () =>
    page.evaluate(async () => {
      const [name] = await caches.keys();
      return (await (await caches.open(name)).keys()).map(({ url }) => url.slice(url.lastIndexOf("/") + 1));
    });
  await page.goto(`${address}/dist/?backend=cpu`);
  await logWhen(page, "ready");
  await page.evaluate(() => navigator.serviceWorker.ready);
  const before = await kept();
  assert.ok(before.includes("gpu_makemore_web_bg.wasm"), before.join());
  assert.deepEqual(before.filter((file) => only.test(file)), []);
  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
  assert.deepEqual(loaded.filter((name) => only.test(name)), []);
  // From now on the service worker is in between.
  await page.reload();
  await page.getByRole("tab", { name: "Exercises" }).click();
  await page.locator("#lessons [data-lesson]").nth(39).waitFor();
  await page.waitForFunction(async () => {
    const [name] = await caches.keys();
    return (await (await caches.open(name)).keys()).some(({ url }) => url.endsWith("/gpu_makemore_lessons_bg.wasm"));
  });
  await page.context().setOffline(true);
  await page.reload();
  await page.locator("#lessons [data-lesson]").nth(39).waitFor();
  await write(page, "fn dlogprobs(row: u32, col: u32) -> f32 {\n    return 1.0;\n}\n");
  await check(page, "wrong");
});

test("what does not compile is marked, and a loop without end is told", { timeout: 300_000 }, async (t) => {
  const { page, refused } = await visit(t);
  await write(page, "fn dlogprobs(row: u32, col: u32) -> f32 {\n    let n = f32(N);\n    return nn;\n}\n");
  assert.match(await check(page, "refused"), /01_dlogprobs\.wgsl:3:12: /);
  assert.equal(await page.locator("#lesson-editor .cm-lintRange-error").innerText(), "nn");
  const line = await page.locator("#lesson-editor .cm-line:has(.cm-lintRange-error)").innerText();
  assert.equal(line.trim(), "return nn;");
  assert.match(await page.locator("#lesson-maps").textContent(), /no values/);

  await write(page, "fn dlogprobs(row: u32, col: u32) -> f32 {\n    loop { }\n    return 0.0;\n}\n");
  const begun = performance.now();
  const told = await check(page, "failed");
  const took = performance.now() - begun;
  assert.match(told, /loop|steps/);
  assert.equal(await state(page, "dlogprobs"), "wrong");
  assert.ok(took < 2000, `${took} ms`);
  t.diagnostic(`a loop without end is told after ${Math.round(took)} ms`);
  assert.deepEqual(refused, []);
});

test("names are offered while one writes", { timeout: 300_000 }, async (t) => {
  const { page } = await visit(t);
  await choose(page, "dprobs");
  await write(page, "fn dprobs(row: u32, col: u32) -> f32 {\n    return \n}\n");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("End");
  await page.keyboard.type("dlog");
  const offered = page.locator("#lesson-editor .cm-tooltip-autocomplete li");
  await offered.first().waitFor();
  assert.deepEqual(await offered.allTextContents(), ["dlogprobs(row, col)"]);
  // It takes a key that comes too soon for one of the text.
  await page.waitForTimeout(200);
  await page.keyboard.press("Enter");
  assert.match(await text(page), /return dlogprobs\(row, col\)$/m);
  // Tab leaves the editor, and nothing is offered in comments.
  await page.keyboard.type("; // dlog");
  assert.equal(await offered.count(), 0);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "lesson-check");
});

test("hints come one at a time, and the solution stays out of the editor", { timeout: 300_000 }, async (t) => {
  const all = await answers();
  const { page } = await visit(t);
  await choose(page, "dcounts_sum_inv");
  const own = "fn dcounts_sum_inv(row: u32) -> f32 {\n    return 7.0;\n}";
  await write(page, own);
  const hints = page.locator("#hints h3", { hasText: "Hint" });
  const button = page.locator("#hint");
  const [, count] = /^Hint 1 of (\d)$/.exec(await button.textContent());
  assert.ok(Number(count) >= 3);
  for (let i = 1; i <= Number(count); i++) {
    await button.click();
    await hints.nth(i - 1).waitFor();
    assert.equal(await hints.count(), i);
  }
  assert.match(await page.locator("#hints").textContent(), /the axis of the columns must vanish/);
  assert.equal(await button.textContent(), "Show the solution");
  await button.click();
  assert.equal(await page.locator("#solution").count(), 0);
  await page.getByRole("button", { name: "Yes, show the solution" }).click();
  assert.equal((await page.locator("#solution").textContent()).trim(), all[2].solution);
  assert.match(await page.locator("#hints").textContent(), /Answer to the question\s*They add up/);
  assert.ok(await button.isHidden());
  assert.equal((await text(page)).trim(), own);
  // Another exercise has hints of its own.
  await choose(page, "dcounts_sum");
  assert.match(await button.textContent(), /^Hint 1 of /);
  assert.equal(await hints.count(), 0);
});

test("files go out and come in again", { timeout: 600_000 }, async (t) => {
  const all = await answers();
  const here = await space(t);
  const zip = join(here, "exercises.zip");
  const first = await visit(t);
  await write(first.page, all[0].solution);
  await check(first.page, "right");
  await choose(first.page, "dprobs");
  const wrong = all[1].mistakes[0].text;
  await write(first.page, wrong);
  await check(first.page, "wrong");
  const [download] = await Promise.all([first.page.waitForEvent("download"), first.page.getByRole("button", { name: "Export" }).click()]);
  assert.equal(download.suggestedFilename(), "exercises.zip");
  await download.saveAs(zip);

  const { page, open } = await visit(t);
  const imported = page.locator("#lessons-imported");
  const give = (files) => page.locator("#lessons-file").setInputFiles(files);
  await choose(page, "dh");
  await write(page, "fn dh(row: u32, unit: u32) -> f32 {\n    return 5.0;\n}\n");
  await give(zip);
  await page.waitForFunction(() => document.querySelector('[data-lesson="dlogprobs"]').dataset.state === "right");
  await page.waitForFunction(() => document.querySelector('[data-lesson="dprobs"]').dataset.state === "wrong");
  assert.match(await imported.textContent(), /^2 exercises imported\. 39 had nothing new\.$/);
  assert.equal(await page.locator("#lessons-done").textContent(), "1 of 41 done");
  // A file that was only handed out takes no work away.
  assert.match(await text(page), /return 5\.0/);
  await choose(page, "dprobs");
  assert.equal((await text(page)).trim(), wrong);

  // Single files: one in place of a text, one that is unknown, one that is no text, one that is too large.
  const paths = Object.fromEntries(["09_dh.wgsl", "42_more.wgsl", "10_dW2.wgsl", "11_db2.wgsl", "12_dhpreact.wgsl"].map((name) => [name, join(here, name)]));
  await writeFile(paths["09_dh.wgsl"], `\uFEFF${all[8].solution.replaceAll("\n", "\r\n")}`);
  await writeFile(paths["42_more.wgsl"], "fn more() {}");
  await writeFile(paths["10_dW2.wgsl"], new Uint8Array([0x66, 0xff, 0xfe]));
  await writeFile(paths["11_db2.wgsl"], "/".repeat(1_000_001));
  await writeFile(paths["12_dhpreact.wgsl"], all[11].solution);
  await give(Object.values(paths));
  await page.waitForFunction(() => document.querySelector('[data-lesson="dhpreact"]').dataset.state === "right");
  const told = await imported.textContent();
  assert.match(told, /^2 exercises imported, 1 of them over a text of yours\./);
  for (const part of ["No exercise has the name: 42_more.wgsl.", "10_dW2.wgsl is not UTF-8", "11_db2.wgsl is larger than 1 MB"]) {
    assert.ok(told.includes(part), told);
  }
  assert.equal(await state(page, "dh"), "right");
  await choose(page, "dh");
  assert.equal((await text(page)).trim(), all[8].solution);
  await page.getByRole("button", { name: "Undo import" }).click();
  assert.match(await text(page), /return 5\.0/);
  assert.equal(await state(page, "dhpreact"), "not begun");
  assert.equal(await state(page, "dlogprobs"), "right");

  // A file that is dropped on the view; a zip file that is none.
  await page.evaluate(([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    data.items.add(new File(["no"], "no.zip"));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, ["folder/10_dW2.wgsl", all[9].solution]);
  await page.waitForFunction(() => document.querySelector('[data-lesson="dW2"]').dataset.state === "right");
  assert.match(await imported.textContent(), /1 exercise imported\. no\.zip cannot be read/);
  await open(page);
  assert.deepEqual([await state(page, "dlogprobs"), await state(page, "dprobs"), await state(page, "dh"), await state(page, "dW2")], ["right", "wrong", "begun", "right"]);
});

test("two tabs share what is written, and neither overwrites the other", { timeout: 300_000 }, async (t) => {
  const [first] = await answers();
  const { browser, page, open } = await visit(t);
  const other = await browser.newPage();
  await open(other);
  await write(page, first.solution);
  await check(page, "right");
  await other.waitForFunction(() => document.querySelector('[data-lesson="dlogprobs"]').dataset.state === "right");
  assert.equal((await text(other)).trim(), first.solution);
  // Both write another exercise.
  for (const [tab, number] of [[page, 1], [other, 2]]) await choose(tab, "dprobs");
  await write(page, "// one");
  await write(other, "// two");
  await page.getByRole("button", { name: "Bring back the other text" }).waitFor();
  await page.waitForTimeout(1000);
  assert.deepEqual([await text(page), await text(other)], ["// one", "// two"]);
  await page.getByRole("button", { name: "Bring back the other text" }).click();
  assert.equal(await text(page), "// two");
  await page.getByRole("button", { name: "Bring back the other text" }).click();
  assert.equal(await text(page), "// one");
});

for (const [what, init, sentence] of [
  [
    "full",
    () => {
      Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
    },
    /not kept over a reload: the browser's storage is full/,
  ],
  [
    "forbidden",
    () => {
      Object.defineProperty(window, "localStorage", {
        get() {
          throw new DOMException("no", "SecurityError");
        },
      });
    },
    /not kept over a reload: the browser allows this page no storage/,
  ],
]) {
  test(`${what} storage is told, and nothing in the page is lost`, { timeout: 300_000 }, async (t) => {
    const [first] = await answers();
    const { page } = await visit(t, { init });
    await write(page, first.solution);
    await check(page, "right");
    await page.locator("#lessons-kept", { hasText: sentence }).waitFor();
    await choose(page, "dprobs");
    await choose(page, "dlogprobs");
    assert.equal((await text(page)).trim(), first.solution);
    assert.equal(await state(page, "dlogprobs"), "right");
  });
}

test("storage of another version stays as it is", { timeout: 300_000 }, async (t) => {
  const stored = '{"version":2,"exercises":{"dh":{"text":"mine","task":1}}}';
  const { page } = await visit(t, { init: `localStorage.setItem("gpu-makemore-exercises", ${JSON.stringify(stored)})` });
  await write(page, "// one");
  await page.locator("#lessons-kept", { hasText: /another version/ }).waitFor();
  await page.waitForTimeout(1000);
  assert.equal(await page.evaluate(() => localStorage.getItem("gpu-makemore-exercises")), stored);
  assert.equal(await state(page, "dh"), "not begun");
});

test("what another version of the page found right is checked again", { timeout: 300_000 }, async (t) => {
  const [first, second] = await answers();
  const kept = (text) => ({ text, worth: "right", task: 1 });
  const stored = { version: 1, exercises: { dlogprobs: kept(first.mistakes[0].text), dprobs: kept(second.solution) } };
  const { page } = await visit(t, { init: `localStorage.setItem("gpu-makemore-exercises", ${JSON.stringify(JSON.stringify(stored))})` });
  await page.waitForFunction(() => document.querySelector('[data-lesson="dprobs"]').dataset.state === "right");
  assert.equal(await state(page, "dlogprobs"), "wrong");
  assert.equal(await page.locator("#lessons-done").textContent(), "1 of 41 done");
});

test("a check without end and a worker that dies are replaced, and nothing is lost", { timeout: 300_000 }, async (t) => {
  const [first] = await answers();
  const { page } = await visit(t, {
    init: () => {
      window.Worker = class extends window.Worker {
        postMessage(message) {
          if (message.call === "check" && window.swallow) window.checker = this;
          else super.postMessage(message);
        }
      };
      window.swallow = true;
    },
  });
  await write(page, first.solution);
  await page.keyboard.press("Control+Enter");
  await page.locator("#verdict", { hasText: /took longer than 10 seconds and was ended\. The checker was replaced/ }).waitFor({ timeout: 20_000 });
  assert.equal(await state(page, "dlogprobs"), "begun");

  await page.keyboard.press("Control+Enter");
  await page.waitForTimeout(1000);
  await page.evaluate(() => window.checker.dispatchEvent(new ErrorEvent("error", { message: "gone", cancelable: true })));
  await page.locator("#verdict", { hasText: /The worker stopped: gone\. The checker was replaced/ }).waitFor();
  await page.evaluate(() => (window.swallow = false));
  assert.equal((await text(page)).trim(), first.solution);
  await content(page).click();
  await check(page, "right");
});

test("one's own gradients train as the reference's do", { timeout: 600_000 }, async (t) => {
  const all = await answers();
  const here = await space(t);
  const files = all.slice(0, 26).map(({ file }) => join(here, file));
  await Promise.all(all.slice(0, 26).map(({ solution }, i) => writeFile(files[i], solution)));
  const { page } = await visit(t, {
    init: () => {
      window.Worker = class extends window.Worker {
        postMessage(message) {
          if (message.call !== "advance" || !window.swallow) super.postMessage(message);
        }
      };
      // Half a minute is not waited for.
      const { setTimeout } = window;
      window.setTimeout = (work, after, ...more) => setTimeout(work, window.swallow && after === 30_000 ? 500 : after, ...more);
    },
  });
  const train = page.locator("#own-train");
  assert.equal(await train.textContent(), "Train 20 steps");
  assert.ok(await train.isDisabled());
  await page.locator("#lessons-file").setInputFiles(files.slice(0, 25));
  await page.locator("#lessons-done", { hasText: "25 of 41 done" }).waitFor({ timeout: 120_000 });
  assert.match(await page.locator("#own-needs").textContent(), /Not right yet: dC\.$/);
  assert.ok(await train.isDisabled());
  await page.locator("#lessons-file").setInputFiles(files.slice(25));
  await page.locator("#lessons-done", { hasText: "26 of 41 done" }).waitFor({ timeout: 60_000 });
  // It can be stopped, and begun again.
  await train.click();
  const line = page.locator("#own-state");
  await page.locator("#own-state", { hasText: /^Step \d+ of 20/ }).waitFor({ timeout: 60_000 });
  await page.locator("#own-stop").click();
  await page.locator("#own-state", { hasText: /Stopped\./ }).waitFor({ timeout: 60_000 });
  await train.click();
  await page.locator("#own-state", { hasText: /^Step 20 of 20\. Finished\./ }).waitFor({ timeout: 120_000 });
  const [, apart] = /The losses differ by at most (\d\S*)\. /.exec(await line.textContent());
  assert.ok(Number(apart) <= 1e-4, apart);
  assert.match(await page.locator("#own-log").textContent(), /^ *0\/ *20: 3\.9508$/m);
  assert.ok(await page.locator("#view-exercises .chart canvas").isVisible());

  // A step that never ends is told after its time, and the next training has a new worker.
  await page.evaluate(() => (window.swallow = true));
  await train.click();
  await page.locator("#own-state.wrong", { hasText: /^No step was done for 30 seconds, so the training was ended: .* The checker was replaced; your texts are all here\.$/ }).waitFor({ timeout: 20_000 });
  assert.equal(await page.locator("#lessons-done").textContent(), "26 of 41 done");
  await page.evaluate(() => (window.swallow = false));
  await train.click();
  await page.locator("#own-state:not(.wrong)", { hasText: /^Step [1-9]\d* of 20/ }).waitFor({ timeout: 60_000 });
});

/** In a worker: what is said of texts that are no answer, and how long each takes; in the end, of the solution. */
async function answered(engine, { name, solution, texts }) {
  const checker = await engine.open_checker("cpu");
  const told = [];
  for (const [what, text] of [...texts, ["the solution", solution]]) {
    const begun = performance.now();
    const { verdict, lines } = await checker.check(name, text);
    told.push({ what, verdict, lines, took: performance.now() - begun });
  }
  return told;
}

test("bad texts are answered in two seconds, and the checker goes on", { timeout: 300_000 }, async (t) => {
  const lesson = (await answers()).find(({ name }) => name === "dprobs");
  const body = (lines) => `fn dprobs(row: u32, col: u32) -> f32 {\n${lines}\n}\n`;
  const texts = [
    ["nothing", ""],
    ["renamed", "fn dprob(row: u32, col: u32) -> f32 { return 0.0; }"],
    ["other parameters", "fn dprobs(row: u32) -> f32 { return 0.0; }"],
    ["code outside", "let x = 1.0;\nfn dprobs(row: u32, col: u32) -> f32 { return 0.0; }"],
    ["endless loop", body("var i = 0u;\nwhile true { i += 1u; }\nreturn f32(i);")],
    ["beyond the end", body("return dlogprobs(row + 1u, col);")],
    ["a huge array", body("var a: array<f32, 1000000000>;\nreturn a[row];")],
    ["not a number", body("return probs(row, col) / 0.0;")],
    ["recursion", body("return dprobs(row, col);")],
    ["brackets", "(".repeat(100_000) + ")".repeat(100_000)],
    ["deep", body(`return ${"(".repeat(2_000)}1.0${")".repeat(2_000)};`)],
    ["long", "/".repeat(1_000_000)],
    ["letters", "\0\uFEFF🦀 fn"],
  ];
  const { address, page } = await setUp(t, { webgpu: false });
  const told = await inWorker(page, address, answered, { name: lesson.name, solution: lesson.solution, texts }, "gpu_makemore_lessons");
  assert.equal(told.length, texts.length + 1);
  for (const { what, verdict, lines, took } of told) {
    assert.ok(took < 2000, `${what} took ${Math.round(took)} ms`);
    assert.ok(lines.length > 0, what);
    if (what === "the solution") assert.equal(verdict, "right");
    else assert.ok(["wrong", "refused", "failed"].includes(verdict), `${what}: ${verdict}`);
  }
});

/** In a worker: texts that are not judged as they should be. */
async function judged(engine, lessons) {
  const checker = await engine.open_checker("webgpu");
  const { device } = checker.place();
  const off = [];
  let count = 0;
  for (const { name, solution, mistakes } of lessons) {
    const right = await checker.check_on_device(name, solution);
    if (right.verdict !== "right") off.push([name, "the solution", right.verdict, right.lines]);
    for (const mistake of mistakes) {
      const { verdict, mistake: known } = await checker.check_on_device(name, mistake.text);
      if (verdict === "right" || known !== mistake.name) off.push([name, mistake.name, verdict, known]);
    }
    count += 1 + mistakes.length;
  }
  // Interpreter and device, with times.
  const { name, solution } = lessons.find(({ name }) => name === "matmul_tiles");
  const { by, micros, plain, verdict } = await checker.check(name, solution);
  return { device, off, count, both: { by, micros, plain, verdict } };
}

test("on a device every solution is right, and mistakes are named", { timeout: 900_000 }, async (t) => {
  const lessons = await answers();
  assert.equal(lessons.length, 41);
  const all = lessons.flatMap(({ mistakes }) => mistakes);
  assert.ok(all.length > 200, `${all.length} mistakes`);
  const { address, page } = await setUp(t, { webgpu: true });
  const { device, off, count, both } = await inWorker(page, address, judged, lessons, "gpu_makemore_lessons");
  assert.deepEqual(off, []);
  assert.equal(count, 41 + all.length);
  assert.equal(both.verdict, "right");
  assert.deepEqual(both.by, ["the interpreter", device]);
  assert.ok(both.micros > 0 && both.plain.micros > 0);
  t.diagnostic(`${all.length} mistakes on ${device}`);
});

test("what is right in the interpreter runs on the device, with times", { timeout: 300_000 }, async (t) => {
  const all = await answers();
  const { page } = await visit(t, { webgpu: true, query: "?backend=webgpu" });
  await page.locator("#lessons-place", { hasText: /^Checked by the interpreter, then on .*WebGPU/ }).waitFor({ timeout: 60_000 });
  assert.equal(await page.locator("#own-train").textContent(), "Train 2,000 steps");
  await choose(page, "row_sum_workgroup");
  await write(page, all[35].solution);
  await check(page, "right");
  assert.match(await page.locator("#lesson-times").textContent(), /^A launch takes \S+ [µm]s\. The plain kernel \(.*\) takes \S+ [µm]s\.$/);
  assert.match(await page.locator("#lesson-maps").textContent(), /Computed by the interpreter; .*WebGPU/);
});

test("a planted mistake is not named until its line is found", { timeout: 900_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true });
  const refused = [];
  page.on("console", (message) => {
    if (message.type() === "error") refused.push(message.text());
  });
  // Which line each number's mistake is in: the first line of the right text of one of the known mistakes.
  const hunts = await inWorker(page, address, (engine) => {
    const files = engine.sources();
    const lines = engine.mistakes().map(({ name, file, from }) => {
      const { text } = files.find((one) => one.file === file);
      return { name, file, line: text.slice(0, text.indexOf(from)).split("\n").length };
    });
    return Array.from({ length: engine.hunts() }, (_, i) => {
      const found = lines.filter(({ name, file, line }) => {
        const { found, mistake } = engine.hunt_guess(i + 1, file, line);
        return found && mistake.name === name;
      });
      return found[0] ?? null;
    });
  });
  assert.ok(hunts.length >= 10, `${hunts.length} hunts`);
  assert.ok(hunts.every((hunt) => hunt !== null), JSON.stringify(hunts));

  // The page draws by chance: here it draws the first, then another one.
  await page.addInitScript(() => (Math.random = () => window.chance ?? 0));
  await page.goto(`${address}/dist/?steps=200&backend=webgpu`);
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  const button = page.getByRole("button", { name: "Find a planted mistake" });
  await button.click();
  const sentence = page.locator("#broken-verdict", { hasText: /\d+ of 26 rows (is|are) wrong; the first is/ });
  await sentence.waitFor({ timeout: 120_000 });
  assert.equal(await page.locator("#broken-cmp tbody tr").count(), 26);
  assert.ok((await page.locator("#broken-cmp tbody tr.wrong").count()) > 0);
  const { name, file, line } = hunts[0];
  const article = page.locator(".chosen-mistake");
  assert.ok(!(await article.textContent()).includes(name));
  await page.locator("#broken-steps").fill("20");
  await page.getByRole("button", { name: "Train 20 steps with it" }).click();
  await page.locator("#broken-state", { hasText: "Step 20 of 20 with the mistake. Finished." }).waitFor({ timeout: 120_000 });

  // The text can be read and not be written.
  await page.locator("#hunt-file").selectOption(file);
  const content = page.locator("#hunt-place .cm-content");
  await content.click();
  const before = await content.textContent();
  await page.keyboard.type("x");
  assert.equal(await content.textContent(), before);
  await page.keyboard.press("Control+Home");
  const guess = page.locator("#hunt-guess");
  assert.equal(await guess.textContent(), `It is line 1 of ${file}`);
  assert.notEqual(line, 1);
  await guess.click();
  const told = page.locator("#hunt-told");
  await page.locator("#hunt-told", { hasText: /^Not this line/ }).waitFor();
  assert.ok(!(await article.textContent()).includes(name));
  await content.focus();
  for (let i = 1; i < line; i++) await page.keyboard.press("ArrowDown");
  // A line that is wrapped takes more keys.
  for (let i = 0; i < 50 && (await guess.textContent()) !== `It is line ${line} of ${file}`; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Control+Enter");
  await page.locator("#hunt-told", { hasText: /^Found/ }).waitFor();
  assert.ok((await told.textContent()).includes(name));
  assert.equal(await page.locator(".chosen-mistake .diff dd").count(), 2);

  const giveUp = page.locator("#hunt-give-up");
  assert.ok(await giveUp.isDisabled());

  // Another one, of which all is told to one who gives up.
  await page.evaluate(() => (window.chance = 0.999));
  await page.getByRole("button", { name: "Another one" }).click();
  assert.equal(await page.locator(".chosen-mistake .diff dd").count(), 0);
  await sentence.waitFor({ timeout: 120_000 });
  const last = hunts.at(-1);
  assert.ok(!(await article.textContent()).includes(last.name));
  await giveUp.click();
  await page.locator("#hunt-told", { hasText: /^It is line/ }).waitFor();
  assert.equal(await told.textContent(), `It is line ${last.line} of ${last.file}: ${last.name}. In the table, ${await sentence.textContent()}`);
  assert.equal(await guess.textContent(), `It is line ${last.line} of ${last.file}`);
  assert.equal(await page.locator(".chosen-mistake .diff dd").count(), 2);
  assert.ok((await guess.isDisabled()) && (await giveUp.isDisabled()));
  assert.equal(await page.evaluate(() => document.activeElement.id), "hunt-another");
  assert.deepEqual(refused, []);
});

test("without WebGPU a mistake cannot be planted, and the page says so", { timeout: 300_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false });
  await page.goto(`${address}/dist/?steps=200&backend=cpu`);
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "Find a planted mistake" }).click();
  await page.locator("#hunt-place .cm-content").waitFor();
  assert.match(await page.locator("#needs").textContent(), /needs WebGPU/);
  assert.ok(await page.locator("#hunt-another").isDisabled());
});
