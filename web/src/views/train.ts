// The view "Train": the set-up, the state, the curve, the log and the names.

import type { Phase } from "../app.js";
import { Chart } from "../chart.js";
import { box, button, byId, make, micro, say, whole } from "../dom.js";
import type { About, Finished, Name, Opened, Progress, Settings, Setup, Words } from "../protocol.js";

/** How the words are read: fields of the recipe that are texts or switches. */
const READING = [
  ["column", "column", "its name, or its number from 1"],
  ["delimiter", "delimiter", "what separates columns: a character, or tab"],
  ["encoding", "encoding", "like windows-1252 or shift_jis"],
] as const;
const SWITCHES = [
  ["lowercase", "lower case"],
  ["clean", "clean: romanised, without brackets"],
  ["as_text", "each line is a word"],
  ["no_header", "no heading line"],
  ["skip_bad_lines", "leave out bad lines"],
] as const;

/** Fields that a link may set beside the settings. */
export const OTHERS: readonly string[] = ["data", ...READING.map(([name]) => name), ...SWITCHES.map(([name]) => name)];

const PASTED = "pasted text";

export class TrainView {
  private readonly chart: Chart;
  private readonly data = byId("field-data", HTMLSelectElement);
  private readonly backend = byId("field-backend", HTMLSelectElement);
  private readonly layout = byId("field-tune", HTMLSelectElement);
  private readonly pasted = byId("pasted", HTMLTextAreaElement);
  private readonly log = box("log");
  private readonly inputs = new Map<string, HTMLInputElement>();
  private readonly switches = new Map<string, HTMLInputElement>();
  private settings: Settings = [];
  /** Settings that the visitor chose; the others follow from them. */
  private readonly chosen = new Set<string>();
  private file: Words | undefined;
  private about: About | null = null;
  private step = 0;
  private speed = 0;
  private diverged = -1;
  private shown = 0;

  /** `changed` is called when the set-up is another one. */
  constructor(private readonly changed: (typing: boolean) => void) {
    this.chart = new Chart(box("chart"));
    this.data.addEventListener("change", () => {
      this.choices();
      if (this.data.value === "file" && this.file === undefined) byId("chosen", HTMLInputElement).focus();
      this.changed(false);
    });
    this.backend.addEventListener("change", () => {
      this.choices();
      this.changed(false);
    });
    this.layout.addEventListener("change", () => this.changed(false));
    this.pasted.addEventListener("input", () => this.changed(true));
    byId("chosen", HTMLInputElement).addEventListener("change", (event) => {
      const [file] = (event.target as HTMLInputElement).files ?? [];
      if (file) void this.take(file);
    });
    byId("setup", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
  }

  /** Makes the fields. */
  form(settings: Settings): void {
    this.settings = settings;
    const numbers = box("numbers");
    numbers.replaceChildren();
    for (const { name, about, default: value, whole: integer, min, max } of settings) {
      const id = `field-${name}`;
      const hint = `${about}; ${range(min, max)}`;
      const input = make("input", {
        id,
        name,
        type: "text",
        inputmode: integer ? "numeric" : "decimal",
        autocomplete: "off",
        spellcheck: "false",
        title: hint,
        "aria-description": hint,
      });
      input.value = value;
      input.addEventListener("input", () => {
        if (input.value.trim() === "") this.chosen.delete(name);
        else this.chosen.add(name);
        this.mark();
        this.changed(true);
      });
      input.addEventListener("keydown", (event) => this.nudge(event, input, integer));
      this.inputs.set(name, input);
      numbers.append(make("label", { for: id, title: hint }, name), input);
    }
    const reading = box("reading");
    reading.replaceChildren();
    for (const [name, label, hint] of READING) {
      const id = `field-${name}`;
      const input = make("input", { id, type: "text", autocomplete: "off", title: hint, "aria-description": hint });
      input.addEventListener("input", () => this.changed(true));
      this.inputs.set(name, input);
      reading.append(make("label", { for: id, title: hint }, label), input);
    }
    for (const [name, label] of SWITCHES) {
      const input = make("input", { id: `field-${name}`, type: "checkbox" });
      input.addEventListener("change", () => this.changed(false));
      this.switches.set(name, input);
      reading.append(make("label", { class: "switch" }, input, ` ${label}`));
    }
    this.choices();
  }

  /** Sets fields, from a link or a run that is continued. */
  fill(fields: Readonly<Record<string, string>>, backend: string | undefined, file: Words | undefined, tune?: string): void {
    this.chosen.clear();
    this.file = file;
    for (const { name, default: value } of this.settings) {
      const text = fields[name];
      const input = this.inputs.get(name);
      if (input) input.value = text ?? value;
      if (text !== undefined && text !== value) this.chosen.add(name);
    }
    for (const [name] of READING) {
      const input = this.inputs.get(name);
      const text = fields[name];
      if (input) input.value = text === undefined || text === "not given" ? "" : text;
    }
    for (const [name, input] of this.switches) input.checked = fields[name] === "true";
    if (file !== undefined) this.data.value = file.name === PASTED ? "paste" : "file";
    else if (["names", "municipalities"].includes(fields["data"] ?? "names")) this.data.value = fields["data"] ?? "names";
    if (file?.name === PASTED) this.pasted.value = new TextDecoder().decode(file.bytes);
    if (backend !== undefined) this.backend.value = backend;
    if (tune !== undefined) this.layout.value = tune;
    this.choices();
    this.mark();
  }

  /** The set-up as the form has it. */
  setup(): Setup {
    const fields: Record<string, string> = {};
    for (const name of this.chosen) {
      const text = this.inputs.get(name)?.value.trim();
      if (text) fields[name] = text;
    }
    for (const [name] of READING) {
      const text = this.inputs.get(name)?.value;
      if (text) fields[name] = text;
    }
    for (const [name, input] of this.switches) if (input.checked) fields[name] = "true";
    const setup: Setup = { fields, backend: this.backend.value, tune: this.tune };
    const file = this.words();
    if (file !== undefined) setup.file = file;
    else fields["data"] = this.data.value;
    return setup;
  }

  /** Whether words are chosen. */
  get complete(): boolean {
    const { value } = this.data;
    return value === "paste" ? this.pasted.value.trim() !== "" : value !== "file" || this.file !== undefined;
  }

  /** Words that do not come from the program. */
  words(): Words | undefined {
    if (this.data.value === "file") return this.file;
    if (this.data.value === "paste") return { name: PASTED, bytes: new TextEncoder().encode(this.pasted.value) };
    return undefined;
  }

  get asked(): string {
    return this.backend.value;
  }

  /** How the layout of a step is found: the program's `--tune`. */
  get tune(): string {
    return this.layout.value;
  }

  /** Takes a file of words that was chosen or dropped. */
  async take(file: File): Promise<void> {
    this.file = { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) };
    this.data.value = "file";
    this.choices();
    this.changed(false);
  }

