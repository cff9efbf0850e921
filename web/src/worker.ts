// Owns the engine. Every call of a session waits for the one before it.

import init, { Session, Trial, derivations, hunt_give_up, hunt_guess, hunts, mistakes, open, resume, settings, sources } from "../pkg/gpu_makemore_web.js";
import type { Setup } from "../pkg/gpu_makemore_web.js";
import { answer, exclusive, fatal, tell, text } from "./handle.js";
import type { Calls, Kept, Opened, Progress, ValidationPoint, Words } from "./protocol.js";
import * as store from "./store.js";
import type { Run } from "./store.js";

const LOCK = "gpu-makemore-run";
/** Milliseconds between two copies of the run in the browser's storage. */
const SAVE_EVERY = 5000;
/** Milliseconds between two lists of names while it trains. */
const NAMES_EVERY = 3000;
const NAMES = 12;

/** The session that is open. */
interface Now {
  readonly session: Session;
  readonly id: string;
  readonly backend: string;
  readonly file: Words | undefined;
  readonly steps: number;
  readonly log: string[];
  readonly validation: ValidationPoint[];
  step: number;
  finished: boolean;
  /** Whether a call failed: a run that diverged cannot be kept, and its copy is from before. */
  broken: boolean;
  /** The step of the last copy in the storage. */
  saved: number;
}

let now: Now | null = null;
/** The run that can be brought back, with its words. */
let earlier: { readonly run: Run; readonly file: Words | undefined } | null = null;
let running = false;
/** The mistake that is made, or the edit. It belongs to the session that is open. */
let trial: Trial | null = null;
/** Whether this tab is the one that keeps its run. */
let locked = false;
/** Lets another worker keep it. */
let release = (): void => undefined;
/** The last complaint about the storage, so that each is told once. */
let complaint = "";
let loaded: Promise<unknown> | undefined;

/** Ends the present task, so that messages get in. Timers would be slower. */
const channel = new MessageChannel();
const turns: (() => void)[] = [];
channel.port1.onmessage = () => turns.shift()?.();

function turn(): Promise<void> {
  return new Promise((done) => {
    turns.push(done);
    channel.port2.postMessage(null);
  });
}

function present(): Now {
  if (now === null) throw new Error("No run is open.");
  return now;
}

function broken(): Trial {
  if (trial === null) throw new Error("No mistake is made.");
  return trial;
}

/** Frees the mistake. Only between two calls of the engine. */
function mend(): void {
  trial?.free();
  trial = null;
}

function kept(run: Kept | undefined | null): Kept | null {
  return run ? { step: run.step, steps: run.steps, finished: run.finished } : null;
}

/** `crypto.randomUUID` is only for pages from https or from this machine. */
function newId(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("-");
}

// Which tab keeps its run.

/** Waits a little: after a reload the old page holds the lock for a moment. */
async function lock(): Promise<void> {
  if (!("locks" in navigator)) return;
  const hold = () => {
    locked = true;
    return new Promise<void>((done) => (release = done));
  };
  await new Promise<void>((done) => {
    navigator.locks
      .request(LOCK, { signal: AbortSignal.timeout(1500) }, () => {
        done();
        return hold();
      })
      .catch(() => {
        done();
        void navigator.locks.request(LOCK, () => {
          complain("");
          tell({ event: "note", text: "The other tab is closed: from now on this browser keeps the run of this tab." });
          return hold();
        });
      });
  });
  if (!locked) complain("This run is not kept over a reload: another tab of this page keeps one.");
}

function complain(message: string): void {
  if (message !== "" && message !== complaint) tell({ event: "note", text: message });
  complaint = message;
}

/** The run as it stands, ready to be kept. */
async function snapshot(run: Now): Promise<Run> {
  const bytes = await run.session.save();
  const { id, backend, step, steps, finished, log, validation } = run;
  return { id, bytes, backend, step, steps, finished, log: [...log], validation: [...validation] };
}

