// The page and its state.

import { words } from "./app.js";
import type { App, Phase } from "./app.js";
import { arrows, box, breathe, button, byId, save, say, whole } from "./dom.js";
import { Engine, Fatal, Hung, Replaced } from "./engine.js";
import type { About, Copy, Happened, Kept, Opened, Progress, Setup } from "./protocol.js";
import * as theme from "./theme.js";
import type { ExercisesView } from "./views/exercises.js";
import { MistakesView } from "./views/mistakes.js";
import { ModelView } from "./views/model.js";
import { StepView } from "./views/step.js";
import { OTHERS, TrainView } from "./views/train.js";

const VIEWS = ["train", "step", "mistakes", "exercises", "model"] as const;
/** Names of a model that is shown before and between trainings. */
const FIRST_NAMES = 5;
const NAMES = 12;
/** Milliseconds in which a GPU has to open a run again after a kernel hung on it. Usually it takes two seconds. */
const PATIENCE = 20_000;
/** Milliseconds without a key before a changed set-up is opened. */
const TYPING = 600;

const SILENT = "WebGPU gives no answer.";

class Page implements App {
  engine = new Engine("worker", (event) => this.heard(event));
  phase: Phase = "loading";
  about: About | null = null;
  step = 0;

  private earlier: Kept | null = null;
  /** The run before a call that might never end. */
  private spare: Copy | null = null;
  /** Milliseconds that opening may take; null if there is no hurry. */
  private patience: number | null = null;
  private wasReset = false;
  /** Whether the line for messages tells an error of the set-up. */
  private wrong = false;
  /** Whether the form is not what is open. */
  private dirty = false;
  private opening: Promise<boolean> | null = null;
  private timer = 0;
  private titled = 0;
  private readonly train = new TrainView((typing) => this.changed(typing));
  private readonly inside = new StepView(this);
  private readonly model = new ModelView(this);
  private readonly mistakes = new MistakesView(this);
  private exercises: ExercisesView | null = null;

  constructor() {
    theme.begin();
    this.tabs();
    this.buttons();
    this.set("loading");
    void this.begin(new URLSearchParams(location.search));
    void offline(() => {
      button("update").hidden = false;
    });
  }

  get asked(): string {
    // Until the engine is loaded, the form does not have what the address says.
    return (this.phase === "loading" ? new URLSearchParams(location.search).get("backend") : null) ?? this.train.asked;
  }

  notice(text: string, error = true): void {
    const line = box("notice");
    say(line, text);
    line.classList.toggle("error", error);
  }

  trouble(error: unknown): void {
    if (error instanceof Fatal) this.failed(error);
    else if (!(error instanceof Replaced)) this.notice(words(error));
  }

  async prepare(): Promise<boolean> {
    let open = false;
    await this.guard(async () => {
      open = await this.ready();
    });
    return open;
  }

  async one(): Promise<void> {
    await this.guard(async () => {
      if (!(await this.ready())) return;
      await this.engine.call("step");
      if (this.phase !== "finished") this.set("paused");
      await this.names(NAMES);
      this.inside.shown();
      this.model.shown();
    });
  }

  async putBy(): Promise<void> {
    this.spare = await this.engine.call("copy");
  }

  async pause(): Promise<void> {
    await this.guard(async () => {
      await this.engine.call("pause");
      if (this.phase === "training") this.set("paused");
      this.inside.shown();
      this.model.shown();
    });
  }

  /** Loads the engine, then opens what the address says. */
  private async begin(query: URLSearchParams | null): Promise<void> {
    await this.guard(async () => {
      const { settings, derivations, current, earlier } = await this.engine.call("start");
      this.earlier = earlier;
      if (query !== null) this.train.form(settings);
      this.inside.know(derivations);
      const fields = Object.fromEntries(query ?? []);
      const known = [...settings.map(({ name }) => name), ...OTHERS, "backend", "tune", "start"];
      const unknown = Object.keys(fields).find((name) => !known.includes(name));
      if (unknown !== undefined) {
        throw new Error(`The address has "${unknown}", which is no setting. There are: ${known.join(", ")}.`);
      }
      const { backend, tune, start, ...recipe } = fields;
      if (backend !== undefined && !["auto", "webgpu", "cpu"].includes(backend)) {
        throw new Error(`The address has backend=${backend}. There are: auto, webgpu, cpu.`);
      }
      if (tune !== undefined && !["auto", "off", "again"].includes(tune)) {
        throw new Error(`The address has tune=${tune}. There are: auto, off, again.`);
      }
      if (start !== undefined && !["0", "1"].includes(start)) {
        throw new Error(`The address has start=${start}. It is 1 to begin at once.`);
      }
      if (recipe["data"] !== undefined && !["names", "municipalities"].includes(recipe["data"])) {
        throw new Error(`The address has data=${recipe["data"]}. There are: names, municipalities; other words are opened here.`);
      }
      if (query !== null) this.train.fill(recipe, backend, undefined, tune);
      if (current !== null && Object.keys(fields).length === 0) {
        say(button("continue"), `Continue the run (step ${whole(current.step)} of ${whole(current.steps)})`);
        this.offer(true);
        this.set("ready", "Continue the run that is kept, or start anew.");
        return;
      }
      if (query === null) {
        this.set("failed");
        return;
      }
      this.dirty = true;
      if ((await this.ready()) && start === "1") await this.go();
    });
  }

