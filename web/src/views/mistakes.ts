// The view "Break it": a mistake in a kernel, or an edit of it, what the table says of it, and what it does to a
// training.

import { words } from "../app.js";
import type { App } from "../app.js";
import { Pair } from "../chart.js";
import { lines, table } from "../cmp.js";
import { diff } from "../diff.js";
import { arrows, box, breathe, make, say, takeTurns, whole } from "../dom.js";
import { Fatal, Hung, Replaced } from "../engine.js";
import type { Editor } from "../editor.js";
import { options } from "../files.js";
import type { Inspection, Mistake, SourceErrors, SourceFile, TrialProgress } from "../protocol.js";
import { HuntView } from "./hunt.js";

const STEPS = 2000;
const LEAST = 10;
const MOST = 20_000;
const STALE = "The text has changed since: the results below are those of the earlier text.";
/** Milliseconds that a call has which runs a visitor's text. On two cores, SwiftShader needs some five seconds. */
const LONGEST = 30_000;
const HUNG = `The edited kernel gave no answer for ${LONGEST / 1000} seconds and was stopped: a loop in it may never end.`;

/** The file that the editor has at first: the shortest formula. */
const FIRST = "tanh.wgsl";
/** What is compiled, compared and trained. */
interface Subject {
  readonly noun: "mistake" | "edit";
  /** Whether it is in a kernel that trains. */
  readonly trains: boolean;
  /** The text, if it is the visitor's. */
  readonly text?: string;
  /** Makes it, for a training of this many steps. */
  make(steps: number): Promise<void>;
}

export class MistakesView {
  private all: Mistake[] | null = null;
  private files: SourceFile[] = [];
  private chosen: Mistake | "own" | "hunt" | null = null;
  /** What the table and the curve are of. */
  private subject: Subject | null = null;
  private editor: Editor | null = null;
  /** The file in the editor. */
  private file: SourceFile | null = null;
  /** What is being done. */
  private doing: "nothing" | "compiling" | "training" = "nothing";
  /** Steps of the trial that the worker holds; 0 if there is none. */
  private made = 0;
  private progress: TrialProgress | null = null;
  /** Counts choices and sessions: an answer for an earlier one is dropped. */
  private round = 0;
  private stopping = false;
  /** What is told after an edit has hung, when everything else is forgotten. */
  private hung = "";
  private pair: Pair | null = null;

  private readonly needs = make("p", { id: "needs", class: "told", hidden: "" });
  private readonly filter = make("input", { id: "filter", type: "search", autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: "Filter" });
  private readonly found = make("p", { class: "hint", role: "status" });
  private readonly own = make("button", { type: "button", id: "own", "aria-current": "false" }, "Your own edit");
  private readonly hunted = make("button", { type: "button", id: "hunt", "aria-current": "false" }, "Find a planted mistake");
  private readonly hunt: HuntView;
  private readonly list = make("div", { id: "mistakes", class: "choosing" });
  private readonly article = make("div", { class: "chosen-mistake" });
  private readonly title = make("h2", { id: "mistake-title", tabindex: "-1" }, "No mistake is chosen");
  private readonly about = make("div");
  private readonly which = make("select", { id: "edit-file" });
  private readonly place = make("div", { id: "edit-place" }, "Loading the editor …");
  private readonly differs = make("p", { id: "edit-differs", class: "hint" });
  private readonly editing = make("div", { id: "editing" });
  private readonly makeIt = make("button", { type: "button", id: "break", class: "primary", hidden: "" });
  private readonly reset = make("button", { type: "button", id: "edit-reset", hidden: "" }, "Restore the original");
  private readonly edit = make("button", { type: "button", id: "edit-this", class: "quiet", hidden: "" }, "Edit this yourself");
  private readonly told = make("p", { id: "broken-told", class: "told", role: "status" });
  private readonly errors = make("ul", { id: "edit-errors", class: "wrong" });
  private readonly rows = make("tbody");
  private readonly verdict = make("p", { id: "broken-verdict", role: "status" });
  private readonly comparedTitle = make("h2", { id: "compared-title" });
  private readonly compared = make("section", { class: "panel", "aria-labelledby": "compared-title", hidden: "" });
  private readonly trainingTitle = make("h2");
  private readonly training = make("section", { class: "panel", hidden: "" });
  private readonly steps = make("input", { id: "broken-steps", type: "number", min: String(LEAST), max: String(MOST), step: "1", value: String(STEPS), inputmode: "numeric" });
  private readonly train = make("button", { type: "button", id: "broken-train", class: "primary" });
  private readonly stop = make("button", { type: "button", id: "broken-stop" }, "Stop");
  private readonly controls = make("div", { class: "row" });
  private readonly unused = make(
    "p",
    { id: "broken-unused" },
    "This kernel is only in the line-by-line pass: the training step does not use it, so the curve is the same.",
  );
  private readonly state = make("p", { id: "broken-state", class: "told hint" });
  private readonly ended = make("p", { id: "broken-ended", class: "told wrong", role: "status" });
  private readonly chart = make("div", { class: "chart pair", role: "img", hidden: "" });

