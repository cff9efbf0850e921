// The page as a visitor has it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { logWhen, setUp } from "./browser.mjs";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** What the program prints. */
async function program(...args) {
  const cargo = ["run", "--quiet", "--release", "--locked", "--", ...args];
  return (await run("cargo", cargo, { cwd: root, maxBuffer: 1 << 24 })).stdout;
}

/** The page, and a folder that is gone after the test. */
async function visit(t, options) {
  const [{ address, browser, page }, folder] = await Promise.all([
    setUp(t, options),
    mkdtemp(join(tmpdir(), "gpu-makemore-")),
  ]);
  t.after(() => rm(folder, { recursive: true }));
  return { at: (query) => `${address}/dist/${query}`, browser, page, folder };
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
  const { at, page, folder } = await visit(t, { webgpu: false });
  await page.goto(at("?steps=2010&backend=cpu&start=1"));
  const log = await logWhen(page, "finished");
  const told = await program("train", "--backend", "cpu", "--steps", "2010", "--out", join(folder, "run"));
  sameLines(results(log), results(told));
  assert.match(log, /^vocabulary  27: \.abcdefghijklmnopqrstuvwxyz$/m);

  // Files go both ways. The program's losses of the page's model are the page's.
  const model = await download(page, "Save the model", join(folder, "page.safetensors"));
  const evaluated = await program("eval", "--checkpoint", model);
  const [, train] = /^train (\d\.\d{4})$/m.exec(log);
  const [, again] = /^train +(\d\.\d{4}) /m.exec(evaluated);
  assert.ok(Math.abs(train - again) < 1.5e-4, `${train} and ${again}`);
});

test("the program's files are opened", { timeout: 300_000 }, async (t) => {
  const { at, page, folder } = await visit(t, { webgpu: false });
  const told = await program("train", "--backend", "cpu", "--steps", "1010", "--n-hidden", "40", "--out", join(folder, "run"));
  for (const [name, line] of [
    ["last.safetensors", "resumed     after 1010 of 1010 steps"],
    ["model.safetensors", "opened      a model after 1010 steps"],
  ]) {
    await page.goto(at("?backend=cpu"));
    await logWhen(page, "ready");
    await page.locator("#run-file").setInputFiles(join(folder, "run", name));
    await page.waitForFunction(() => /^train /m.test(document.querySelector("#log")?.textContent ?? ""));
    const log = (await page.locator("#log").textContent()).split("\n").filter((text) => text !== "");
    assert.ok(log.includes(line), log.join("\n"));
    sameLines(log.slice(-22), results(told).slice(-22));
  }
});

test("it trains on while its tab is hidden", { timeout: 300_000 }, async (t) => {
  const { at, browser, page } = await visit(t, { webgpu: false, kind: "hiding" });
  await page.goto(at("?backend=cpu&steps=10000000&start=1"));
  const look = () =>
    page.evaluate(() => ({
      visible: document.visibilityState,
      step: Number(document.querySelector("#at").textContent.split(" of ")[0].replace(/\D/g, "")),
    }));
  /** Steps in five seconds, and whether the tab was visible throughout. */
  const watch = async () => {
    const before = await look();
    await new Promise((done) => setTimeout(done, 5000));
    const after = await look();
    return [after.step - before.step, before.visible, after.visible];
  };
  while (!((await look()).step > 1000));
  const [shown, ...visible] = await watch();
  await (await browser.newPage()).bringToFront();
  const [hidden, ...invisible] = await watch();
  assert.deepEqual([...visible, ...invisible], ["visible", "visible", "hidden", "hidden"]);
  // A worker that may do a task a second, as timers of hidden tabs may, would do a tenth.
  assert.ok(hidden > 0.3 * shown, `${hidden} steps hidden, ${shown} visible`);
  t.diagnostic(`${hidden} steps in five seconds hidden, ${shown} visible`);
});

