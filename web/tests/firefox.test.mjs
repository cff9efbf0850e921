// The page and the engine in Firefox: the CPU step always, WebGPU where its preferences are set.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inWorker, setUp } from "./browser.mjs";

test("the lecture's whole training in Firefox", { timeout: 600_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: false, kind: "firefox" });
  await page.goto(`${address}/dist/?start=1`);
  await page.waitForFunction(
    () => ["finished", "failed"].includes(document.documentElement.dataset.state ?? ""),
    { timeout: 500_000 },
  );
  const [log, notice, why] = await Promise.all(
    ["#log", "#notice", "#why"].map((id) => page.$eval(id, (element) => element.textContent)),
  );
  assert.match(why, /this browser has no WebGPU.*dom\.webgpu\.enabled/);
  const [, train] = /^train (\d\.\d{4})$/m.exec(log) ?? [];
  const [, val] = /^val   (\d\.\d{4})$/m.exec(log) ?? [];
  assert.ok(Math.abs(train - 2.0711) < 0.005 && Math.abs(val - 2.1119) < 0.005, `${notice} ${log}`);
  assert.match(log, /^carlah\namelle\nkhi\nmri\n/m);
});

/** In a worker: losses on WebGPU and on the CPU, and the rows of the table. */
async function both(engine, count) {
  const run = async (backend) => {
    const session = await engine.open({ fields: { steps: String(count) }, backend });
    const losses = [];
    for (let step = 0; step < count; step++) losses.push((await session.advance(1)).loss);
    return { session, losses };
  };
  const gpu = await run("webgpu");
  const cpu = await run("cpu");
  const { tensors } = await gpu.session.inspect();
  return {
    off: Math.max(...gpu.losses.map((loss, i) => Math.abs(loss - cpu.losses[i]))),
    count: gpu.losses.length,
    rows: tensors.length,
    wrong: tensors.filter(({ row }) => !row.pass).map(({ name }) => name),
  };
}

test("500 steps on WebGPU in Firefox", { timeout: 600_000 }, async (t) => {
  const { address, page } = await setUp(t, { webgpu: true, kind: "firefox" });
  const found = await inWorker(page, address, both, 500);
  assert.deepEqual({ ...found, off: 0 }, { off: 0, count: 500, rows: 26, wrong: [] });
  // Rounding grows with the steps.
  assert.ok(found.off <= 1e-4, `off by ${found.off}`);
  t.diagnostic(`losses off the CPU's by ${found.off} at most`);
});