  /** Opens the set-up of the form if it is not the one that is open. */
  private async ready(): Promise<boolean> {
    clearTimeout(this.timer);
    this.offer(false);
    while (this.opening !== null) await this.opening;
    if (!this.dirty && this.about !== null) return true;
    this.opening = this.open();
    try {
      return await this.opening;
    } finally {
      this.opening = null;
    }
  }

  private async open(): Promise<boolean> {
    if (!this.train.complete) {
      this.set("ready", "Choose a file or paste some words, then train.");
      return false;
    }
    const setup: Setup = this.train.setup();
    this.dirty = false;
    this.set("compiling");
    try {
      this.opened(await this.engine.within(this.patience, SILENT, "open", setup));
    } catch (error) {
      this.dirty = true;
      this.closed();
      throw error;
    }
    return true;
  }

  private opened(opened: Opened): void {
    this.about = opened.about;
    this.step = opened.about.step;
    this.earlier = opened.earlier;
    if (this.wrong) this.notice("", false);
    this.wrong = false;
    this.train.opened(opened);
    document.documentElement.dataset["backend"] = opened.about.backend;
    this.set(this.step === 0 ? "ready" : this.step >= opened.about.steps ? "finished" : "paused");
    this.title();
    this.inside.opened();
    this.model.opened();
    this.mistakes.opened();
    void this.names(this.step === 0 ? FIRST_NAMES : NAMES);
  }

  private closed(): void {
    this.about = null;
    this.step = 0;
    this.train.closed();
    this.mistakes.opened();
  }

  /** Continues a run: the form shows its set-up. */
  private async proceed(how: () => Promise<Opened>): Promise<void> {
    this.set("compiling", "Opening the run.");
    const opened = await how();
    this.train.fill(opened.about.fields, opened.backend, opened.file);
    this.dirty = false;
    this.offer(false);
    this.opened(opened);
  }

  private async go(): Promise<void> {
    if (this.phase === "training" || this.phase === "finished") return;
    this.wasReset = false;
    this.set("training");
    await this.engine.call("train");
  }

  private async names(count: number): Promise<void> {
    const { step } = this;
    try {
      const names = await this.engine.call("names", count);
      if (this.phase !== "training" && this.phase !== "finished" && step === this.step) this.train.names(step, names);
    } catch (error) {
      // If the session was closed meanwhile, the next one has names of its own.
      if (this.about !== null) this.trouble(error);
    }
  }

  /** The visitor changed the set-up. */
  private changed(typing: boolean): void {
    this.dirty = true;
    clearTimeout(this.timer);
    if (this.step > 0 || !box("offer").hidden) return;
    this.timer = window.setTimeout(() => {
      void this.guard(async () => {
        await this.ready();
        // Keys that were pressed while it opened.
        if (this.dirty && this.about !== null) this.changed(true);
      });
    }, typing ? TYPING : 0);
  }

  private heard(event: Happened): void {
    switch (event.event) {
      case "progress":
        this.progress(event.progress);
        break;
      case "names":
        this.train.names(event.step, event.names);
        break;
      case "finished":
        this.train.finished(event.finished);
        this.set("finished");
        this.inside.phase();
        this.model.shown();
        this.title();
        break;
      case "saved":
        say(box("saved"), `This browser keeps the run, up to step ${whole(event.step)}.`);
        this.earlier = event.earlier;
        this.undoable();
        break;
      case "note":
        this.notice(event.text, false);
        break;
      case "failed":
        this.failed(new (event.fatal ? Fatal : Error)(event.text));
        break;
    }
  }