test("the lecture's whole training ends with PyTorch's losses and names", { timeout: 600_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: false });
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
  const { at, page } = await visit(t, { webgpu: false });
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
  const { at, page, folder } = await visit(t, { webgpu: false });
  const query = "?steps=30000&backend=cpu&n_hidden=64";
  await page.goto(at(`${query}&start=1`));
  const whole = await logWhen(page, "finished");
  const wanted = await download(page, "Save the model", join(folder, "whole.safetensors"));
  await page.goto(at(`${query}&start=1`));
  await reaches(page, 5000);
  await page.locator("#pause").click();
  await logWhen(page, "paused");
  const kept = await download(page, "Save the run", join(folder, "last.safetensors"));
  await page.goto(at(""));
  await page.locator("#continue").click();
  const rest = await logWhen(page, "finished");
  const found = await download(page, "Save the model", join(folder, "rest.safetensors"));
  assert.ok((await readFile(wanted)).equals(await readFile(found)), "the models differ");
  assert.deepEqual(results(whole).slice(-22), results(rest).slice(-22));

  // The program takes the run from where the page paused it.
  const told = await program("train", "--resume", kept);
  assert.match(told, /^resumed     after \d+ of 30000 steps$/m);
  const last = told.split("\n");
  const from = last.findIndex((line) => line.startsWith("train "));
  sameLines(results(whole).slice(-22), last.slice(from, from + 22));
});

test("a second tab says that its run is not kept", { timeout: 300_000 }, async (t) => {
  const { at, browser, page: first } = await visit(t, { webgpu: false });
  const second = await browser.newPage();
  await first.goto(at("?steps=200000&backend=cpu&start=1"));
  await reaches(first, 100);
  await second.goto(at("?steps=200&backend=cpu&start=1"));
  await logWhen(second, "finished");
  assert.match(await second.locator("body").innerText(), /another tab/i);
});

test("full storage is told, and the training goes on", { timeout: 300_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: false });
  const session = await page.context().newCDPSession(page);
  const origin = new URL(at("")).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1000 });
  await page.goto(at("?steps=20000&backend=cpu&start=1"));
  const log = await logWhen(page, "finished");
  assert.match(log, /^train \d/m);
  assert.match(await page.locator("body").innerText(), /storage.*full|full.*storage/i);
});

test("words of one's own", { timeout: 300_000 }, async (t) => {
  const { at, page, folder } = await visit(t, { webgpu: false });
  const words = join(folder, "words.txt");
  await writeFile(words, ["ada", "alan", "grace", "edsger", "barbara", "donald", "tony", "niklaus", "ken", "dennis"].join("\n"));
  await page.goto(at("?steps=200&backend=cpu"));
  await logWhen(page, "ready");
  await page.locator("input[type=file]").first().setInputFiles(words);
  await page.locator("#train").click();
  const log = await logWhen(page, "finished");
  assert.match(log, /data        words\.txt: 10 words/);
});

test("the kernels train on WebGPU, and all 26 rows agree", { timeout: 600_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: true });
  await page.goto(at("?steps=200&backend=webgpu&tune=off&start=1"));
  const log = await logWhen(page, "finished", 300_000);
  assert.match(log, /schedule    resident; the model is small\ntuning      resident:workers=/);
  assert.match(log, /^ {6}0\/ {4}200: 3\.9508$/m);
  await page.getByRole("tab", { name: "One step" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#cmp tbody tr").length === 26, undefined, { timeout: 120_000 });
  const verdicts = await page.locator("#cmp tbody tr td:last-child").allInnerTexts();
  assert.deepEqual([...new Set(verdicts)], ["ok"]);
});

