// The view "Exercises": a gradient is written as a function, and held against the reference.

import { words } from "../app.js";
import type { App } from "../app.js";
import { completion } from "../completion.js";
import { arrows, box, make, micro, real, save, say } from "../dom.js";
import { Editor } from "../editor.js";
import { Engine, Fatal, Hung, Replaced } from "../engine.js";
import { end } from "../heatmap.js";
import { Learner } from "../learner.js";
import type { State } from "../learner.js";
import { Lenses } from "../lens.js";
import type { Checked, Compared, Help, Lesson, LessonCalls, Place } from "../protocol.js";
import { recoloured } from "../theme.js";
import { OwnView } from "./own.js";

type Limit = readonly [milliseconds: number, why: string];
type Limits = Readonly<Partial<Record<keyof LessonCalls, Limit>>>;
/** What a call has which runs a learner's text, or asks for a GPU on which one may hang; and what is told where it takes longer. */
const LIMITS: Limits & { readonly open: Limit } = {
  open: [20_000, "WebGPU gave no answer for 20 seconds."],
  check: [10_000, "The check took longer than 10 seconds and was ended."],
  // The first step compiles all functions.
  advance: [
    30_000,
    "No step was done for 30 seconds, so the training was ended: a loop in one of your functions may never end. To learn which, train again with ?backend=cpu in the address: there the interpreter runs them, and names it.",
  ],
};
/** Bytes of a file that is opened. */
const MOST = 1_000_000;
/** File names that are listed before it is "and so many more". */
const LISTED = 5;

const DOTS: Readonly<Record<State, string>> = { "not begun": "·", begun: "○", wrong: "×", right: "●" };
const NOTHING = "Ctrl-Enter or ⌘-Enter checks your function. Here its values are drawn beside the reference's.";
const STALE = "The text has changed since this check.";

/** A check and the text that it was of. */
interface Result {
  readonly text: string;
  readonly checked: Pick<Checked, "lines"> & Partial<Checked>;
}

export class ExercisesView {
  place: Place | null = null;

  private lessons: Lesson[] = [];
  private loading = false;
  private lesson: Lesson | null = null;
  private learner: Learner | null = null;
  private readonly results = new Map<string, Result>();
  private readonly helps = new Map<string, Help>();
  /** Hints that are shown of each exercise; the solution counts as one more. */
  private readonly shownHints = new Map<string, number>();
  /** Whether the solution is asked for once. */
  private sure = false;

  private engine: Engine<LessonCalls> | null = null;
  private placing: Promise<Place> | null = null;
  /** Whether WebGPU gave no answer: then the interpreter checks alone. */
  private silent = false;
  /** Why the last worker was replaced. */
  lost = "";
  private tail: Promise<unknown> = Promise.resolve();
  private checking = false;
  /** What an import has replaced. */
  private before: Map<string, string> | null = null;
  private lenses: Lenses | null = null;

  private readonly done = make("p", { id: "lessons-done", role: "status" });
  private readonly bar = make("progress", { max: "1", value: "0", "aria-label": "Exercises done" });
  private readonly list = make("div", { id: "lessons", class: "choosing" });
  private readonly title = make("h2", { id: "lesson-title", tabindex: "-1" });
  private readonly host = make("div", { id: "lesson-editor" });
  private readonly checkIt = make("button", { type: "button", id: "lesson-check", class: "primary" }, "Check");
  private readonly reset = make("button", { type: "button", id: "lesson-reset" }, "Restore the original");
  private readonly next = make("button", { type: "button", id: "lesson-next", hidden: "" }, "Next exercise");
  private readonly swap = make("button", { type: "button", id: "lesson-swap", class: "quiet", hidden: "" }, "Bring back the other text");
  private readonly told = make("p", { id: "lesson-told", class: "told", role: "status" });
  private readonly known = make("p", { id: "lesson-mistake", role: "status" });
  private readonly verdict = make("pre", { id: "verdict", role: "status" });
  private readonly maps = make("div", { id: "lesson-maps" });
  private readonly hints = make("div", { id: "hints", "aria-live": "polite" });
  private readonly hint = make("button", { type: "button", id: "hint" });
  private readonly where = make("p", { id: "lessons-place", class: "hint" });
  private readonly undo = make("button", { type: "button", id: "lessons-undo", hidden: "" }, "Undo import");
  private readonly imported = make("p", { id: "lessons-imported", class: "hint", role: "status" });
  private readonly kept = make("p", { id: "lessons-kept", class: "told error", role: "status" });
  private readonly own = new OwnView(this);
  private readonly editor = new Editor(this.host, () => this.edited(), () => void this.check());