  /** A session is open. */
  opened({ about, log, validation }: Opened): void {
    this.about = about;
    this.step = about.step;
    this.speed = 0;
    this.diverged = -1;
    say(this.log, "");
    this.write(log);
    this.chart.begin(about.steps, about.curve, validation, this.isLectures(about));
    this.axis();
    this.choices();
    say(box("backend"), about.backend);
    say(box("device"), about.device);
    say(box("why"), about.why || "–");
    say(box("top-device"), about.device);
    say(box("saved"), "");
    // What was not chosen follows from what was: the engine says it.
    for (const { name } of this.settings) {
      const input = this.inputs.get(name);
      const text = about.fields[name];
      if (input && text !== undefined && !this.chosen.has(name) && input !== document.activeElement) input.value = text;
    }
    this.numbers();
  }

  /** Whether the set-up is the lecture's: the program's names, and no setting that differs. */
  private isLectures({ fields }: About): boolean {
    const lecture = new Map(this.settings.map(({ name, default: value }) => [name, value]));
    lecture.set("data", "names");
    return this.words() === undefined && Object.entries(fields).every(([name, text]) => text === lecture.get(name));
  }

  progress({ step, loss, count, seconds, lines, validation, curve }: Progress): void {
    this.step = step;
    if (seconds > 0) {
      const speed = count / seconds;
      this.speed = this.speed === 0 || count === 1 ? speed : 0.8 * this.speed + 0.2 * speed;
    }
    if (!Number.isFinite(loss) && this.diverged < 0) this.diverged = step;
    this.write(lines);
    this.chart.add(curve, validation);
    if (curve) this.axis();
    const time = performance.now();
    // Numbers that change ten times a second cannot be read.
    if (time - this.shown > 400 || count === 1) this.numbers();
  }

  finished({ lines, names }: Finished): void {
    this.write(lines);
    this.names(this.step, names);
    this.numbers();
  }

  names(step: number, names: readonly Name[]): void {
    say(box("names-step"), step === 0 ? "Before training, at step 0." : `At step ${whole(step)}.`);
    box("names").replaceChildren(
      ...names.map(({ text, known }) =>
        make("li", {}, make("span", { class: "word" }, text), ...(known ? [" ", make("small", {}, "(in the data)")] : [])),
      ),
    );
  }