test("the drawing of a step has all 26 tensors, and opens them", { timeout: 300_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: false });
  await page.goto(at("?steps=200&backend=cpu"));
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "One step" }).click();
  await page.locator("#cmp tbody tr").nth(25).waitFor();
  const names = (await page.locator("#cmp tbody tr th").allInnerTexts()).sort();
  assert.equal(names.length, 26);
  const drawn = await page.evaluate(() => {
    const of = (where, key) => [...document.querySelectorAll(`#tensors ${where} button`)].flatMap(({ dataset }) => dataset[key] ?? []);
    return {
      values: of("", "tensor"),
      gradients: of("", "gradient"),
      inLanes: [of(".forward", "tensor"), of(".backward", "gradient")],
      strays: [...of(".forward", "gradient"), ...of(".backward", "tensor")],
      between: of(".parameters", "tensor"),
      painted: [...document.querySelectorAll("#tensors canvas")].every(({ width, height }) => width * height > 1),
    };
  });
  assert.deepEqual([...drawn.values].sort(), names);
  assert.deepEqual(drawn.gradients, drawn.values);
  assert.deepEqual(drawn.between, ["C", "W1", "b1", "bngain", "bnbias", "W2", "b2"]);
  assert.deepEqual(drawn.inLanes[0], drawn.inLanes[1]);
  assert.equal(drawn.inLanes[0].length + drawn.between.length, 26);
  assert.deepEqual(drawn.strays, []);
  assert.ok(drawn.painted);

  const title = page.locator("#tensor h2 code");
  const current = () => page.locator('#tensors [aria-current="true"]').evaluateAll((all) => all.map(({ dataset }) => dataset.tensor ?? dataset.gradient));
  await page.locator("#tensors [data-gradient=bnraw] canvas").click();
  await page.waitForFunction(() => document.querySelector("#tensor h2 code")?.textContent === "bnraw");
  assert.deepEqual(await current(), ["bnraw", "bnraw"]);
  // Arrow keys go to the next gradient, and across to its value, which is shown beside it.
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.gradient), "hpreact");
  assert.equal(await page.locator("#tensors [data-tensor=hpreact].paired").count(), 1);
  await page.keyboard.press("ArrowLeft");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.tensor), "hpreact");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#tensor h2 code")?.textContent === "hpreact");
  assert.equal(await title.innerText(), "hpreact");
});

test("the lecture's curve lies behind the loss for the lecture's set-up alone", { timeout: 300_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: false });
  const legend = page.locator("#chart .u-legend");
  await page.goto(at("?backend=cpu"));
  await logWhen(page, "ready");
  await legend.getByText("the lecture's run").waitFor();
  // Another set-up has no such curve, and the lecture's has it again.
  for (const [value, count] of [["64", 0], ["200", 1]]) {
    await page.locator("#field-n_hidden").fill(value);
    await page.waitForFunction((rows) => document.querySelectorAll("#chart .u-legend tr").length === rows, 3 + count);
    assert.equal(await legend.getByText("the lecture's run").count(), count);
  }
  for (const query of ["?backend=cpu&n_hidden=64", "?backend=cpu&data=municipalities", "?backend=cpu&steps=2000"]) {
    await page.goto(at(query));
    await logWhen(page, "ready");
    await legend.getByText("train").waitFor();
    assert.equal(await legend.getByText("the lecture's run").count(), 0, query);
  }
});

/** On the page: texts whose contrast with what lies behind them is below WCAG's AA. Disabled controls are exempt. */
function faint() {
  const rgba = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => {
    const mix = (channel) => top[channel] * top.a + below[channel] * (1 - top.a);
    return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
  };
  const behind = (element) => {
    if (element === null) return { r: 255, g: 255, b: 255, a: 1 };
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own : over(own, behind(element.parentElement ?? element.getRootNode().host ?? null));
  };
  const luminance = ({ r, g, b }) => {
    const linear = (channel) => (channel /= 255) <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const found = [];
  let texts = 0;
  /** With what lies in shadow trees. */
  const inside = (root) => [...root.querySelectorAll("*")].flatMap((element) => [element, ...(element.shadowRoot ? inside(element.shadowRoot) : [])]);
  for (const element of inside(document.body)) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    const { color, fontSize, fontWeight } = getComputedStyle(element);
    if (!own || !element.checkVisibility() || element.closest(":disabled") !== null) continue;
    texts++;
    const back = behind(element);
    const [high, low] = [luminance(over(rgba(color), back)), luminance(back)].sort((a, b) => b - a);
    const large = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && Number(fontWeight) >= 700);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < (large ? 3 : 4.5)) found.push(`${element.tagName} ${element.className} ${contrast.toFixed(2)}: ${element.textContent.slice(0, 40)}`);
  }
  return { texts, found: [...new Set(found)] };
}