/** Copies the run into the browser's storage. What fails there is told, and stops nothing. */
async function keep(): Promise<void> {
  const run = now;
  if (!locked || run === null || run.step === 0 || run.saved === run.step) return;
  try {
    const copy = await snapshot(run);
    const before = await store.read("current");
    const runs: Partial<Record<store.Place, Run>> = { current: copy };
    // A run that this one replaces can be brought back.
    if (before !== undefined && before.id !== run.id) {
      runs.earlier = before;
      earlier = { run: before, file: await store.words(before.id) };
    }
    await store.write(runs, run.file, run.id);
    run.saved = run.step;
    complaint = "";
    tell({ event: "saved", step: run.step, earlier: kept(earlier?.run) });
  } catch (error) {
    if (fatal(error)) throw error;
    if (run.broken) return;
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    complain(
      full
        ? "The browser's storage is full: this run is not kept over a reload. Training continues; save the run as a file."
        : `The browser does not keep this run: ${text(error)} Training continues; save the run as a file.`,
    );
  }
}

/** Closes the session; its run becomes the earlier one. */
async function close(): Promise<void> {
  running = false;
  mend();
  const run = now;
  if (run === null) return;
  try {
    if (run.step > 0) {
      await keep();
      earlier = { run: await snapshot(run), file: run.file };
    }
  } catch (error) {
    if (!run.broken) throw error;
  } finally {
    now = null;
    run.session.free();
  }
}

/** What a run was before this session, if it is continued. */
type Before = Pick<Run, "log" | "validation">;

function take(session: Session, id: string, backend: string, file: Words | undefined, before?: Before): Opened {
  const about = session.about();
  const log = [...(before?.log ?? [])];
  const validation = [...(before?.validation ?? [])];
  // The engine's last line says that the run was resumed: it stands behind the steps before.
  const lines = log.length === 0 ? about.lines : [...about.lines.slice(0, -1), ...log, ...about.lines.slice(-1)];
  now = {
    session,
    id,
    backend,
    file,
    steps: about.steps,
    log,
    validation,
    step: about.step,
    finished: about.step >= about.steps,
    broken: false,
    saved: -1,
  };
  return { about, log: lines, validation: [...validation], backend, file, earlier: kept(earlier?.run) };
}

/** Continues a run. One that is at its end tells its losses and names again. */
async function again(run: Pick<Run, "bytes" | "id" | "backend"> & Before, file: Words | undefined, tune = "auto", on = run.backend): Promise<Opened> {
  const session = await resume(run.bytes, file, on, tune, store.tunings);
  await close();
  const opened = take(session, run.id, run.backend, file, run);
  if (now?.finished) void finish(now).catch(stopped);
  return opened;
}

// Training.

function advanced(run: Now, progress: Progress): void {
  run.step = progress.step;
  run.finished = progress.finished;
  run.log.push(...progress.lines);
  if (progress.validation) run.validation.push(progress.validation);
  tell({ event: "progress", progress });
}

async function finish(run: Now): Promise<void> {
  const finished = await exclusive(() => run.session.finish());
  tell({ event: "finished", finished });
  await exclusive(keep);
}

async function loop(run: Now): Promise<void> {
  let saved = performance.now();
  let sampled = saved;
  while (running && now === run) {
    await exclusive(async () => {
      if (running && now === run) advanced(run, await run.session.advance(0));
    });
    if (now !== run) return;
    if (run.finished) {
      running = false;
      await finish(run);
      return;
    }
    const time = performance.now();
    if (time - sampled >= NAMES_EVERY) {
      sampled = time;
      await exclusive(async () => {
        if (now === run) tell({ event: "names", step: run.step, names: await run.session.names(NAMES) });
      });
    }
    if (time - saved >= SAVE_EVERY) {
      saved = time;
      await exclusive(keep);
    }
    await turn();
  }
}

function stopped(error: unknown): void {
  running = false;
  if (now !== null) now.broken = true;
  tell({ event: "failed", text: text(error), fatal: fatal(error) });
}