  constructor(private readonly app: App) {
    this.hunt = new HuntView(app, () => void this.plant());
    this.controls.append(make("label", { for: "broken-steps" }, "steps"), this.steps, this.train, this.stop);
    this.compared.append(this.comparedTitle, this.verdict, table("broken-cmp", this.rows));
    this.training.append(this.trainingTitle, this.unused, this.controls, this.state, this.ended, this.chart);
    this.editing.append(
      make("div", { class: "row" }, make("label", { for: "edit-file" }, "file"), this.which),
      this.place,
      this.differs,
      make("p", { class: "hint" }, `Ctrl-Enter or ⌘-Enter compiles, Tab leaves the editor. A kernel that gives no answer for ${LONGEST / 1000} seconds is stopped, and the run is opened again.`),
    );
    this.article.append(
      make(
        "section",
        { class: "panel", "aria-labelledby": "mistake-title" },
        this.title,
        this.about,
        make("div", { class: "row" }, this.makeIt, this.reset, this.edit),
        this.told,
        this.errors,
      ),
      this.compared,
      this.training,
      this.hunt.element,
    );
    box("view-mistakes").append(
      make("p", {}, "Make one mistake in a kernel, or edit it yourself, and see which gradients that spoils and what it does to a training."),
      this.needs,
      make(
        "div",
        { class: "breaking" },
        make(
          "section",
          { class: "panel list-of-mistakes", "aria-labelledby": "mistakes-title" },
          make("h2", { id: "mistakes-title" }, "Mistakes"),
          this.own,
          this.hunted,
          make("label", { for: "filter", class: "away" }, "Filter the mistakes"),
          this.filter,
          this.found,
          this.list,
        ),
        this.article,
      ),
    );
    this.filter.addEventListener("input", () => this.drawList());
    this.own.addEventListener("click", () => void this.chooseOwn());
    this.hunted.addEventListener("click", () => {
      if (this.chosen !== "hunt") void this.plant();
      this.bringUp();
    });
    this.which.addEventListener("change", () => {
      this.open(this.which.value);
      this.phase();
    });
    this.edit.addEventListener("click", () => void this.editChosen());
    this.reset.addEventListener("click", () => {
      this.drawErrors([]);
      this.editor?.restore();
      // The button is off now.
      this.editor?.focus();
    });
    this.makeIt.addEventListener("click", () => void this.make());
    this.train.addEventListener("click", () => void this.run());
    this.stop.addEventListener("click", () => {
      this.stopping = true;
      this.phase();
    });
    this.steps.addEventListener("input", () => this.phase());
    arrows(this.list, "button");
    this.phase();
  }

  private get visible(): boolean {
    return !box("view-mistakes").hidden;
  }

  /** The view is opened. */
  shown(): void {
    if (!this.visible) return;
    this.phase();
    if (this.all === null) void this.load();
  }

  /** Another session, or none: the worker has freed the mistake. */
  opened(): void {
    this.forget();
    this.phase();
  }

