// Exercise 4 of the lecture: the learner's own gradients train the model, beside the reference's.

import { words } from "../app.js";
import { Pair } from "../chart.js";
import { make, say, takeTurns, whole } from "../dom.js";
import { Replaced } from "../engine.js";
import type { Lesson, LessonCalls, OwnProgress, Place } from "../protocol.js";

/** Steps on a device, and in the interpreter, which is some thousand times slower. */
const STEPS = 2000;
const FEW = 20;
/** Names that are listed before it is "and so many more". */
const LISTED = 8;

/** What it needs of the view around it. */
export interface Lessons {
  /** Calls one after another. */
  call<K extends keyof LessonCalls>(call: K, ...args: Parameters<LessonCalls[K]>): Promise<ReturnType<LessonCalls[K]>>;
  /** Where exercises run, once that is known. */
  readonly place: Place | null;
  /** Why the last worker was replaced. */
  readonly lost: string;
  text(name: string): string;
  right(name: string): boolean;
}

export class OwnView {
  readonly element = make("section", { class: "panel own", "aria-labelledby": "own-title" });
  private readonly told = make("p", { id: "own-needs", class: "hint" });
  private readonly train = make("button", { type: "button", id: "own-train", class: "primary", disabled: "" });
  private readonly stop = make("button", { type: "button", id: "own-stop", hidden: "" }, "Stop");
  private readonly state = make("p", { id: "own-state", class: "told", role: "status" });
  private readonly chart = make("div", {
    class: "chart pair",
    role: "img",
    hidden: "",
    "aria-label": "Two loss curves: blue is the reference's, orange and dashed is yours.",
  });
  private readonly log = make("pre", { id: "own-log", tabindex: "0", role: "log", "aria-label": "Log of your training", hidden: "" });
  private pair: Pair | null = null;
  private training = false;
  private stopping = false;
  private needed: readonly Lesson[] = [];

  constructor(private readonly lessons: Lessons) {
    this.element.append(
      make("h2", { id: "own-title" }, "Train with your gradients"),
      this.told,
      make("div", { class: "row" }, this.train, this.stop),
      this.state,
      this.chart,
      this.log,
    );
    this.train.addEventListener("click", () => void this.run());
    this.stop.addEventListener("click", () => {
      this.stopping = true;
      this.phase();
    });
  }

  /** The exercises that it needs. */
  know(lessons: readonly Lesson[]): void {
    this.needed = lessons.filter(({ trains }) => trains);
    this.phase();
  }

  phase(): void {
    const { needed, training } = this;
    const missing = needed.filter(({ name }) => !this.lessons.right(name));
    const names = missing.slice(0, LISTED).map(({ name }) => name);
    if (missing.length > LISTED) names.push(`and ${missing.length - LISTED} more`);
    const { place } = this.lessons;
    const steps = place?.device == null ? FEW : STEPS;
    const few = place !== null && place.device == null ? ` The interpreter is slow, so it does the first ${FEW} steps only.` : "";
    say(
      this.told,
      missing.length === 0
        ? `This is exercise 4 of the lecture: your ${needed.length} functions are the backward pass, and each uses the gradients that the ones before it computed.${few}`
        : `This is exercise 4 of the lecture: your ${needed.length} functions are the backward pass. Not right yet: ${names.join(", ")}.`,
    );
    say(this.train, `Train ${whole(steps)} steps`);
    this.train.disabled = missing.length > 0 || needed.length === 0 || place === null;
    this.stop.disabled = this.stopping;
    takeTurns(this.train, this.stop, training);
  }

  private async run(): Promise<void> {
    if (this.training) return;
    this.training = true;
    this.stopping = false;
    this.chart.hidden = true;
    this.log.hidden = true;
    this.log.replaceChildren();
    say(this.state, "Compiling your functions …");
    this.state.classList.remove("wrong");
    this.phase();
    try {
      const texts = Object.fromEntries(this.needed.map(({ name }) => [name, this.lessons.text(name)]));
      await this.lessons.call("train", texts, this.lessons.place?.device == null ? FEW : STEPS);
      let progress: OwnProgress | null = null;
      while (!this.stopping && !progress?.finished) {
        progress = await this.lessons.call("advance");
        this.draw(progress);
      }
      if (progress !== null && !progress.finished) say(this.state, `${this.state.textContent ?? ""} Stopped.`);
      await this.lessons.call("stop");
    } catch (error) {
      const text = error instanceof Replaced ? this.lessons.lost : words(error);
      say(this.state, text);
      this.state.classList.add("wrong");
    } finally {
      this.training = false;
      this.phase();
    }
  }

  private draw({ step, steps, lines, bucket, mine, reference, apart, ended, finished }: OwnProgress): void {
    this.chart.hidden = false;
    this.pair ??= new Pair(this.chart, ["reference", "yours"]);
    this.pair.draw({ steps, bucket, broken: mine, right: reference });
    if (lines.length > 0) {
      this.log.hidden = false;
      this.log.append(lines.map((line) => `${line}\n`).join(""));
      this.log.scrollTop = this.log.scrollHeight;
    }
    const end = ended != null ? ` It stopped early: ${ended}` : finished ? " Finished." : "";
    say(
      this.state,
      `Step ${whole(step)} of ${whole(steps)}.${end} The losses differ by at most ${apart.toExponential(1)}. log10 of the loss${bucket === 1 ? "" : `, each point the mean of ${whole(bucket)} steps`}.`,
    );
    this.state.classList.toggle("wrong", ended != null);
  }
}