  private progress(progress: Progress): void {
    this.step = progress.step;
    this.train.progress(progress);
    this.model.moved();
    if (progress.finished) this.set("training", "All steps are done. Computing the losses over all words.");
    const time = performance.now();
    if (time - this.titled > 1000) {
      this.titled = time;
      this.title();
      this.inside.phase();
    }
  }

  private title(): void {
    const steps = this.about?.steps ?? 0;
    const part = steps > 0 && this.step > 0 ? `${Math.floor((100 * this.step) / steps)} % · ` : "";
    document.title = `${part}gpu-makemore`;
  }

  private set(phase: Phase, detail = ""): void {
    this.phase = phase;
    document.documentElement.dataset["state"] = phase;
    this.train.phase(phase, detail);
    this.undoable();
    this.inside.phase();
    this.mistakes.phase();
  }

  private undoable(): void {
    const undo = button("undo");
    undo.hidden = this.earlier === null || !box("offer").hidden;
    undo.disabled = this.phase === "loading" || this.phase === "compiling" || this.phase === "training";
    if (this.earlier === null) return;
    const { finished, step } = this.earlier;
    say(undo, this.wasReset ? "Undo reset" : finished ? "Bring back the finished run" : `Bring back the run at step ${whole(step)}`);
  }

  private offer(shown: boolean): void {
    box("offer").hidden = !shown;
    this.undoable();
  }

