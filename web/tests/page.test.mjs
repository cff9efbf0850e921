// The page as a visitor has it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launch, logWhen, serve } from "./browser.mjs";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** What the program prints. */
async function program(...args) {
  const cargo = ["run", "--quiet", "--release", "--locked", "--", ...args];
  return (await run("cargo", cargo, { cwd: root, maxBuffer: 1 << 24 })).stdout;
}

/** Server, browser and a folder that are gone after the test. */
async function setUp(t, options) {
  const [server, { browser, close }, folder] = await Promise.all([
    serve(),
    launch(options),
    mkdtemp(join(tmpdir(), "gpu-makemore-")),
  ]);
  t.after(() => Promise.all([close(), server.stop(), rm(folder, { recursive: true })]));
  return { at: (query) => `${server.address}/dist/${query}`, browser, folder };
}

/** The lines of steps, losses and names. */
function results(log) {
  const lines = log.split("\n").filter((line) => line !== "");
  const first = lines.findIndex((line) => /^ *0\/ *\d+: /.test(line));
  const from = lines.slice(first);
  // After the names the program tells where the files are.
  return from.slice(0, from.findIndex((line) => line.startsWith("val   ")) + 21);
}

/** Losses apart, lines are the same; a loss may differ in the last digit, since processors round in other places. */
function sameLines(found, wanted) {
  const loss = /\d\.\d{4}$/;
  const text = (lines) => lines.map((line) => line.replace(loss, "…"));
  assert.deepEqual(text(found), text(wanted));
  for (const [i, line] of found.entries()) {
    const [a, b] = [loss.exec(line), loss.exec(wanted[i])].map(Number);
    assert.ok(!loss.test(line) || Math.abs(a - b) < 1.5e-4, `${line} and ${wanted[i]}`);
  }
}

/** Waits until a run has come to a step. */
async function reaches(page, least) {
  await page.waitForFunction(
    (least) => Number(document.querySelector("#at")?.textContent?.split(" of ")[0]?.replace(/\D/g, "")) >= least,
    least,
  );
}

/** What a button hands over as a file. */
async function download(page, button, path) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
  await file.saveAs(path);
  return path;
}

test("a link trains, and prints what the program prints", { timeout: 600_000 }, async (t) => {
  const { at, browser, folder } = await setUp(t, { webgpu: false });
  const page = await browser.newPage();
  await page.goto(at("?steps=2000&backend=cpu&start=1"));
  const log = await logWhen(page, "finished");
  const told = await program("train", "--backend", "cpu", "--steps", "2000", "--out", join(folder, "run"));
  sameLines(results(log), results(told));
  assert.match(log, /^vocabulary  27: \.abcdefghijklmnopqrstuvwxyz$/m);

  // Files go both ways. The program's losses of the page's model are the page's.
  const model = await download(page, "Save the model", join(folder, "page.safetensors"));
  const evaluated = await program("eval", "--checkpoint", model);
  const [, train] = /^train (\d\.\d{4})$/m.exec(log);
  const [, again] = /^train +(\d\.\d{4}) /m.exec(evaluated);
  assert.ok(Math.abs(train - again) < 1.5e-4, `${train} and ${again}`);
});

test("the lecture's whole training ends with PyTorch's losses and names", { timeout: 600_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: false });
  const page = await browser.newPage();
  await page.goto(at("?start=1&backend=cpu"));
  const log = await logWhen(page, "finished", 500_000);
  // As in tests/lecture.rs: PyTorch ends at 2.0711, 2.1119, and f32 rounds otherwise on other machines.
  const loss = (name) => Number(new RegExp(`^${name} +(\\d\\.\\d{4})$`, "m").exec(log)?.[1]);
  assert.ok(Math.abs(loss("train") - 2.0711) < 0.005, log);
  assert.ok(Math.abs(loss("val") - 2.1119) < 0.005, log);
  assert.deepEqual(
    results(log).slice(-20),
    ("carlah amelle khi mri reigh skanden jazhitlalee arci aqui ner kea chaiiv kaleigh ham join quinn shoilea " +
      "jaddi watell dearyxia").split(" "),
  );
});