  phase(): void {
    const { phase, about } = this.app;
    const cpu = about?.backend === "cpu";
    const idle = this.doing === "nothing";
    this.needs.hidden = !cpu;
    if (cpu) say(this.needs, "A mistake needs WebGPU: it is made in a kernel, and this run is on the CPU. If this browser has WebGPU, choose webgpu under “runs on” in the set-up.");
    const { chosen } = this;
    const own = chosen === "own";
    this.makeIt.hidden = chosen === null;
    const hunt = chosen === "hunt";
    say(this.makeIt, own ? "Compile and compare" : hunt ? "Plant it again" : "Make this mistake");
    this.makeIt.disabled =
      cpu || !idle || chosen === null || (own && this.editor === null) || phase === "loading" || phase === "compiling";
    this.reset.hidden = !own;
    this.edit.hidden = own || hunt || chosen === null || this.applied(chosen) === null;
    this.hunt.element.hidden = !hunt;
    this.hunt.phase(!this.makeIt.disabled);
    this.hunted.disabled = this.files.length === 0;
    const wanted = this.wanted;
    const goesOn = this.progress !== null && !this.progress.finished && this.progress.steps === wanted;
    say(this.train, goesOn ? "Continue with it" : `Train ${whole(wanted ?? STEPS)} steps with it`);
    this.train.disabled = this.makeIt.disabled || wanted === null;
    this.steps.disabled = !idle;
    this.steps.setAttribute("aria-invalid", String(wanted === null));
    const training = this.doing === "training";
    this.stop.disabled = this.stopping;
    takeTurns(this.train, this.stop, training);
    if (wanted === null) say(this.state, `Steps: a whole number from ${LEAST} to ${whole(MOST)}.`);
    else if (this.progress !== null) this.drawState(this.progress);
    else if (this.doing !== "compiling") say(this.state, "");
  }

  /** The steps that are asked for, if they are a number. */
  private get wanted(): number | null {
    const value = this.steps.valueAsNumber;
    return Number.isInteger(value) && value >= LEAST && value <= MOST ? value : null;
  }

  private async load(): Promise<void> {
    this.all = [];
    try {
      const { engine } = this.app;
      [this.all, this.files] = await Promise.all([engine.call("mistakes"), engine.call("sources")]);
    } catch (error) {
      this.all = null;
      this.app.trouble(error);
    }
    this.drawList();
    this.drawFiles();
    this.phase();
  }

  private drawList(): void {
    const all = this.all ?? [];
    const sought = this.filter.value.trim().toLowerCase();
    const fit = all.filter(({ name, file, from, to }) => `${name}\n${file}\n${from}\n${to}`.toLowerCase().includes(sought));
    const files = new Map<string, Mistake[]>();
    for (const mistake of fit) files.set(mistake.file, [...(files.get(mistake.file) ?? []), mistake]);
    const groups = [...files].flatMap(([file, mistakes], i) => [
      make("h3", { id: `mistakes-${i}` }, file),
      make("div", { role: "group", "aria-labelledby": `mistakes-${i}` }, ...mistakes.map((mistake) => this.item(mistake))),
    ]);
    this.list.replaceChildren(...groups);
    say(this.found, sought === "" ? `${all.length} mistakes, by the file they are in` : `${fit.length} of ${all.length} mistakes`);
  }

  private item(mistake: Mistake): HTMLElement {
    const made = make("button", { type: "button", "data-mistake": mistake.name, "aria-current": String(mistake === this.chosen) }, mistake.name);
    made.addEventListener("click", () => this.choose(mistake));
    return made;
  }

  private choose(mistake: Mistake): void {
    if (mistake !== this.chosen) {
      this.chosen = mistake;
      this.mend();
      this.drawMistake(mistake);
      this.drawChosen();
    }
    this.bringUp();
  }

  private drawChosen(): void {
    const { chosen } = this;
    this.own.setAttribute("aria-current", String(chosen === "own"));
    this.hunted.setAttribute("aria-current", String(chosen === "hunt"));
    for (const made of this.list.querySelectorAll<HTMLElement>("button")) {
      made.setAttribute("aria-current", String(typeof chosen === "object" && made.dataset["mistake"] === chosen?.name));
    }
    this.errors.hidden = chosen !== "own";
    this.phase();
  }

  /** On a narrow screen what is chosen lies below the list. */
  private bringUp(): void {
    if (this.article.getBoundingClientRect().top > innerHeight * 0.4) {
      this.article.scrollIntoView({ block: "start" });
      this.title.focus({ preventScroll: true });
    }
  }