  /** Runs what a visitor asked for; an error is a line and a state. */
  private async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (error instanceof Replaced) return;
    this.wrong = true;
    this.notice(words(error));
    this.set("failed");
    if (!(error instanceof Fatal)) return;
    this.renew(error instanceof Hung);
    if (performance.now() - this.replaced < 3000) return;
    this.replaced = performance.now();
    if (error instanceof Hung) void this.reopen(error.message);
    else void this.begin(null).then(() => this.set("failed"));
  }

  /** A new worker. What the browser keeps can be continued. */
  private renew(hung: boolean): void {
    this.engine.end(hung);
    this.closed();
    this.dirty = true;
    this.engine = new Engine("worker", (event) => this.heard(event));
  }

  /** Opens what was open before a worker hung: on its device, or on the CPU if the kernel has the GPU hang as well. */
  private async reopen(why: string): Promise<void> {
    const what = (where: string) => (this.step === 0 ? `the set-up is open again${where}` : `the run is open again${where}, at step ${whole(this.step)}`);
    await this.guard(async () => {
      try {
        await this.restore(this.spare?.run.backend ?? this.train.asked, PATIENCE);
        this.notice(`${why} Now ${what("")}.`);
      } catch (error) {
        if (!(error instanceof Hung)) throw error;
        this.renew(true);
        await this.restore("cpu", null);
        this.notice(`${why} WebGPU has given no answer since, so ${what(" on the CPU")}. Restart the browser to use WebGPU again.`);
      }
    });
  }

  /** Opens the run that was put by, or the set-up if it had done no step. */
  private async restore(backend: string, patience: number | null): Promise<void> {
    const { spare } = this;
    this.earlier = (await this.engine.call("start")).earlier;
    if (spare !== null) {
      await this.proceed(() => this.engine.within(patience, SILENT, "restore", spare, backend));
      return;
    }
    const { fields, file, tune } = this.train.setup();
    this.train.fill(fields, backend, file, tune);
    this.patience = patience;
    try {
      await this.ready();
    } finally {
      this.patience = null;
    }
  }

  /** When the worker was replaced, so that one that always fails is not replaced for ever. */
  private replaced = -Infinity;

  private buttons(): void {
    const on = (id: string, work: () => Promise<void>) => {
      button(id).addEventListener("click", () => void this.guard(work));
    };
    on("train", async () => {
      if (await this.ready()) await this.go();
    });
    button("pause").addEventListener("click", () => void this.pause());
    button("step").addEventListener("click", () => void this.one());
    on("reset", async () => {
      this.wasReset = this.step > 0;
      this.dirty = true;
      this.notice("", false);
      await this.ready();
      button("train").focus({ preventScroll: true });
    });
    on("undo", async () => {
      this.wasReset = false;
      await this.proceed(() => this.engine.call("undo"));
    });
    on("continue", async () => {
      await this.proceed(() => this.engine.call("proceed"));
      await this.go();
    });
    on("anew", async () => {
      this.dirty = true;
      await this.ready();
    });
    on("save-run", async () => save("last.safetensors", await this.engine.call("run")));
    on("save-model", async () => save("model.safetensors", await this.engine.call("model")));
    const file = byId("run-file", HTMLInputElement);
    button("open-run").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      file.value = "";
      if (chosen) void this.load(chosen);
    });
    on("link", () => this.link());
    on("update", async () => {
      if (this.phase === "training") await this.pause();
      await takeOver();
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.documentElement.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) document.documentElement.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.documentElement.classList.remove("dropping");
      const files = [...(event.dataTransfer?.files ?? [])];
      const [dropped] = files;
      if (!dropped) return;
      if (this.exercises !== null && !box("view-exercises").hidden && !dropped.name.endsWith(".safetensors")) void this.exercises.take(files);
      else if (dropped.name.endsWith(".safetensors")) void this.load(dropped);
      else if (this.step > 0) this.notice("Reset first: the words cannot change in mid-run.");
      else void this.guard(() => this.train.take(dropped));
    });
    const hide = () => {
      if (this.about !== null) void this.engine.call("hide").catch(() => undefined);
    };
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") hide();
    });
    addEventListener("pagehide", hide);
  }

  /** Opens a run's file. What is open stays if that fails. */
  private async load(file: File): Promise<void> {
    const { phase } = this;
    if (phase === "training") await this.pause();
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      await this.proceed(() => this.engine.call("resume", bytes, this.train.words(), this.train.asked, this.train.tune));
      this.notice(`${file.name} is open.`, false);
    } catch (error) {
      if (error instanceof Fatal || error instanceof Replaced) {
        this.failed(error);
        return;
      }
      this.notice(`${file.name}: ${words(error)}`);
      this.set(phase === "training" ? "paused" : phase);
    }
  }

  private async link(): Promise<void> {
    const { fields, backend, tune, file } = this.train.setup();
    const query = new URLSearchParams(fields);
    if (query.get("data") === "names") query.delete("data");
    if (backend !== "auto") query.set("backend", backend);
    if (tune !== undefined && tune !== "auto") query.set("tune", tune);
    const address = new URL(location.pathname, location.href);
    address.search = query.toString();
    const rest = file === undefined ? "" : " It does not carry the words: they are on this machine only.";
    try {
      await navigator.clipboard.writeText(address.href);
      this.notice(`The link is copied: ${address.href}${rest}`, false);
    } catch {
      this.notice(`The link: ${address.href}${rest}`, false);
    }
  }

  /** Shows the exercises. They are loaded when they are first opened. */
  private async practise(): Promise<void> {
    if (this.exercises === null) {
      try {
        const { ExercisesView } = await import("./views/exercises.js");
        await breathe();
        this.exercises ??= new ExercisesView(this);
      } catch (error) {
        say(box("view-exercises"), `The exercises could not be loaded: ${words(error)}`);
        return;
      }
    }
    this.exercises.shown();
  }

  private tabs(): void {
    const show = (view: string) => {
      for (const name of VIEWS) {
        const chosen = name === view;
        box(`view-${name}`).hidden = !chosen;
        button(`tab-${name}`).setAttribute("aria-selected", String(chosen));
        button(`tab-${name}`).tabIndex = chosen ? 0 : -1;
      }
      this.inside.shown();
      this.model.shown();
      this.mistakes.shown();
      if (view === "exercises") void this.practise();
    };
    const follow = () => {
      const view = location.hash.slice(1);
      show(VIEWS.find((name) => name === view) ?? "train");
    };
    for (const name of VIEWS) {
      button(`tab-${name}`).addEventListener("click", () => {
        history.replaceState(null, "", name === "train" ? location.pathname + location.search : `#${name}`);
        show(name);
      });
    }
    const list = document.querySelector<HTMLElement>('[role="tablist"]');
    if (list) arrows(list, '[role="tab"]', true);
    addEventListener("hashchange", follow);
    follow();
  }
}

/** Keeps the page's files for a time without a network. Without a service worker all else works. */
async function offline(waiting: () => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    const registration = await navigator.serviceWorker.register("./sw.js", { scope: "./" });
    const look = () => {
      if (registration.waiting !== null && navigator.serviceWorker.controller !== null) waiting();
    };
    look();
    registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", look));
  } catch {
    // Private windows and plain addresses have none.
  }
}

/** The new version of the page takes the place of this one. */
async function takeOver(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration("./");
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
  registration?.waiting?.postMessage("take over");
}

new Page();