answer<Calls>({
  async start() {
    loaded ??= init();
    await Promise.all([loaded, lock()]);
    let current: Run | undefined;
    try {
      current = locked ? await store.read("current") : undefined;
      const before = await store.read("earlier");
      // A run that is finished is not continued, but it can be brought back.
      const back = current?.finished ? current : before;
      if (back !== undefined) earlier = { run: back, file: await store.words(back.id) };
    } catch (error) {
      complain(`The browser keeps no runs here: ${text(error)}`);
    }
    return { settings: settings(), derivations: derivations(), current: current?.finished ? null : kept(current), earlier: kept(earlier?.run) };
  },

  open: (setup: Setup) =>
    exclusive(async () => {
      await close();
      return take(await open(setup, store.tunings), newId(), setup.backend, setup.file);
    }),

  resume: (bytes, file, backend, tune) =>
    exclusive(() => again({ bytes, id: newId(), backend, log: [], validation: [] }, file, tune)),

  proceed: () =>
    exclusive(async () => {
      const run = await store.read("current");
      if (run === undefined) throw new Error("This browser keeps no run.");
      return again(run, await store.words(run.id));
    }),

  undo: () =>
    exclusive(async () => {
      const back = earlier;
      if (back === null) throw new Error("There is no earlier run.");
      const opened = await again(back.run, back.file);
      if (earlier === back) earlier = null;
      return { ...opened, earlier: kept(earlier?.run) };
    }),

  async train() {
    const run = present();
    if (running || run.finished) return;
    running = true;
    loop(run).catch(stopped);
  },

  async pause() {
    running = false;
    await exclusive(keep);
  },

  async step() {
    const run = present();
    running = false;
    if (run.finished) return;
    try {
      await exclusive(async () => advanced(run, await run.session.advance(1)));
    } catch (error) {
      run.broken = true;
      throw error;
    }
    if (run.finished) await finish(run);
    else await exclusive(keep);
  },

  hide: () => exclusive(keep),

  copy: () =>
    exclusive(async () => {
      await keep();
      const run = now;
      return run === null || run.step === 0 || run.broken ? null : { run: await snapshot(run), file: run.file };
    }),

  restore: ({ run, file }, backend) =>
    exclusive(async () => {
      // It may have trained on after it was copied.
      const stored = locked ? await store.read("current").catch(() => undefined) : undefined;
      const last = stored?.id === run.id && stored.step > run.step ? stored : run;
      // What is kept has the backend of before: it may answer after a restart.
      return { ...(await again(last, file, "auto", backend)), backend };
    }),

  names: (count) => exclusive(() => present().session.names(count)),
  next: (prefix) => exclusive(() => present().session.next(prefix)),
  embeddings: () => exclusive(() => present().session.embeddings()),
  saturation: () => exclusive(() => present().session.saturation()),
  inspect: () => exclusive(() => present().session.inspect()),

  async mistakes() {
    await (loaded ??= init());
    return mistakes();
  },

  async sources() {
    await (loaded ??= init());
    return sources();
  },

  compile: (file, text) => exclusive(() => present().session.compile(file, text)),

  breakIt: (name, steps) =>
    exclusive(async () => {
      mend();
      trial = await present().session.break_it(name, steps);
    }),

  breakBy: (file, text, steps) =>
    exclusive(async () => {
      mend();
      trial = await present().session.edit(file, text, steps);
    }),

  async hunts() {
    await (loaded ??= init());
    return hunts();
  },

  hunt: (number, steps) =>
    exclusive(async () => {
      mend();
      trial = await present().session.hunt(number, steps);
    }),

  async huntGuess(number, file, line) {
    await (loaded ??= init());
    return hunt_guess(number, file, line);
  },

  async huntGiveUp(number) {
    await (loaded ??= init());
    return hunt_give_up(number);
  },

  inspectBroken: () => exclusive(() => broken().inspect()),
  trainBroken: () => exclusive(() => broken().advance()),
  mend: () => exclusive(mend),

  // Not exclusive: a call before it may never end.
  async leave() {
    running = false;
    locked = false;
    release();
  },

  run: () => exclusive(() => present().session.save()),
  model: () => exclusive(() => present().session.model()),
});