  private drawMistake(mistake: Mistake): void {
    say(this.title, mistake.name);
    this.about.replaceChildren(
      make("p", { class: "hint" }, "in ", make("code", {}, mistake.file)),
      diff(mistake.from, mistake.to),
      make("p", { class: "told" }, "The first tensor in which it shows: ", make("code", {}, mistake.first), "."),
    );
  }

  /** Draws a mistake to be found, and makes it. */
  private async plant(): Promise<void> {
    this.chosen = "hunt";
    this.mend();
    say(this.title, "A planted mistake");
    this.about.replaceChildren(
      make("p", {}, "One place in one kernel has been changed. The table shows which gradients that spoils, and the curve what it does to a training. Which line is it?"),
    );
    this.drawChosen();
    const { round } = this;
    try {
      await this.hunt.draw(this.files);
    } catch (error) {
      if (error instanceof Fatal || error instanceof Replaced) this.app.trouble(error);
      else this.tell(words(error), true);
      return;
    }
    if (round === this.round && !this.makeIt.disabled) await this.make();
  }

  /** The visitor's own edit. True: the editor is there. */
  private async chooseOwn(): Promise<boolean> {
    if (this.chosen !== "own") {
      this.chosen = "own";
      this.mend();
      say(this.title, "Your own edit");
      this.about.replaceChildren(this.editing);
      this.drawChosen();
    }
    this.bringUp();
    if (this.editor === null) {
      try {
        const module = await import("../editor.js");
        // Loading it, making it and opening a file are three tasks, so that none is long.
        await breathe();
        this.editor ??= new module.Editor(
          this.place,
          () => this.drawEdited(),
          () => {
            if (!this.makeIt.disabled) void this.make();
          },
        );
      } catch (error) {
        this.tell(`The editor could not be loaded: ${words(error)}`, true);
        return false;
      }
      await breathe();
      this.place.replaceChildren();
      this.drawFiles();
      this.phase();
    }
    return true;
  }

  /** Shows another file in the editor. What the one before had is kept. */
  private open(name: string): void {
    const file = this.files.find(({ file }) => file === name);
    if (file === undefined) return;
    this.which.value = file.file;
    // Once it is loaded, the editor opens what is selected.
    if (this.editor === null) return;
    if (file !== this.file) {
      if (this.file !== null) {
        this.drawErrors([]);
        this.mend();
      }
      this.file = file;
      this.editor.open(file.file, file.text);
    }
    this.drawEdited();
  }

  /** The list of files, and the one that is open. */
  private drawFiles(): void {
    const selected = this.which.value || FIRST;
    this.which.replaceChildren(...options(this.files));
    this.open(selected);
  }

  /** The text in the editor is another one. */
  private drawEdited(): void {
    const { editor, file, subject } = this;
    if (editor === null || file === null) return;
    const { count, edited } = editor;
    const others = edited.filter((name) => name !== file.file);
    this.reset.disabled = !edited.includes(file.file);
    const lines = count === 0 ? "No line differs" : count === 1 ? "1 line differs" : `${whole(count)} lines differ`;
    const only = others.length === 0 ? "" : ` Only this file is compiled: what you changed in ${others.join(", ")} is not in it.`;
    say(this.differs, `${lines} from the original.${only}`);
    for (const option of this.which.options) say(option, edited.includes(option.value) ? `${option.value} (edited)` : option.value);
    const stale = subject?.text !== undefined && subject.text !== editor.text && !this.compared.hidden;
    // What the compiler said stays until it is asked again.
    if (this.doing !== "compiling" && this.errors.childElementCount === 0) this.tell(stale ? STALE : "");
  }

  /** The text of a file with a mistake in it, and where the mistake is. */
  private applied({ file, from, to }: Mistake): { text: string; at: number } | null {
    const text = this.files.find((one) => one.file === file)?.text;
    const at = text?.indexOf(from) ?? -1;
    if (text === undefined || at < 0) return null;
    return { text: text.slice(0, at) + to + text.slice(at + from.length), at };
  }

  /** Opens the editor with the mistake in it. */
  private async editChosen(): Promise<void> {
    const { chosen } = this;
    if (chosen === null || typeof chosen === "string") return;
    const edit = this.applied(chosen);
    if (edit === null || !(await this.chooseOwn()) || this.chosen !== "own") return;
    this.open(chosen.file);
    this.editor?.put(edit.text, edit.at);
    this.editor?.focus();
  }

