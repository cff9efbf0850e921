// What the tests share: a server for the page, browsers, and the engine in a worker of its own.

import { context } from "esbuild";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

const web = fileURLToPath(new URL("..", import.meta.url));

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Options for a network that is closed, and for a user that is root. */
const QUIET = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** WebGPU on the processor. */
const SWIFTSHADER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** Serves web/ on a free port of this machine: the page is at `${address}/dist/`. */
async function serve() {
  const server = await context({ logLevel: "silent" });
  const { port } = await server.serve({ servedir: web, host: "127.0.0.1", port: 0 });
  return { address: `http://127.0.0.1:${port}`, stop: () => server.dispose() };
}

/** Chromium with a profile of its own, with WebGPU or without. */
async function launchChromium({ webgpu }) {
  const profile = await mkdtemp(join(tmpdir(), "gpu-makemore-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: [...QUIET, ...(webgpu ? SWIFTSHADER : ["--disable-features=WebGPU"])],
    acceptDownloads: true,
    viewport: { width: 1280, height: 900 },
  });
  return {
    browser,
    close: async () => {
      await browser.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Chromium whose tabs are hidden when another one is in front. Under Playwright all of them count as visible. */
async function launchHiding() {
  const browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: QUIET,
    // These would spare a hidden tab what browsers do to it.
    ignoreDefaultArgs: [
      "--disable-renderer-backgrounding",
      "--disable-background-timer-throttling",
      "--disable-backgrounding-occluded-windows",
    ],
  });
  return { browser, close: () => browser.close() };
}

/** Firefox, with the preferences that turn WebGPU on or off. */
async function launchFirefox({ webgpu }) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    protocolTimeout: 600_000,
    extraPrefsFirefox: {
      "dom.webgpu.enabled": webgpu,
      "dom.webgpu.workers.enabled": webgpu,
      "gfx.webgpu.ignore-blocklist": webgpu,
    },
  });
  return { browser, close: () => browser.close() };
}

/** Server, browser and a page of it, all of which are gone after the test. */
export async function setUp(t, { webgpu, kind = "chromium" }) {
  const launch = { chromium: launchChromium, hiding: launchHiding, firefox: launchFirefox }[kind];
  const [server, { browser, close }] = await Promise.all([serve(), launch({ webgpu })]);
  t.after(() => Promise.all([close(), server.stop()]));
  return { address: server.address, browser, page: await browser.newPage() };
}

/** The text of the log once it is in this state; an error of the page ends the wait. */
export async function logWhen(page, state, timeout = 120_000) {
  await page.waitForFunction(
    (state) => [state, "failed"].includes(document.documentElement.dataset.state ?? ""),
    state,
    { timeout },
  );
  const found = await page.evaluate(() => document.documentElement.dataset.state);
  const notice = await page.locator("#notice").textContent();
  if (found !== state) throw new Error(`the page is ${found}, not ${state}: ${notice}`);
  return page.locator("#log").textContent();
}

/**
 * Runs a function in a dedicated worker, with the engine as its argument and another one that can be cloned.
 * So the engine is tested where the page has it, without the page. The engine of the exercises is a module of
 * its own: `gpu_makemore_lessons`.
 */
export async function inWorker(page, address, work, argument, module = "gpu_makemore_web") {
  await page.goto(`${address}/tests/blank.html`);
  return page.evaluate(
    ([work, argument, module]) =>
      new Promise((resolve, reject) => {
        const code = `
          import init, * as engine from "${location.origin}/pkg/${module}.js";
          try {
            await init();
            postMessage({ result: await (${work})(engine, ${JSON.stringify(argument) ?? "undefined"}) });
          } catch (error) {
            postMessage({ error: String(error) });
          }`;
        const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), {
          type: "module",
        });
        worker.onerror = (event) => reject(new Error(event.message));
        worker.onmessage = ({ data }) => {
          worker.terminate();
          if ("error" in data) reject(new Error(data.error));
          else resolve(data.result);
        };
      }),
    [work.toString(), argument, module],
  );
}