for (const scheme of ["light", "dark"]) {
  test(`text stands out, in the ${scheme} theme`, { timeout: 300_000 }, async (t) => {
    const { at, page } = await visit(t, { webgpu: false });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(at("?backend=cpu&steps=200&start=1"));
    await logWhen(page, "finished");
    for (const name of ["Train", "One step", "Break it", "the editor", "Exercises", "Model"]) {
      if (name !== "the editor") await page.getByRole("tab", { name }).click();
      if (name === "One step") await page.locator("#cmp tbody tr").nth(25).waitFor();
      if (name === "Break it") await page.getByRole("button", { name: "the mean term dropped", exact: true }).click();
      if (name === "the editor") {
        await page.getByRole("button", { name: "Your own edit" }).click();
        // Code of all colours, and a line that is changed.
        await page.locator("#edit-file").selectOption("chunked/tanh.wgsl");
        await page.locator(".cm-line", { hasText: "@compute" }).first().click();
        await page.keyboard.type("const one = 1.0;");
        const colours = await page.locator(".cm-line span").evaluateAll((all) => all.map((span) => getComputedStyle(span).color));
        assert.equal(new Set(colours).size, 5);
      }
      if (name === "Exercises") {
        // A verdict in red, a mark in the editor, what is offered while one writes, and a hint.
        await page.locator("#lessons [data-lesson]").nth(39).waitFor();
        await page.locator("#lesson-editor .cm-line").last().click();
        await page.keyboard.type("let");
        await page.locator("#lesson-check").click();
        await page.locator("#verdict[data-verdict=refused]").waitFor({ timeout: 60_000 });
        await page.locator("#hint").click();
        await page.locator("#hints p").waitFor();
        await page.locator("#lesson-editor .cm-line").last().click();
        await page.keyboard.type(" N");
        await page.locator("#lesson-editor .cm-tooltip-autocomplete li").first().waitFor();
      }
      if (name === "Model") await page.locator("#next button").first().waitFor();
      const { texts, found } = await page.evaluate(faint);
      assert.ok(texts > 20, `${texts} texts in ${name}`);
      assert.deepEqual(found, [], name);
    }
  });
}

test("a mistake is made, shows in the table, and trains", { timeout: 600_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: true });
  await page.goto(at("?steps=200&backend=webgpu"));
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "1-h for 1-h**2", exact: true }).click();
  await page.getByRole("button", { name: "Make this mistake" }).click();
  const sentence = page.getByText(/\d+ of 26 rows are wrong; the first is/);
  await sentence.waitFor({ timeout: 120_000 });
  assert.match(await sentence.textContent(), /the first is hpreact/);
});