  /** Lists what the compiler says, and marks it in the editor. */
  private drawErrors(errors: SourceErrors): void {
    const { editor, file } = this;
    const here = errors.filter((error) => error.file === file?.file);
    editor?.mark(here);
    this.errors.replaceChildren(
      ...errors.map((error) => {
        const text = `${error.file}:${error.line}:${error.column}: ${error.message}`;
        const at = here.indexOf(error);
        // Another file, which uses this one.
        if (at < 0) return make("li", {}, make("code", {}, text));
        const go = make("button", { type: "button", class: "link" }, text);
        go.addEventListener("click", () => editor?.goTo(at));
        return make("li", {}, go);
      }),
    );
  }

  /** What is chosen, as it is now; nothing if it is an edit that changes nothing. */
  private present(): Subject | null {
    const { chosen, editor, file } = this;
    const { engine } = this.app;
    if (chosen === null) return null;
    if (chosen === "hunt") {
      const { number } = this.hunt;
      return number === 0 ? null : { noun: "mistake", trains: true, make: (steps) => engine.call("hunt", number, steps) };
    }
    if (chosen !== "own") {
      return { noun: "mistake", trains: chosen.trains, make: (steps) => engine.call("breakIt", chosen.name, steps) };
    }
    if (editor === null || file === null || !editor.edited.includes(file.file)) return null;
    const { text } = editor;
    return { noun: "edit", trains: file.trains, text, make: (steps) => engine.within(LONGEST, HUNG, "breakBy", file.file, text, steps) };
  }

  /** Another choice: the worker need not keep what was made. */
  private mend(): void {
    this.hung = "";
    this.forget();
    void this.app.engine.call("mend").catch((error: unknown) => this.app.trouble(error));
  }

  /** Nothing is made any more. */
  private forget(): void {
    this.round++;
    this.subject = null;
    this.made = 0;
    this.progress = null;
    this.stopping = true;
    this.doing = "nothing";
    this.compared.hidden = true;
    this.training.hidden = true;
    this.chart.hidden = true;
    this.rows.replaceChildren();
    for (const line of [this.verdict, this.state, this.ended]) say(line, "");
    this.tell(this.hung, this.hung !== "");
  }

  private tell(text: string, error = false): void {
    say(this.told, text);
    this.told.classList.toggle("error", error);
  }

  /** Runs what takes time, for the mistake that is chosen now. */
  private async work(doing: "compiling" | "training", work: (round: number) => Promise<void>): Promise<void> {
    if (this.doing !== "nothing") return;
    const round = this.round;
    const fresh = () => round === this.round;
    this.doing = doing;
    this.stopping = false;
    this.phase();
    try {
      if (this.subject?.noun === "edit") await this.app.putBy();
      if (fresh()) await work(round);
    } catch (error) {
      if (error instanceof Hung) this.hung = `${HUNG} Your text is still in the editor.`;
      if (error instanceof Fatal || error instanceof Replaced) this.app.trouble(error);
      else if (fresh() && doing === "training") say(this.ended, words(error));
      else if (fresh()) this.tell(words(error), true);
    } finally {
      if (fresh()) {
        this.doing = "nothing";
        this.stopping = false;
        this.phase();
      }
    }
  }

