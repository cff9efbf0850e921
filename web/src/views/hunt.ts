// A mistake is made in a kernel, and the visitor finds the line.

import { words } from "../app.js";
import type { App } from "../app.js";
import { diff } from "../diff.js";
import { breathe, make, say } from "../dom.js";
import type { Editor } from "../editor.js";
import { Fatal, Replaced } from "../engine.js";
import { options } from "../files.js";
import type { SourceFile } from "../protocol.js";

export class HuntView {
  /** The mistake that is to be found; 0 if none is drawn. */
  number = 0;
  readonly element = make("section", { class: "panel", "aria-labelledby": "hunt-title", hidden: "" });

  private files: readonly SourceFile[] = [];
  private file = "";
  private editor: Editor | null = null;
  private found = false;
  private guessing = false;
  /** Whether another mistake can be made. */
  private ready = false;

  private readonly which = make("select", { id: "hunt-file" });
  private readonly place = make("div", { id: "hunt-place" }, "Loading the files …");
  private readonly guess = make("button", { type: "button", id: "hunt-guess", class: "primary" });
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
      make("p", { class: "hint" }, "Put the cursor into the line, by pointer or arrow keys. Tab leaves the text."),
      make("div", { class: "row" }, make("label", { for: "hunt-file" }, "file"), this.which),
      this.place,
      make("div", { class: "row" }, this.guess, this.another),
      this.told,
      this.mistake,
    );
    this.which.addEventListener("change", () => this.open(this.which.value));
    this.guess.addEventListener("click", () => void this.judge());
    this.another.addEventListener("click", again);
  }

  /** Draws a mistake at random, another one than before. */
  async draw(files: readonly SourceFile[]): Promise<void> {
    const before = this.number;
    this.number = 0;
    this.found = false;
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

  phase(ready: boolean): void {
    this.ready = ready;
    this.another.disabled = !ready;
    this.guess.disabled = this.number === 0 || this.editor === null || this.guessing || this.found;
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
    const { number, file, editor } = this;
    if (this.guess.disabled || editor === null) return;
    this.guessing = true;
    this.phase(this.ready);
    try {
      const { found, told, mistake } = await this.app.engine.call("huntGuess", number, file, editor.line);
      if (number !== this.number) return;
      this.found = found;
      this.say(told, !found);
      if (mistake != null) this.mistake.replaceChildren(diff(mistake.from, mistake.to));
      if (found) this.another.focus();
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