  /** Shows what can be done, and says how things stand. */
  phase(phase: Phase, detail: string): void {
    const training = phase === "training";
    const focused = document.activeElement;
    const [train, pause] = [button("train"), button("pause")];
    train.hidden = training;
    pause.hidden = !training;
    const open = this.about !== null;
    train.disabled = phase === "loading" || phase === "compiling" || phase === "finished";
    button("step").disabled = train.disabled;
    button("reset").disabled = phase === "loading" || phase === "compiling" || (this.step === 0 && !training && phase !== "failed");
    // The focus follows the button that takes the other's place.
    if (focused === train && training) pause.focus();
    if (focused === pause && !training) (train.disabled ? button("reset") : train).focus();
    for (const id of ["save-run", "save-model"]) button(id).disabled = !open || phase === "compiling";
    button("open-run").disabled = phase === "loading" || phase === "compiling";
    const locked = training || (open && this.step > 0 && phase !== "failed");
    byId("fields", HTMLFieldSetElement).disabled = locked || phase === "loading";
    box("locked").hidden = !locked;
    say(train, phase === "paused" ? "Continue" : "Train");
    say(box("sentence"), this.sentence(phase, detail));
    this.numbers();
  }

  /** No session is open. */
  closed(): void {
    this.about = null;
    this.step = 0;
  }

  private sentence(phase: Phase, detail: string): string {
    if (detail !== "") return detail;
    const at = whole(this.step);
    switch (phase) {
      case "loading":
        return "Loading the engine.";
      case "compiling":
        return this.backend.value === "cpu"
          ? "Reading the words and drawing the initial values."
          : "Compiling the kernels: the browser translates the WGSL for this GPU. This takes a few seconds, once.";
      case "ready":
        return this.about?.backend === "cpu"
          ? "Ready. The CPU does the steps, in WebAssembly."
          : this.about
            ? "Ready. The GPU does the steps."
            : "Ready.";
      case "training":
        return this.diverged >= 0
          ? `The loss is no number any more, at step ${whole(this.diverged)}: try a smaller lr.`
          : "Training. It continues while this tab is hidden.";
      case "paused":
        return this.diverged >= 0
          ? `Paused after ${at} steps. The loss is no number any more: reset, and try a smaller lr.`
          : `Paused after ${at} steps.`;
      case "finished":
        return this.diverged >= 0
          ? `Finished, but the loss was no number from step ${whole(this.diverged)} on: try a smaller lr.`
          : `Finished: ${at} steps are done. The log has the losses and 20 names.`;
      case "failed":
        return "This did not work. The line above says why.";
    }
  }

  private numbers(): void {
    this.shown = performance.now();
    const steps = this.about?.steps ?? 0;
    byId("bar", HTMLProgressElement).value = steps === 0 ? 0 : this.step / steps;
    say(box("at"), this.about ? `${whole(this.step)} of ${whole(steps)}` : "–");
    say(box("speed"), this.speed > 0 ? `${whole(this.speed)} steps/s` : "–");
    say(box("each"), this.speed > 0 ? micro(1e6 / this.speed) : "–");
    say(box("left"), this.speed > 0 && this.step < steps ? duration((steps - this.step) / this.speed) : "–");
  }

  private axis(): void {
    const { bucket } = this.chart;
    say(box("bucket"), bucket === 1 ? "log10 of the loss" : `log10 of the loss, mean of ${whole(bucket)} steps`);
  }

  private write(lines: readonly string[]): void {
    if (lines.length === 0) return;
    const { log } = this;
    const last = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    log.append(lines.map((line) => `${line}\n`).join(""));
    if (last) log.scrollTop = log.scrollHeight;
  }

  private choices(): void {
    box("paste").hidden = this.data.value !== "paste";
    box("choose").hidden = this.data.value !== "file";
    // The CPU's step has one layout.
    const { value } = this.backend;
    this.layout.disabled = value === "cpu" || (value === "auto" && this.about?.backend === "cpu");
    const file = this.data.value === "file" ? this.file : undefined;
    say(box("chosen-name"), file ? `${file.name}, ${whole(file.bytes.length)} bytes` : "No file is chosen.");
  }

  private mark(): void {
    for (const { name } of this.settings) this.inputs.get(name)?.classList.toggle("chosen", this.chosen.has(name));
  }

  /** Up and down change a number. */
  private nudge(event: KeyboardEvent, input: HTMLInputElement, integer: boolean): void {
    const way = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
    const value = Number(input.value);
    if (way === 0 || !Number.isSafeInteger(integer ? value : 0) || input.value.trim() === "") return;
    event.preventDefault();
    const next = integer ? value + way : Number((value * (way > 0 ? 1.25 : 0.8)).toPrecision(3));
    input.value = String(Math.max(0, next));
    input.dispatchEvent(new Event("input"));
  }
}

function range(min: number, max: number): string {
  const text = (value: number) => (Math.abs(value) >= 1e15 ? value.toExponential(1).replace("e+", "e") : String(value));
  return max >= 1e15 ? `${text(min)} or more` : `${text(min)} to ${text(max)}`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
