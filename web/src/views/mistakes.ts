// The view "Break it": a mistake in a kernel, what the table says of it, and what it does to a training.

import { words } from "../app.js";
import type { App } from "../app.js";
import { Pair } from "../chart.js";
import { lines, table } from "../cmp.js";
import { arrows, box, breathe, make, say, whole } from "../dom.js";
import { Fatal, Replaced } from "../engine.js";
import type { Inspection, Mistake, TrialProgress } from "../protocol.js";

const STEPS = 2000;
const LEAST = 10;
const MOST = 20_000;

export class MistakesView {
  private all: Mistake[] | null = null;
  private chosen: Mistake | null = null;
  /** What is being done. */
  private doing: "nothing" | "compiling" | "training" = "nothing";
  /** Steps of the trial that the worker holds; 0 if there is none. */
  private made = 0;
  private progress: TrialProgress | null = null;
  /** Counts choices and sessions: an answer for an earlier one is dropped. */
  private round = 0;
  private stopping = false;
  private pair: Pair | null = null;

  private readonly needs = make("p", { id: "needs", class: "told", hidden: "" });
  private readonly filter = make("input", { id: "filter", type: "search", autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: "Filter" });
  private readonly found = make("p", { class: "hint", role: "status" });
  private readonly list = make("div", { id: "mistakes" });
  private readonly article = make("div", { class: "chosen-mistake" });
  private readonly title = make("h2", { id: "mistake-title", tabindex: "-1" }, "No mistake is chosen");
  private readonly about = make("div");
  private readonly makeIt = make("button", { type: "button", id: "break", class: "primary", hidden: "" }, "Make this mistake");
  private readonly told = make("p", { id: "broken-told", class: "told", role: "status" });
  private readonly rows = make("tbody");
  private readonly verdict = make("p", { id: "broken-verdict", role: "status" });
  private readonly compared = make("section", { class: "panel", "aria-label": "Comparison with the mistake", hidden: "" });
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
  private readonly chart = make("div", { class: "chart pair", role: "img", "aria-label": "Two loss curves: blue is right, orange and dashed is with the mistake.", hidden: "" });

