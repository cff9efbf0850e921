// A mistake is made in a kernel, and the visitor finds the line.

import { words } from "../app.js";
import type { App } from "../app.js";
import { diff } from "../diff.js";
import { breathe, make, say } from "../dom.js";
import type { Editor } from "../editor.js";
import { Fatal, Replaced } from "../engine.js";
import { options } from "../files.js";
import type { Judged, SourceFile } from "../protocol.js";

export class HuntView {
  /** The mistake that is to be found; 0 if none is drawn. */
  number = 0;
  readonly element = make("section", { class: "panel", "aria-labelledby": "hunt-title", hidden: "" });

  private files: readonly SourceFile[] = [];
  private file = "";
  private editor: Editor | null = null;
  /** Whether its line is found or told. */
  private over = false;
  /** What the table shows of it. */
  private shows = "";
  private guessing = false;
  /** Whether another mistake can be made. */
  private ready = false;

  private readonly which = make("select", { id: "hunt-file" });
  private readonly place = make("div", { id: "hunt-place" }, "Loading the files …");
  private readonly guess = make("button", { type: "button", id: "hunt-guess", class: "primary" });
  private readonly giveUp = make("button", { type: "button", id: "hunt-give-up" }, "Give up");
  private readonly another = make("button", { type: "button", id: "hunt-another" }, "Another one");
  private readonly told = make("p", { id: "hunt-told", class: "told", role: "status" });
  private readonly mistake = make("div");

  /** `again` asks for another mistake. */
  constructor(
    private readonly app: App,
    again: () => void,
  ) {
    this.element.append(
      make("h2", { id: "hunt-title" }, "Which line is it?"),
      make("p", { class: "hint" }, "The files below are as they should be. Put the cursor into the line that was changed, by pointer or arrow keys. Tab leaves the text."),
      make("div", { class: "row" }, make("label", { for: "hunt-file" }, "file"), this.which),
      this.place,
      make("div", { class: "row" }, this.guess, this.giveUp, this.another),
      this.told,
      this.mistake,
    );
    this.which.addEventListener("change", () => this.open(this.which.value));
    this.guess.addEventListener("click", () => void this.judge());
    this.giveUp.addEventListener("click", () => void this.tell());
    this.another.addEventListener("click", again);
  }

  /** Draws a mistake at random, another one than before. */
  async draw(files: readonly SourceFile[]): Promise<void> {
    const before = this.number;
    this.number = 0;
    this.over = false;
    this.shows = "";
    this.say("");
    this.mistake.replaceChildren();
    // What is planted is in a kernel that trains.
    this.files = files.filter(({ trains }) => trains);
    const count = await this.app.engine.call("hunts");
    do this.number = 1 + Math.floor(Math.random() * count);
    while (this.number === before && count > 1);
    this.phase(this.ready);
    void this.load();
  }

  /** The table is there. */
  seen(text: string): void {
    this.shows = text;
  }

  phase(ready: boolean): void {
    this.ready = ready;
    this.another.disabled = !ready;
    this.guess.disabled = this.number === 0 || this.editor === null || this.guessing || this.over;
    this.giveUp.disabled = this.guess.disabled;
    say(this.guess, this.editor === null ? "It is this line" : `It is line ${this.editor.line} of ${this.file}`);
  }

  private async load(): Promise<void> {
    if (this.editor === null) {
      try {
        const module = await import("../editor.js");
        await breathe();
        this.editor ??= new module.Editor(this.place, () => undefined, () => void this.judge(), {
          fixed: true,
          moved: () => this.phase(this.ready),
        });
      } catch (error) {
        this.say(`The files cannot be shown: ${words(error)}`, true);
        return;
      }
      await breathe();
      this.place.replaceChildren();
    }
    if (this.which.options.length === 0) this.which.replaceChildren(...options(this.files));
    this.open(this.file || this.which.value);
  }

  private open(name: string): void {
    const file = this.files.find(({ file }) => file === name);
    if (file === undefined || this.editor === null) return;
    this.file = name;
    this.which.value = name;
    this.editor.open(name, file.text);
    this.phase(this.ready);
  }

  private async judge(): Promise<void> {
    const { editor, file } = this;
    if (editor === null) return;
    await this.ask(async (number) => this.app.engine.call("huntGuess", number, file, editor.line));
  }

  /** Gives up: the line, and what is wrong in it. */
  private async tell(): Promise<void> {
    await this.ask(async (number) => this.app.engine.call("huntGiveUp", number));
  }

  /** Asks about the mistake, and shows it where it is known afterwards. */
  private async ask(call: (number: number) => Promise<Judged>): Promise<void> {
    const { number } = this;
    if (this.guess.disabled) return;
    this.guessing = true;
    this.phase(this.ready);
    try {
      const { found, told, mistake, line } = await call(number);
      if (number !== this.number) return;
      if (mistake == null) {
        this.say(told, true);
        return;
      }
      this.over = true;
      this.say(found || this.shows === "" ? told : `${told} ${this.shows}`);
      this.mistake.replaceChildren(diff(mistake.from, mistake.to));
      if (!found && line != null) {
        this.open(mistake.file);
        this.editor?.show(line);
      }
      this.another.focus();
    } catch (error) {
      if (error instanceof Fatal || error instanceof Replaced) this.app.trouble(error);
      else this.say(words(error), true);
    } finally {
      this.guessing = false;
      this.phase(this.ready);
    }
  }

  private say(text: string, wrong = false): void {
    say(this.told, text);
    this.told.classList.toggle("error", wrong);
  }
}