  constructor(private readonly app: App) {
    const file = make("input", { type: "file", id: "lessons-file", accept: ".wgsl,.zip", multiple: "", hidden: "" });
    const open = make("button", { type: "button", id: "lessons-import" }, "Import");
    const give = make("button", { type: "button", id: "lessons-export" }, "Export");
    box("view-exercises").replaceChildren(
      make("p", {}, "Write the backward pass yourself, in WGSL: each exercise asks for one gradient or one kernel, and the gradients that it builds on are given."),
      this.where,
      this.kept,
      make(
        "div",
        { class: "exercising" },
        make(
          "div",
          { class: "column" },
          make(
            "section",
            { class: "panel", "aria-labelledby": "lessons-title" },
            make("h2", { id: "lessons-title" }, "Exercises"),
            this.done,
            this.bar,
            this.list,
          ),
          make(
            "section",
            { class: "panel moving", "aria-labelledby": "moving-title" },
            make("h2", { id: "moving-title" }, "Your files"),
            make("p", { class: "hint" }, "This browser keeps them. Export saves them as ", make("code", {}, "exercises.zip"), ", with the files that the program's ", make("code", {}, "learn"), " writes; Import reads such a file, or single exercises."),
            make("div", { class: "row" }, give, open, file, this.undo),
            this.imported,
          ),
        ),
        make(
          "div",
          { class: "column" },
          make(
            "section",
            { class: "panel", "aria-labelledby": "lesson-title" },
            this.title,
            this.host,
            make("div", { class: "row" }, this.checkIt, this.next, this.reset, this.swap),
            this.told,
            this.known,
            this.verdict,
          ),
          make("section", { class: "panel helping", "aria-labelledby": "hints-title" }, make("h2", { id: "hints-title" }, "Help"), this.hints, this.hint),
          this.own.element,
        ),
        make("section", { class: "panel valued", "aria-labelledby": "maps-title" }, make("h2", { id: "maps-title" }, "Values"), this.maps),
      ),
    );
    this.checkIt.addEventListener("click", () => void this.check());
    this.reset.addEventListener("click", () => {
      const { lesson, learner } = this;
      if (lesson === null || learner === null) return;
      learner.replace(lesson.name, lesson.text);
      this.editor.put(lesson.text);
      this.draw();
      this.editor.focus();
    });
    this.swap.addEventListener("click", () => {
      const { lesson, learner } = this;
      const other = lesson === null ? undefined : learner?.other(lesson.name);
      if (lesson === null || learner === null || other === undefined) return;
      learner.replace(lesson.name, other);
      this.editor.put(other);
      this.draw();
      this.editor.focus();
    });
    this.next.addEventListener("click", () => {
      const next = this.following;
      if (next === undefined) return;
      this.choose(next);
      this.editor.focus();
    });
    this.hint.addEventListener("click", () => void this.help());
    give.addEventListener("click", () => void this.pack());
    open.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      const files = [...(file.files ?? [])];
      file.value = "";
      void this.take(files);
    });
    this.undo.addEventListener("click", () => this.takeBack());
    arrows(this.list, "button");
    recoloured(() => void this.lenses?.paint());
    this.draw();
  }

  text(name: string): string {
    return this.learner?.text(name) ?? "";
  }

  right(name: string): boolean {
    return this.learner?.state(name) === "right";
  }

  /** Calls one after another, once it is known where exercises run. */
  call<K extends keyof LessonCalls>(call: K, ...args: Parameters<LessonCalls[K]>): Promise<ReturnType<LessonCalls[K]>> {
    const result = this.tail.then(async () => {
      await this.placed();
      const [limit, why] = (LIMITS as Limits)[call] ?? [null, ""];
      return this.guarded((engine) => engine.within(limit, why, call, ...args));
    });
    this.tail = result.catch(() => undefined);
    return result;
  }

  /** The view is opened. */
  shown(): void {
    if (this.learner === null && !this.loading) void this.load();
  }

  private async load(): Promise<void> {
    this.loading = true;
    try {
      this.lessons = await this.guarded((engine) => engine.call("exercises"));
    } catch (error) {
      this.fails(error);
      return;
    } finally {
      this.loading = false;
    }
    const learner = new Learner(
      this.lessons,
      (name) => {
        this.editor.putInto(name, learner.text(name));
        this.draw();
      },
      (text) => say(this.kept, text),
    );
    this.learner = learner;
    this.drawList();
    this.own.know(this.lessons);
    const first = this.lessons.find(({ name }) => !this.right(name)) ?? this.lessons[0];
    if (first !== undefined) this.choose(first, false);
    void this.recheck(learner.doubtful);
    this.placed().then(
      () => this.draw(),
      (error: unknown) => this.fails(error),
    );
  }

  /** Calls the worker, which is made when it is first needed. One that failed is replaced. */
  private async guarded<T>(work: (engine: Engine<LessonCalls>) => Promise<T>): Promise<T> {
    this.engine ??= new Engine<LessonCalls>("lessons", (event) => {
      if (event.event === "failed") this.replace(event.text);
    });
    try {
      return await work(this.engine);
    } catch (error) {
      if (!(error instanceof Fatal)) throw error;
      this.replace(error.message, error instanceof Hung);
      throw new Replaced();
    }
  }

  /** The next call has a new worker. What is written is in the page, so nothing is lost. */
  private replace(why: string, hung = false): void {
    this.lost = `${why.replace(/\.?$/, ".")} The checker was replaced; your texts are all here.`;
    this.engine?.end(hung);
    this.engine = null;
    this.placing = null;
  }

  /** Opens what checks. A backend that cannot be had is told, and the page takes another. */
  private placed(): Promise<Place> {
    this.placing ??= this.guarded((engine) => this.openOn(engine)).catch((error: unknown) => {
      if (!(error instanceof Replaced) || !this.silent) throw error;
      return this.guarded((engine) => this.openOn(engine));
    });
    const { placing } = this;
    void placing.then(
      (place) => {
        this.place = place;
        say(this.where, `Checked by the interpreter${place.device == null ? "" : `, then on ${place.device}`}: ${place.why}.`);
        this.own.phase();
      },
      () => {
        if (this.placing === placing) this.placing = null;
      },
    );
    return placing;
  }

  private async openOn(engine: Engine<LessonCalls>): Promise<Place> {
    if (this.silent) {
      const place = await engine.call("open", "cpu");
      return { ...place, why: "WebGPU gives no answer in this browser; restart the browser to use it again" };
    }
    const { asked } = this.app;
    const [limit, late] = LIMITS.open;
    try {
      return await engine.within(limit, late, "open", asked);
    } catch (error) {
      if (error instanceof Hung) this.silent = true;
      if (asked === "auto" || error instanceof Fatal || error instanceof Replaced) throw error;
      const { why, ...place } = await engine.call("open", "auto");
      return { ...place, why: `${words(error)}; ${why}` };
    }
  }

  // The list.

  private drawList(): void {
    const parts = new Map<string, Lesson[]>();
    for (const lesson of this.lessons) parts.set(lesson.part, [...(parts.get(lesson.part) ?? []), lesson]);
    this.list.replaceChildren(
      ...[...parts].flatMap(([part, lessons], i) => [
        make("h3", { id: `part-${i}` }, part),
        make("div", { role: "group", "aria-labelledby": `part-${i}` }, ...lessons.map((lesson) => this.item(lesson))),
      ]),
    );
    this.drawStates();
  }

  private item(lesson: Lesson): HTMLElement {
    const made = make(
      "button",
      { type: "button", "data-lesson": lesson.name },
      make("span", { class: "dot", "aria-hidden": "true" }),
      make("span", { class: "number" }, String(lesson.number)),
      ` ${lesson.name}`,
      make("span", { class: "away" }),
    );
    made.addEventListener("click", () => this.choose(lesson));
    return made;
  }

  private drawStates(): void {
    const { learner, lessons } = this;
    if (learner === null) return;
    for (const made of this.list.querySelectorAll<HTMLElement>("[data-lesson]")) {
      const name = made.dataset["lesson"] ?? "";
      const state = learner.state(name);
      made.dataset["state"] = state;
      made.setAttribute("aria-current", String(name === this.lesson?.name));
      const [dot, , told] = made.children;
      if (dot) say(dot, DOTS[state]);
      if (told) say(told, `, ${state}`);
    }
    const right = lessons.filter(({ name }) => this.right(name)).length;
    say(this.done, right === lessons.length ? `All ${right} are done` : `${right} of ${lessons.length} done`);
    this.bar.value = lessons.length === 0 ? 0 : right / lessons.length;
  }

  /** The next exercise that is not right yet. */
  private get following(): Lesson | undefined {
    const at = this.lesson === null ? 0 : this.lessons.indexOf(this.lesson) + 1;
    return [...this.lessons.slice(at), ...this.lessons.slice(0, at)].find((lesson) => !this.right(lesson.name));
  }

  private choose(lesson: Lesson, follow = true): void {
    if (lesson !== this.lesson) {
      this.lesson = lesson;
      this.sure = false;
      say(this.title, `${lesson.number} · ${lesson.name}`);
      this.say("");
      this.editor.open(lesson.name, lesson.text, this.text(lesson.name), completion(lesson));
      this.drawResult();
      this.drawHints();
      this.draw();
      this.list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    }
    // On a narrow screen it lies below the list.
    if (follow && (this.title.getBoundingClientRect().top > innerHeight * 0.6 || this.title.getBoundingClientRect().top < 0)) {
      this.title.scrollIntoView({ block: "start" });
      this.title.focus({ preventScroll: true });
    }
  }

  // Writing and checking.

  private edited(): void {
    const { lesson, learner, editor } = this;
    if (lesson === null || learner === null) return;
    learner.write(lesson.name, editor.text);
    this.draw();
  }

  /** What changes with every key. */
  private draw(): void {
    const { lesson, learner } = this;
    this.checkIt.disabled = lesson === null || this.checking;
    this.hint.disabled = lesson === null;
    this.reset.disabled = true;
    this.swap.hidden = true;
    this.next.hidden = true;
    if (lesson === null || learner === null) return;
    const state = learner.state(lesson.name);
    this.reset.disabled = state === "not begun";
    this.swap.hidden = learner.other(lesson.name) === undefined;
    this.next.hidden = state !== "right" || this.following === undefined;
    const result = this.results.get(lesson.name);
    const stale = result !== undefined && result.text !== learner.text(lesson.name);
    this.verdict.classList.toggle("stale", stale);
    if (!this.checking) this.say(stale ? STALE : "");
    this.drawStates();
    this.own.phase();
  }

  private fails(error: unknown): void {
    this.say(error instanceof Replaced ? this.lost : words(error), true);
  }

  private say(text: string, error = false): void {
    say(this.told, text);
    this.told.classList.toggle("error", error);
  }

  private async check(): Promise<void> {
    const { lesson, learner } = this;
    if (lesson === null || learner === null || this.checking) return;
    this.checking = true;
    this.draw();
    this.say(this.place === null ? "Opening the checker …" : "Checking …");
    const { text, checked } = await this.judge(lesson, learner.text(lesson.name));
    this.checking = false;
    // Another exercise may be shown by now.
    if (this.lesson === lesson) {
      const { line, column, message } = checked;
      if (text === this.editor.text) {
        this.editor.mark(line == null ? [] : [{ line, column: column ?? 1, message: message ?? "" }]);
      }
      this.drawResult();
    }
    this.draw();
  }

  /** Checks a text and remembers what was said. */
  private async judge(lesson: Lesson, text: string): Promise<Result> {
    const { name } = lesson;
    let checked: Result["checked"];
    try {
      checked = await this.call("check", name, text);
      if (checked.verdict !== "untouched") this.learner?.judge(name, text, checked.verdict === "right" ? "right" : "wrong");
    } catch (error) {
      // What the check itself could not do says nothing of the text.
      checked = { lines: [error instanceof Replaced ? this.lost : words(error)] };
    }
    const result = { text, checked };
    this.results.set(name, result);
    return result;
  }

  /** Checks texts that nobody has asked to check. */
  private async recheck(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const lesson = this.lessons.find((lesson) => lesson.name === name);
      if (lesson === undefined || this.learner?.state(name) !== "begun") continue;
      await this.judge(lesson, this.text(name));
      if (this.lesson === lesson) this.drawResult();
      this.draw();
    }
  }

  private drawResult(): void {
    const { lesson } = this;
    const checked = lesson === null ? undefined : this.results.get(lesson.name)?.checked;
    say(this.verdict, checked?.lines.join("\n") ?? "");
    this.verdict.dataset["verdict"] = checked?.verdict ?? "";
    say(this.known, checked?.mistake == null ? "" : `A known mistake: ${checked.mistake}`);
    this.lenses = null;
    const { values, by, micros, plain } = checked ?? {};
    const told: HTMLElement[] = [];
    if (micros != null) {
      const beside = plain == null ? "" : ` The plain kernel (${plain.name}) takes ${micro(plain.micros)}.`;
      told.push(make("p", { id: "lesson-times" }, `A launch takes ${micro(micros)}.${beside}`));
    }
    if (by !== undefined && by.length > 0) told.push(make("p", { class: "hint" }, `Computed by ${by.join("; ")}.`));
    if (values == null) {
      const why = checked === undefined ? NOTHING : "This check gave no values to draw.";
      this.maps.replaceChildren(make("p", { class: "hint" }, why), ...told);
      return;
    }
    this.lenses = lensesOf(values);
    this.maps.replaceChildren(this.lenses.element, this.lenses.readout, ...told);
    this.lenses.point(0);
    void this.lenses.paint();
  }

  // Hints and the solution.

  private drawHints(): void {
    const { lesson } = this;
    if (lesson === null) return;
    const shown = this.shownHints.get(lesson.name) ?? 0;
    const { hints = [], solution, question } = this.helps.get(lesson.name) ?? {};
    // The derivation is set in columns, as the program prints it; the rest is prose.
    const text = (title: string, text: string) => [
      make("h3", {}, title),
      make(/[^\n]\n[^\n]/.test(text) ? "pre" : "p", { class: "hinted" }, text),
    ];
    const parts: HTMLElement[] = hints.slice(0, shown).flatMap((hint, i) => text(`Hint ${i + 1}`, hint));
    this.hint.hidden = shown > lesson.hints;
    if (shown > lesson.hints && solution !== undefined) {
      parts.push(make("h3", {}, "Solution"), make("pre", { id: "solution", tabindex: "0" }, solution));
      if (question != null) parts.push(...text("Answer to the question", question));
    } else if (this.sure) {
      parts.push(make("p", {}, "One more look at the hints may be all it takes, and what you find yourself stays with you. Show it all the same? Your own text is not touched."));
    }
    this.hints.replaceChildren(...parts);
    say(this.hint, shown < lesson.hints ? `Hint ${shown + 1} of ${lesson.hints}` : this.sure ? "Yes, show the solution" : "Show the solution");
  }

  private async help(): Promise<void> {
    const { lesson } = this;
    if (lesson === null) return;
    const { name, hints } = lesson;
    try {
      if (!this.helps.has(name)) this.helps.set(name, await this.guarded((engine) => engine.call("help", name)));
    } catch (error) {
      this.fails(error);
      return;
    }
    if (lesson !== this.lesson) return;
    const shown = this.shownHints.get(name) ?? 0;
    // The solution is asked for twice.
    if (shown === hints && !this.sure) this.sure = true;
    else {
      this.sure = false;
      this.shownHints.set(name, shown + 1);
    }
    this.drawHints();
  }

  // Files.

  private async pack(): Promise<void> {
    try {
      const { pack } = await import("../archive.js");
      save("exercises.zip", pack(Object.fromEntries(this.lessons.map(({ file, name }) => [file, this.text(name)]))));
    } catch (error) {
      say(this.imported, `The files could not be packed: ${words(error)}`);
    }
  }

  /** Takes files that were chosen or dropped. */
  async take(files: readonly File[]): Promise<void> {
    const { learner } = this;
    if (learner === null || files.length === 0) return;
    const texts = new Map<Lesson, string>();
    const unknown: string[] = [];
    const told: string[] = [];
    const large = (name: string) => void told.push(`${name} is larger than 1 MB and is not read.`);
    const add = (name: string, bytes: Uint8Array) => {
      const lesson = this.lessons.find(({ file }) => file === name.slice(name.lastIndexOf("/") + 1));
      if (lesson === undefined) {
        unknown.push(name);
      } else if (texts.has(lesson)) {
        told.push(`${name} is there twice, and the first one is taken.`);
      } else {
        try {
          const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
          texts.set(lesson, text.replace(/\r\n?/g, "\n"));
        } catch {
          told.push(`${name} is not UTF-8 and is not read.`);
        }
      }
    };
    for (const file of files) {
      if (file.size > MOST) {
        large(file.name);
        continue;
      }
      try {
        const bytes = new Uint8Array(await file.arrayBuffer());
        if (/\.zip$/i.test(file.name)) {
          const { unpack } = await import("../archive.js");
          unpack(bytes, MOST, large).forEach((bytes, name) => add(name, bytes));
        } else add(file.name, bytes);
      } catch (error) {
        told.push(`${file.name} cannot be read: ${words(error)}.`);
      }
    }
    if (unknown.length > 0) {
      const names = unknown.slice(0, LISTED).join(", ") + (unknown.length > LISTED ? ` and ${unknown.length - LISTED} more` : "");
      told.push(`No exercise has the name: ${names}.`);
    }
    this.put(learner, texts, told);
  }

  private put(learner: Learner, texts: ReadonlyMap<Lesson, string>, told: readonly string[]): void {
    const before = new Map<string, string>();
    let [replaced, same] = [0, 0];
    for (const [{ name, text: original }, text] of texts) {
      const now = learner.text(name);
      // A file that nobody has written in takes no work away.
      if (text === now || text === original) {
        same++;
        continue;
      }
      if (now !== original) replaced++;
      before.set(name, now);
      learner.replace(name, text);
      this.editor.putInto(name, text);
    }
    const count = (number: number, text: string) => `${number} ${number === 1 ? "exercise" : "exercises"} ${text}`;
    const parts = [
      texts.size === 0 ? "Nothing was imported." : `${count(before.size, "imported")}${replaced === 0 ? "" : `, ${replaced} of them over a text of yours`}.`,
      same === 0 ? "" : `${same} had nothing new.`,
      ...told,
    ];
    say(this.imported, parts.filter((part) => part !== "").join(" "));
    if (before.size > 0) this.before = before;
    this.undo.hidden = this.before === null;
    learner.save();
    this.draw();
    void this.recheck([...texts.keys()].map(({ name }) => name));
  }

  /** As it was before the import. */
  private takeBack(): void {
    const { before, learner } = this;
    if (before === null || learner === null) return;
    for (const [name, text] of before) {
      learner.replace(name, text);
      this.editor.putInto(name, text);
    }
    this.before = null;
    this.undo.hidden = true;
    say(this.imported, "The import is undone.");
    learner.save();
    this.draw();
    box("lessons-import").focus();
  }
}

/** The learner's values, the reference's on the same scale, and what is between them. */
function lensesOf({ name, axes, shape, mine, reference, difference }: Compared): Lenses {
  const scale = Math.max(end(mine), end(reference));
  const data = [mine, reference, difference];
  return new Lenses(
    name,
    shape,
    [
      { title: "yours", kind: "signed", data: mine, scale },
      { title: "reference", kind: "signed", data: reference, scale },
      { title: "yours − reference", kind: "difference", data: difference },
    ],
    (cell, index) => {
      const [yours = "", wanted = "", apart = ""] = data.map((data) => real(data[cell] ?? NaN));
      const place = index.map((at, i) => `${axes[i] ?? ""} ${at}`.trim()).join(", ");
      return `${name}(${place})\nyours       ${yours}\nreference   ${wanted}\ndifference  ${apart}`;
    },
  );
}