  constructor(private readonly app: App) {
    this.controls.append(make("label", { for: "broken-steps" }, "steps"), this.steps, this.train, this.stop);
    this.compared.append(make("h2", {}, "cmp with the mistake"), this.verdict, table("broken-cmp", this.rows));
    this.training.append(make("h2", {}, "Training with the mistake"), this.unused, this.controls, this.state, this.ended, this.chart);
    this.article.append(
      make("section", { class: "panel", "aria-labelledby": "mistake-title" }, this.title, this.about, this.makeIt, this.told),
      this.compared,
      this.training,
    );
    box("view-mistakes").append(
      make("p", {}, "Make one mistake in a kernel, and see which gradients it spoils and what it does to a training."),
      this.needs,
      make(
        "div",
        { class: "breaking" },
        make(
          "section",
          { class: "panel list-of-mistakes", "aria-labelledby": "mistakes-title" },
          make("h2", { id: "mistakes-title" }, "Mistakes"),
          make("label", { for: "filter", class: "away" }, "Filter the mistakes"),
          this.filter,
          this.found,
          this.list,
        ),
        this.article,
      ),
    );
    this.filter.addEventListener("input", () => this.drawList());
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
    this.makeIt.disabled = cpu || !idle || this.chosen === null || phase === "loading" || phase === "compiling";
    const wanted = this.wanted;
    const goesOn = this.progress !== null && !this.progress.finished && this.progress.steps === wanted;
    say(this.train, goesOn ? "Continue with it" : `Train ${whole(wanted ?? STEPS)} steps with it`);
    this.train.disabled = this.makeIt.disabled || wanted === null;
    this.steps.disabled = !idle;
    this.steps.setAttribute("aria-invalid", String(wanted === null));
    const training = this.doing === "training";
    const focused = document.activeElement;
    this.train.hidden = training;
    this.stop.hidden = !training;
    this.stop.disabled = this.stopping;
    // The focus follows the button that takes the other's place.
    if (focused === this.train && training) this.stop.focus();
    if (focused === this.stop && !training) this.train.focus();
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
      this.all = await this.app.engine.call("mistakes");
    } catch (error) {
      this.all = null;
      this.app.trouble(error);
    }
    this.drawList();
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
      this.forget();
      void this.app.engine.call("mend").catch((error: unknown) => this.app.trouble(error));
      for (const made of this.list.querySelectorAll<HTMLElement>("button")) {
        made.setAttribute("aria-current", String(made.dataset["mistake"] === mistake.name));
      }
      this.drawMistake(mistake);
      this.phase();
    }
    // On a narrow screen the mistake lies below the list.
    if (this.article.getBoundingClientRect().top > innerHeight * 0.4) {
      this.article.scrollIntoView({ block: "start" });
      this.title.focus({ preventScroll: true });
    }
  }

  private drawMistake(mistake: Mistake): void {
    const [right, wrong] = apart(mistake.from, mistake.to);
    say(this.title, mistake.name);
    this.about.replaceChildren(
      make("p", { class: "hint" }, "in ", make("code", {}, mistake.file)),
      make(
        "dl",
        { class: "diff" },
        make("div", {}, make("dt", {}, "right"), make("dd", {}, marked("ins", right))),
        make("div", { class: "broken" }, make("dt", {}, "wrong"), make("dd", {}, marked("del", wrong))),
      ),
      make("p", { class: "told" }, "The first tensor in which it shows: ", make("code", {}, mistake.first), "."),
    );
    this.makeIt.hidden = false;
  }

  /** Nothing is made any more. */
  private forget(): void {
    this.round++;
    this.made = 0;
    this.progress = null;
    this.stopping = true;
    this.doing = "nothing";
    this.compared.hidden = true;
    this.training.hidden = true;
    this.chart.hidden = true;
    this.rows.replaceChildren();
    for (const line of [this.verdict, this.state, this.ended]) say(line, "");
    this.tell("");
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
      await work(round);
    } catch (error) {
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
    const mistake = this.chosen;
    if (mistake === null || this.doing !== "nothing") return;
    // Opening a session forgets what was made, so it comes first.
    if (!(await this.app.prepare())) {
      this.tell("No run is open: see Train.", true);
      return;
    }
    if (mistake !== this.chosen) return;
    this.compared.hidden = true;
    this.training.hidden = true;
    this.chart.hidden = true;
    this.progress = null;
    say(this.ended, "");
    await this.work("compiling", async (round) => {
      const { engine } = this.app;
      const steps = this.wanted ?? STEPS;
      this.tell("Compiling the broken kernels …");
      await engine.call("breakIt", mistake.name, steps);
      if (round !== this.round) return;
      this.made = steps;
      // The device compiles a kernel when it first runs.
      this.tell("Compiling the broken kernels … and computing the step with the mistake, and the reference in f64.");
      const seen = await engine.call("inspectBroken");
      await breathe();
      if (round !== this.round) return;
      this.tell("");
      this.drawTable(seen);
      this.training.hidden = false;
      this.controls.hidden = !mistake.trains;
      this.unused.hidden = mistake.trains;
    });
  }

  private drawTable({ tensors, wrong, step }: Inspection): void {
    this.rows.replaceChildren(...lines(tensors));
    const first = tensors.find(({ row }) => !row.pass);
    say(
      this.verdict,
      first === undefined
        ? `0 of ${tensors.length} rows are wrong: with the minibatch of step ${whole(step)} this mistake does not show.`
        : `${wrong} of ${tensors.length} rows ${wrong === 1 ? "is" : "are"} wrong; the first is ${first.name}.`,
    );
    this.verdict.classList.toggle("wrong", wrong > 0);
    this.compared.hidden = false;
  }

  /** Trains with the mistake and without it, until the end or until it is stopped. */
  private async run(): Promise<void> {
    const mistake = this.chosen;
    const steps = this.wanted;
    if (mistake === null || steps === null) return;
    await this.work("training", async (round) => {
      const { engine } = this.app;
      // A trial has its number of steps from the beginning, and goes to its end once.
      if (this.made !== steps || this.progress?.finished) {
        this.progress = null;
        this.chart.hidden = true;
        say(this.ended, "");
        say(this.state, "Compiling the broken kernels …");
        this.made = 0;
        await engine.call("breakIt", mistake.name, steps);
        if (round !== this.round) return;
        this.made = steps;
      }
      while (!this.stopping) {
        const progress = await engine.call("trainBroken");
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
    say(this.ended, progress.ended === undefined ? "" : `The broken training stopped early: ${progress.ended}`);
  }

  private drawState({ step, steps, bucket, finished }: TrialProgress): void {
    const stopped = finished ? " Finished." : this.doing === "nothing" ? " Stopped." : "";
    say(
      this.state,
      `Step ${whole(step)} of ${whole(steps)} with the mistake.${stopped} log10 of the loss, each point the mean of ${whole(bucket)} steps.`,
    );
  }
}

/** A piece of a text, and whether the other text lacks it. */
type Piece = readonly [text: string, differs: boolean];

/** Two texts, word by word: the longest common sequence of words is what they share. */
function apart(from: string, to: string): readonly [Piece[], Piece[]] {
  const split = (text: string) => text.match(/\w+(?:\.\w+)*|\s+|[^]/g) ?? [];
  const [a, b] = [split(from), split(to)];
  const common = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const row = common[i];
      if (row) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const [right, wrong]: [Piece[], Piece[]] = [[], []];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [word, other] = [a[i], b[j]];
    if (word !== undefined && word === other) {
      right.push([word, false]);
      wrong.push([word, false]);
      i++;
      j++;
    } else if (word !== undefined && (other === undefined || at(i + 1, j) >= at(i, j + 1))) {
      right.push([word, true]);
      i++;
    } else {
      wrong.push([other ?? "", true]);
      j++;
    }
  }
  return [right, wrong];
}

function marked(tag: "ins" | "del", pieces: readonly Piece[]): HTMLElement {
  return make("pre", {}, ...pieces.map(([text, differs]) => (differs && text.trim() !== "" ? make(tag, {}, text) : text)));
}