test("nothing on the page's own thread takes 50 ms while it trains", { timeout: 300_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: false });
  const page = await browser.newPage();
  await page.goto(at("?steps=200000&backend=cpu&start=1"));
  await reaches(page, 2000);
  await page.evaluate(() => {
    window.longTasks = [];
    const observer = new PerformanceObserver((list) => {
      window.longTasks.push(...list.getEntries().map(({ duration }) => duration));
    });
    observer.observe({ type: "longtask" });
  });
  await page.waitForTimeout(5000);
  const { tasks, state } = await page.evaluate(() => ({
    tasks: window.longTasks,
    state: document.documentElement.dataset.state,
  }));
  assert.equal(state, "training");
  assert.deepEqual(tasks, []);
});

test("a run is kept over a reload, and ends with the same model", { timeout: 600_000 }, async (t) => {
  const { at, browser, folder } = await setUp(t, { webgpu: false });
  const page = await browser.newPage();
  const query = "?steps=30000&backend=cpu&n_hidden=64";
  await page.goto(at(`${query}&start=1`));
  const whole = await logWhen(page, "finished");
  const wanted = await download(page, "Save the model", join(folder, "whole.safetensors"));
  await page.goto(at(`${query}&start=1`));
  await reaches(page, 5000);
  await page.locator("#pause").click();
  await logWhen(page, "paused");
  await page.goto(at(""));
  await page.locator("#continue").click();
  const rest = await logWhen(page, "finished");
  const found = await download(page, "Save the model", join(folder, "rest.safetensors"));
  assert.ok((await readFile(wanted)).equals(await readFile(found)), "the models differ");
  assert.deepEqual(results(whole).slice(-22), results(rest).slice(-22));
});

test("a second tab says that its run is not kept", { timeout: 300_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: false });
  const [first, second] = [await browser.newPage(), await browser.newPage()];
  await first.goto(at("?steps=200000&backend=cpu&start=1"));
  await reaches(first, 100);
  await second.goto(at("?steps=200&backend=cpu&start=1"));
  await logWhen(second, "finished");
  assert.match(await second.locator("body").innerText(), /another tab/i);
});

test("full storage is told, and the training goes on", { timeout: 300_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: false });
  const page = await browser.newPage();
  const session = await browser.newCDPSession(page);
  const origin = new URL(at("")).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1000 });
  await page.goto(at("?steps=20000&backend=cpu&start=1"));
  const log = await logWhen(page, "finished");
  assert.match(log, /^train \d/m);
  assert.match(await page.locator("body").innerText(), /storage.*full|full.*storage/i);
});

test("words of one's own", { timeout: 300_000 }, async (t) => {
  const { at, browser, folder } = await setUp(t, { webgpu: false });
  const words = join(folder, "words.txt");
  await writeFile(words, ["ada", "alan", "grace", "edsger", "barbara", "donald", "tony", "niklaus", "ken", "dennis"].join("\n"));
  const page = await browser.newPage();
  await page.goto(at("?steps=200&backend=cpu"));
  await logWhen(page, "ready");
  await page.locator("input[type=file]").first().setInputFiles(words);
  await page.locator("#train").click();
  const log = await logWhen(page, "finished");
  assert.match(log, /data        words\.txt: 10 words/);
});

test("the kernels train on WebGPU, and all 26 rows agree", { timeout: 600_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: true });
  const page = await browser.newPage();
  await page.goto(at("?steps=200&backend=webgpu&start=1"));
  const log = await logWhen(page, "finished", 300_000);
  assert.match(log, /schedule    resident; the model is small/);
  assert.match(log, /^ {6}0\/ {4}200: 3\.9508$/m);
  await page.getByRole("tab", { name: "One step" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#cmp tbody tr").length === 26, undefined, { timeout: 120_000 });
  const verdicts = await page.locator("#cmp tbody tr td:last-child").allInnerTexts();
  assert.deepEqual([...new Set(verdicts)], ["ok"]);
});

test("a mistake is made, shows in the table, and trains", { timeout: 600_000 }, async (t) => {
  const { at, browser } = await setUp(t, { webgpu: true });
  const page = await browser.newPage();
  await page.goto(at("?steps=200&backend=webgpu"));
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "1-h for 1-h**2", exact: true }).click();
  await page.getByRole("button", { name: "Make this mistake" }).click();
  const sentence = page.getByText(/\d+ of 26 rows are wrong; the first is/);
  await sentence.waitFor({ timeout: 120_000 });
  assert.match(await sentence.textContent(), /the first is hpreact/);
});