test("an edit of one's own is compiled, shows in the table, and trains", { timeout: 600_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: true });
  const refused = [];
  page.on("console", (message) => {
    if (message.type() === "error") refused.push(message.text());
  });
  await page.goto(at("?steps=200&backend=webgpu"));
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "Your own edit" }).click();
  const editor = page.getByRole("textbox", { name: "WGSL of tanh.wgsl" });
  const compile = page.getByRole("button", { name: "Compile and compare" });
  const differs = page.locator("#edit-differs");
  const told = page.locator("#broken-told");
  const line = page.locator(".cm-line", { hasText: "return (1.0 - " });
  /** Writes another line in the place of that one. */
  const write = async (text) => {
    await line.click();
    await page.keyboard.press("Home");
    await page.keyboard.press("Shift+End");
    await page.keyboard.type(text);
  };
  await compile.click();
  assert.match(await told.textContent(), /Nothing is changed/);

  // A name that is not there: the compiler's words, and a mark at the place.
  const number = (await readFile(join(root, "shaders/tanh.wgsl"), "utf8")).split("\n").findIndex((text) => text.includes("(1.0 - h * h)")) + 1;
  await write("return (1.0 - hh * h) * dh;");
  assert.match(await differs.textContent(), /^1 line differs/);
  await page.keyboard.press("Control+Enter");
  const errors = page.locator("#edit-errors li");
  await errors.first().waitFor({ timeout: 60_000 });
  assert.equal(await errors.count(), 1);
  assert.match(await errors.textContent(), new RegExp(`^tanh\\.wgsl:${number}:19: .*hh`));
  assert.equal(await page.locator(".cm-lintRange-error").innerText(), "hh");
  assert.equal(await page.locator(".cm-lint-marker-error").count(), 1);
  // The list leads to the place, where the next key goes.
  await page.locator(".cm-line").first().click();
  await errors.getByRole("button").click();
  await page.keyboard.press("Delete");
  assert.match(await line.textContent(), /\(1\.0 - h \* h\)/);
  await page.keyboard.press("Control+z");
  // Tab leaves the editor.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "break");

  const reset = page.getByRole("button", { name: "Restore the original" });
  await reset.click();
  assert.match(await line.textContent(), /\(1\.0 - h \* h\)/);
  assert.match(await differs.textContent(), /^No line differs/);
  assert.equal(await errors.count() + (await page.locator(".cm-lintRange-error").count()), 0);
  assert.ok(await reset.isDisabled());
  await page.keyboard.press("Control+z");
  assert.match(await line.textContent(), /hh/);

  await write("return (1.0 - h) * dh;");
  await compile.click();
  const sentence = page.getByText(/\d+ of 26 rows are wrong; the first is/);
  await sentence.waitFor({ timeout: 120_000 });
  assert.match(await sentence.textContent(), /the first is hpreact/);
  assert.equal(await page.locator("#broken-cmp tbody tr.wrong th").first().textContent(), "hpreact");
  await page.locator("#broken-steps").fill("40");
  await page.getByRole("button", { name: "Train 40 steps with it" }).click();
  await page.locator("#broken-state", { hasText: "Step 40 of 40 with the edit. Finished." }).waitFor({ timeout: 120_000 });
  assert.match(await editor.textContent(), /\(1\.0 - h\) \* dh/);

  // A known mistake as the beginning of an edit; another file keeps its own.
  await page.getByRole("button", { name: "the mean term dropped", exact: true }).click();
  await page.getByRole("button", { name: "Edit this yourself" }).click();
  assert.equal(await page.locator("#edit-file").inputValue(), "batchnorm.wgsl");
  assert.match(await differs.textContent(), /^1 line differs from the original\. Only this file is compiled: .* tanh\.wgsl/);
  await page.locator("#edit-file").selectOption("tanh.wgsl");
  assert.match(await line.textContent(), /\(1\.0 - h\)/);

  assert.deepEqual(refused, []);
});