  private async make(): Promise<void> {
    const { chosen } = this;
    if (chosen === null || this.doing !== "nothing") return;
    this.hung = "";
    if (this.present() === null) {
      this.drawErrors([]);
      this.tell(chosen === "hunt" ? "No mistake is drawn yet." : "Nothing is changed: edit the text first.");
      return;
    }
    // Opening a session forgets what was made, so it comes first.
    if (!(await this.app.prepare())) {
      this.tell("No run is open: see Train.", true);
      return;
    }
    const subject = this.present();
    if (chosen !== this.chosen || subject === null) return;
    this.subject = subject;
    this.compared.hidden = true;
    this.training.hidden = true;
    this.chart.hidden = true;
    this.progress = null;
    say(this.ended, "");
    await this.work("compiling", async (round) => {
      const { engine } = this.app;
      const steps = this.wanted ?? STEPS;
      const { file } = this;
      const { noun, text } = subject;
      this.made = 0;
      this.tell(compiling(subject));
      if (file !== null && text !== undefined) {
        this.drawErrors([]);
        const errors = await engine.call("compile", file.file, text);
        if (round !== this.round) return;
        if (errors.length > 0) {
          this.subject = null;
          this.drawErrors(errors);
          this.tell(refused(errors, file.file), true);
          return;
        }
      }
      await subject.make(steps);
      if (round !== this.round) return;
      this.made = steps;
      // The device compiles a kernel when it first runs.
      this.tell(`${compiling(subject)} and computing the step with the ${noun}, and the reference in f64.`);
      const seen = await engine.within(limit(subject), HUNG, "inspectBroken");
      await breathe();
      if (round !== this.round) return;
      this.tell(noun === "edit" ? "It compiles." : "");
      this.drawTable(seen, noun);
      say(this.trainingTitle, `Training with the ${noun}`);
      this.chart.setAttribute("aria-label", `Two loss curves: blue is right, orange and dashed is with the ${noun}.`);
      this.training.hidden = false;
      this.controls.hidden = !subject.trains;
      this.unused.hidden = subject.trains;
      // The visitor may have typed on.
      if (noun === "edit" && this.editor?.text !== text) this.tell(STALE);
    });
  }

  private drawTable({ tensors, wrong, step }: Inspection, noun: Subject["noun"]): void {
    say(this.comparedTitle, `cmp with the ${noun}`);
    this.rows.replaceChildren(...lines(tensors));
    const first = tensors.find(({ row }) => !row.pass);
    say(
      this.verdict,
      first === undefined
        ? `0 of ${tensors.length} rows are wrong: with the minibatch of step ${whole(step)} this ${noun} does not show.`
        : `${wrong} of ${tensors.length} rows ${wrong === 1 ? "is" : "are"} wrong; the first is ${first.name}.`,
    );
    if (this.chosen === "hunt") this.hunt.seen(`In the table, ${this.verdict.textContent ?? ""}`);
    this.verdict.classList.toggle("wrong", wrong > 0);
    this.compared.hidden = false;
  }

  /** Trains with it and without it, until the end or until it is stopped. */
  private async run(): Promise<void> {
    const { subject } = this;
    const steps = this.wanted;
    if (subject === null || steps === null) return;
    await this.work("training", async (round) => {
      const { engine } = this.app;
      // A trial has its number of steps from the beginning, and goes to its end once.
      if (this.made !== steps || this.progress?.finished) {
        this.progress = null;
        this.chart.hidden = true;
        say(this.ended, "");
        say(this.state, compiling(subject));
        this.made = 0;
        await subject.make(steps);
        if (round !== this.round) return;
        this.made = steps;
      }
      while (!this.stopping) {
        const progress = await engine.within(limit(subject), HUNG, "trainBroken");
        if (round !== this.round) return;
        this.progress = progress;
        this.drawProgress(progress);
        if (progress.finished) break;
      }
    });
  }

  private drawProgress(progress: TrialProgress): void {
    this.chart.hidden = false;
    this.pair ??= new Pair(this.chart);
    this.pair.draw(progress);
    this.drawState(progress);
    say(this.ended, progress.ended === undefined ? "" : `The training with the ${this.subject?.noun ?? "mistake"} stopped early: ${progress.ended}`);
  }

  private drawState({ step, steps, bucket, finished }: TrialProgress): void {
    const stopped = finished ? " Finished." : this.doing === "nothing" ? " Stopped." : "";
    say(
      this.state,
      `Step ${whole(step)} of ${whole(steps)} with the ${this.subject?.noun ?? "mistake"}.${stopped} log10 of the loss, each point the mean of ${whole(bucket)} steps.`,
    );
  }
}

/** Only in a visitor's text can a loop never end. */
function limit({ noun }: Subject): number | null {
  return noun === "edit" ? LONGEST : null;
}

function compiling({ noun }: Subject): string {
  return `Compiling the ${noun === "edit" ? "edited" : "broken"} kernels …`;
}

/** That the compiler refuses a text, or only another file that uses it. */
function refused(errors: SourceErrors, file: string): string {
  if (errors.some((error) => error.file === file)) return "The compiler refuses the text:";
  const others = [...new Set(errors.map((error) => error.file))];
  return `With this text the compiler refuses ${others.join(" and ")}, made of it too:`;
}