test("an edit that hangs is stopped, and the run goes on from where it was", { timeout: 600_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: true });
  await page.addInitScript(() => {
    window.Worker = class extends window.Worker {
      postMessage(message) {
        if (message.call !== window.swallowed) super.postMessage(message);
      }
    };
    // So long is not waited.
    const { setTimeout } = window;
    window.setTimeout = (work, after, ...more) => setTimeout(work, window.shorter?.[after] ?? after, ...more);
  });
  await page.goto(at("?steps=200&backend=webgpu"));
  await logWhen(page, "ready");
  await page.locator("#step").click();
  await page.waitForFunction(() => document.querySelector("#at").textContent === "1 of 200");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "Your own edit" }).click();
  const line = page.locator(".cm-line", { hasText: "return (1.0 - " });
  const write = async (text) => {
    await line.click();
    await page.keyboard.press("Home");
    await page.keyboard.press("Shift+End");
    await page.keyboard.type(text);
  };
  const compile = page.getByRole("button", { name: "Compile and compare" });
  const notice = page.locator("#notice");
  const told = page.locator("#broken-told");
  const why = "The edited kernel gave no answer for 30 seconds and was stopped: a loop in it may never end.";
  const state = () => page.evaluate(() => [document.documentElement.dataset.state, document.documentElement.dataset.backend, document.querySelector("#at").textContent]);

  // No answer, on a GPU that is well: the run is there again, and so is the edit, which compiles.
  await write("return (1.0 - h) * dh;");
  await page.evaluate(() => Object.assign(window, { swallowed: "inspectBroken", shorter: { 30_000: 4000 } }));
  await compile.click();
  await page.locator("#notice", { hasText: `${why} Now the run is open again, at step 1.` }).waitFor({ timeout: 60_000 });
  assert.equal(await told.textContent(), `${why} Your text is still in the editor.`);
  assert.deepEqual(await state(), ["paused", "webgpu", "1 of 200"]);
  await page.evaluate(() => Object.assign(window, { swallowed: "", shorter: {} }));
  await compile.click();
  await page.getByText(/\d+ of 26 rows are wrong; the first is hpreact/).waitFor({ timeout: 120_000 });

  // A loop without end, with which SwiftShader answers nobody any more: the run goes on on the CPU.
  await write("var w = h.x; while (w < 2.0) { w = w * 0.5; } return (1.0 - w) * dh;");
  await page.evaluate(() => Object.assign(window, { shorter: { 30_000: 5000, 20_000: 1500 } }));
  await compile.click();
  await page.locator("#notice", { hasText: `${why} WebGPU has given no answer since, so the run is open again on the CPU, at step 1.` }).waitFor({ timeout: 60_000 });
  assert.match(await notice.textContent(), /Restart the browser to use WebGPU again\.$/);
  assert.deepEqual(await state(), ["paused", "cpu", "1 of 200"]);
  assert.match(await line.textContent(), /while \(w < 2\.0\)/);
  await page.getByRole("tab", { name: "Train", exact: true }).click();
  await page.locator("#train").click();
  assert.match(await logWhen(page, "finished"), /^train /m);
  // It is kept for WebGPU, which will answer after a restart.
  await page.waitForFunction(async () => {
    const result = (request) => new Promise((done) => (request.onsuccess = () => done(request.result)));
    const base = await result(indexedDB.open("gpu-makemore"));
    const { step, backend } = await result(base.transaction("runs").objectStore("runs").get("current"));
    base.close();
    return step === 200 && backend === "webgpu";
  }, undefined, { timeout: 20_000 });
  // The exercises find that WebGPU is silent, and have the interpreter.
  await page.getByRole("tab", { name: "Exercises" }).click();
  await page.locator("#lessons-place", { hasText: /^Checked by the interpreter: / }).waitFor({ timeout: 60_000 });
});

test("without WebGPU an edit is read and written, and not compiled", { timeout: 300_000 }, async (t) => {
  const { at, page } = await visit(t, { webgpu: false });
  await page.goto(at("?steps=200&backend=cpu"));
  await logWhen(page, "ready");
  await page.getByRole("tab", { name: "Break it" }).click();
  await page.getByRole("button", { name: "Your own edit" }).click();
  // The longest file is there at once.
  const longest = await page.evaluate(async () => {
    const tasks = [];
    const select = document.querySelector("#edit-file");
    while (select === null || select.options.length === 0) await new Promise((done) => setTimeout(done, 50));
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
    select.value = "resident/train.wgsl";
    select.dispatchEvent(new Event("change"));
    await new Promise((done) => setTimeout(done, 1000));
    return tasks;
  });
  assert.deepEqual(longest, []);
  await page.locator(".cm-line").first().click();
  await page.keyboard.type("// ");
  assert.match(await page.locator("#edit-differs").textContent(), /^1 line differs/);
  assert.ok(await page.getByRole("button", { name: "Compile and compare" }).isDisabled());
  assert.match(await page.locator("#needs").textContent(), /needs WebGPU/);
});
