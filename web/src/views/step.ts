// The view "One step": the minibatch, the 26 tensors with their gradients, and the comparison.

import type { App } from "../app.js";
import { lines, table } from "../cmp.js";
import { arrows, box, breathe, make, real, say, shape, short, whole } from "../dom.js";
import { end, extent, histogram, paint } from "../heatmap.js";
import { Lenses, frame } from "../lens.js";
import type { Derivation, Inspection } from "../protocol.js";
import { colour, recoloured } from "../theme.js";

type Tensor = Inspection["tensors"][number];

/** Words of the minibatch that are listed. */
const WORDS = 256;
const BARS = 41;

/** The operations of a step in forward order, each with its parameters and with what its lines make. */
const OPERATIONS = [
  { title: "embedding", parameters: ["C"], made: ["emb", "embcat"] },
  { title: "linear", parameters: ["W1", "b1"], made: ["hprebn"] },
  {
    title: "batchnorm",
    parameters: ["bngain", "bnbias"],
    made: ["bnmeani", "bndiff", "bndiff2", "bnvar", "bnvar_inv", "bnraw", "hpreact"],
  },
  { title: "tanh", parameters: [], made: ["h"] },
  { title: "linear", parameters: ["W2", "b2"], made: ["logits"] },
  {
    title: "softmax and cross-entropy",
    parameters: [],
    made: ["logit_maxes", "norm_logits", "counts", "counts_sum", "counts_sum_inv", "probs", "logprobs"],
  },
] as const;

/** A tensor's value or gradient in the drawing. */
interface Spot {
  readonly button: HTMLButtonElement;
  readonly canvas: HTMLCanvasElement;
  /** What is told to who does not see the map. */
  readonly told: HTMLElement;
}

export class StepView {
  private seen: Inspection | null = null;
  private readonly derivations = new Map<string, Derivation>();
  private tensor = "logits";
  private row = 0;
  private busy = false;
  /** Counts paintings of the drawing. */
  private round = 0;
  /** Tensors and shapes that the drawing is made for. */
  private sizes = "";
  private readonly spots = new Map<string, readonly [value: Spot, gradient: Spot]>();
  /** The cell under the pointer, as an index of the tensor. */
  private cell = 0;
  private lenses: Lenses | null = null;

  private readonly look = make("button", { type: "button", id: "look", class: "primary" }, "Look inside the next step");
  private readonly one = make("button", { type: "button", id: "one" }, "Do one step");
  private readonly looked = make("p", { id: "looked", class: "hint", role: "status" });
  private readonly batch = make("div", { class: "words", role: "group", "aria-labelledby": "words-title" });
  private readonly list = make("ol", { id: "tensors", class: "tensors" });
  private readonly pointed = make("p", { class: "pointed", "aria-hidden": "true" });
  private readonly loss = make("b", {});
  private readonly article = make("article", { id: "tensor", class: "panel tensor", tabindex: "-1", "aria-live": "off" });
  private readonly pulls = make("div", { id: "dlogits" });
  private readonly rows = make("tbody");
  private readonly verdict = make("p", { class: "hint" });
  private readonly whole = make("div", { class: "inside", hidden: "" });

  constructor(private readonly app: App) {
    this.whole.append(
      make(
        "section",
        { class: "panel batch" },
        make("h2", { id: "words-title" }, "Minibatch"),
        make("p", { class: "hint" }, "The context, and the character that follows it. Choose an example: its row is marked in every tensor that has one."),
        this.batch,
      ),
      make(
        "section",
        { class: "panel drawing" },
        make("h2", {}, "The step"),
        make(
          "p",
          { class: "hint" },
          "Values on the left, going down; gradients on the right, going up; parameters between. Press a tensor to open it. ",
          make("span", { class: "legend" }, "− ", make("span", { class: "scale" }), " +"),
          " Each map has its own scale.",
        ),
        this.pointed,
        make(
          "p",
          { class: "lanes", "aria-hidden": "true" },
          make("span", {}, "forward ↓"),
          make("span", {}, "parameters and gradients"),
          make("span", {}, "backward ↑"),
        ),
        this.list,
      ),
      this.article,
      make("section", { class: "panel pulls" }, make("h2", {}, "dlogits: who is pulled up, who is pushed down"), this.pulls),
      make(
        "section",
        { class: "panel compared" },
        make("h2", {}, "cmp: these gradients against the reference in f64"),
        this.verdict,
        table("cmp", this.rows),
      ),
    );
    box("view-step").append(make("div", { class: "row looking" }, this.look, this.one, this.looked), this.whole);
    this.look.addEventListener("click", () => void this.inspect());
    this.one.addEventListener("click", () => void app.one());
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.list.addEventListener("pointerover", (event) => this.pair(nameOf(event.target) ?? nameOf(document.activeElement)));
    this.list.addEventListener("pointerleave", () => this.pair(nameOf(document.activeElement)));
    this.list.addEventListener("focusin", (event) => this.pair(nameOf(event.target)));
    this.list.addEventListener("focusout", () => this.pair(undefined));
    arrows(this.batch, "button", true);
    recoloured(() => {
      if (this.seen !== null && this.visible) void this.draw();
    });
    this.phase();
  }

  private get visible(): boolean {
    return !box("view-step").hidden;
  }

  /** The view is opened, or a step was done. */
  shown(): void {
    if (!this.visible) return;
    this.phase();
    if (this.app.about !== null && this.app.phase !== "training" && this.seen?.step !== this.app.step) void this.inspect();
  }

  /** What the engine says of each tensor. */
  know(derivations: readonly Derivation[]): void {
    for (const derivation of derivations) this.derivations.set(derivation.name, derivation);
  }

  /** Another session. */
  opened(): void {
    this.seen = null;
    this.whole.hidden = true;
    this.shown();
  }

  phase(): void {
    const { phase, about } = this.app;
    const ready = about !== null && phase !== "compiling" && phase !== "loading";
    this.look.disabled = !ready || this.busy;
    this.one.disabled = !ready || phase === "finished";
    if (this.busy) say(this.looked, "Computing the step, and the reference in f64.");
    else if (this.seen === null) say(this.looked, !ready ? "The engine is not ready yet." : phase === "training" ? "Training goes on meanwhile." : "");
    else {
      const { step, loss, wrong, tensors } = this.seen;
      const moved = this.app.step === step ? "" : ` Training is at step ${whole(this.app.step)} by now.`;
      const fit = wrong === 0 ? `all ${tensors.length} gradients agree` : `${wrong} of ${tensors.length} gradients are wrong`;
      say(this.looked, `Step ${whole(step)}: loss ${loss.toFixed(4)}, ${fit}.${moved}`);
    }
  }

  private async inspect(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.phase();
    try {
      this.seen = await this.app.engine.call("inspect");
      this.whole.hidden = false;
      await this.draw();
    } catch (error) {
      this.app.trouble(error);
    } finally {
      this.busy = false;
      this.phase();
    }
    // Steps that were done meanwhile.
    if (this.app.phase !== "training" && this.seen !== null && this.seen.step < this.app.step && this.app.phase !== "finished") {
      this.shown();
    }
  }

  private async draw(): Promise<void> {
    const { seen } = this;
    if (seen === null) return;
    this.row = Math.min(this.row, seen.examples.length - 1);
    // Pieces of work with pauses between them, so that the page never stalls.
    this.drawBatch(seen);
    await breathe();
    await this.drawTensor();
    await breathe();
    this.drawPulls();
    await breathe();
    await this.drawStep(seen);
    await this.drawTable(seen);
  }

  private drawBatch({ examples }: Inspection): void {
    const buttons = examples.slice(0, WORDS).map(({ context, target }, i) => {
      const made = make(
        "button",
        { type: "button", "aria-label": `example ${i}: ${context}, then ${target}`, "aria-pressed": String(i === this.row) },
        make("span", {}, context),
        make("b", {}, target),
      );
      made.addEventListener("click", () => this.choose(i));
      return made;
    });
    this.batch.replaceChildren(...buttons);
    if (examples.length > WORDS) this.batch.append(make("span", { class: "hint" }, `${WORDS} of ${whole(examples.length)}`));
  }

  private choose(row: number): void {
    this.row = row;
    [...this.batch.querySelectorAll("button")].forEach((made, i) => made.setAttribute("aria-pressed", String(i === row)));
    this.marks();
    this.drawPulls();
    const chosen = this.chosen;
    if (chosen !== undefined && this.perExample(chosen)) {
      const { columns } = extent(chosen.shape);
      this.lenses?.point(row * columns + (this.cell % columns));
    }
  }

  private perExample({ name }: Tensor): boolean {
    return this.derivations.get(name)?.per_example ?? false;
  }

  /** Puts the mark of the chosen example over a map. */
  private mark(place: HTMLElement): void {
    const rows = Number(place.dataset["rows"]);
    const mark = place.querySelector<HTMLElement>(".mark");
    if (mark === null) return;
    mark.style.top = `${(100 * this.row) / rows}%`;
    mark.style.height = `${100 / rows}%`;
  }

  private marks(): void {
    for (const place of this.whole.querySelectorAll<HTMLElement>("[data-rows]")) this.mark(place);
  }

  private map(tensor: Tensor, canvas: HTMLCanvasElement): HTMLElement {
    const place = frame(tensor.shape, canvas);
    if (this.perExample(tensor)) {
      place.dataset["rows"] = String(extent(tensor.shape).rows);
      place.append(make("span", { class: "mark" }));
      this.mark(place);
    }
    return place;
  }

  /** Paints the drawing, and makes it first where the tensors are others. */
  private async drawStep({ tensors, loss }: Inspection): Promise<void> {
    const round = ++this.round;
    const sizes = tensors.map(({ name, shape }) => `${name} ${shape.join(" ")}`).join();
    if (sizes !== this.sizes) {
      this.sizes = sizes;
      this.makeDrawing(tensors);
      await breathe();
    }
    say(this.loss, loss.toFixed(4));
    this.pair(nameOf(document.activeElement));
    for (const tensor of [...tensors].reverse()) {
      // Another step is drawn meanwhile.
      if (round !== this.round) return;
      const { rows, columns } = extent(tensor.shape);
      const { pass } = tensor.row;
      this.spots.get(tensor.name)?.forEach(({ button, canvas, told }, i) => {
        paint(canvas, { data: i === 0 ? tensor.values : tensor.grads, rows, columns, kind: "signed" });
        button.classList.toggle("wrong", !pass);
        say(told, ` ${shape(tensor.shape)}${pass ? "" : i === 0 ? ", its gradient is wrong" : ", wrong"}`);
      });
      await breathe();
    }
    this.marks();
  }

  /** Boxes and arrows, with maps that are not painted yet. */
  private makeDrawing(tensors: readonly Tensor[]): void {
    this.spots.clear();
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    const columns = tensors.map((tensor) => extent(tensor.shape).columns);
    this.list.style.setProperty("--longest", String(Math.max(1, ...columns)));
    this.list.style.setProperty("--examples", String(this.seen?.examples.length ?? 1));
    const pairs = (names: readonly string[]) => {
      const made = names.flatMap((name) => {
        const tensor = byName.get(name);
        if (tensor === undefined) return [];
        const spots = [this.spot(tensor, false), this.spot(tensor, true)] as const;
        this.spots.set(name, spots);
        return [spots];
      });
      return [made.map(([{ button }]) => button), made.map(([, { button }]) => button)] as const;
    };
    const group = (buttons: readonly HTMLElement[]) => make("div", { class: "parameters" }, ...buttons);
    // A screen reader has the title from the heading, once; the boxes show it twice.
    const lane = (way: string, title: string, buttons: readonly HTMLElement[]) => {
      const shown = make("span", { class: "title", "aria-hidden": "true" }, title);
      return make("div", { class: `lane ${way}` }, make("div", { class: "box" }, shown, ...buttons));
    };
    const operations = OPERATIONS.map(({ title, parameters, made }, i) => {
      const [values, gradients] = pairs(parameters);
      const [forward, backward] = pairs(made);
      const down = lane("forward", title, forward);
      const up = lane("backward", title, backward);
      const between = make("div", { class: "between" }, ...(values.length === 0 ? [] : [group(values), group(gradients)]));
      const item = make("li", { class: "operation" }, make("h3", { class: "away" }, title));
      if (i < OPERATIONS.length - 1) item.append(between, down, up);
      else {
        // Here is the loss, from which the way leads back.
        item.classList.add("turn");
        between.append(given("Y", "what follows"), make("p", { class: "loss" }, make("span", {}, "loss"), this.loss));
        item.append(down, between, up);
      }
      return item;
    });
    this.list.replaceChildren(make("li", { class: "start" }, given("X", "contexts")), ...operations);
  }

  private spot(tensor: Tensor, gradient: boolean): Spot {
    const { name } = tensor;
    const canvas = make("canvas", { width: "1", height: "1", "aria-hidden": "true" });
    const told = make("span", { class: "away" });
    const map = this.map(tensor, canvas);
    const button = make("button", { type: "button" }, make("span", { class: "name" }, gradient ? `d${name}` : name), told, map);
    button.dataset[gradient ? "gradient" : "tensor"] = name;
    button.setAttribute("aria-current", String(name === this.tensor));
    // Both open the same: one of them is enough for the tab key, and the arrow keys reach the other.
    if (gradient) button.tabIndex = -1;
    button.addEventListener("click", () => this.open(name));
    return { button, canvas, told };
  }

  /** Arrow keys: up and down along values or gradients, left and right from one to the other. */
  private walk(event: KeyboardEvent): void {
    const name = nameOf(event.target);
    if (name === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const names = [...this.spots.keys()];
    const at = names.indexOf(name);
    const side = event.target === this.spots.get(name)?.[1].button ? 1 : 0;
    const ways: Record<string, readonly [at: number, side: 0 | 1]> = {
      ArrowUp: [at - 1, side],
      ArrowDown: [at + 1, side],
      Home: [0, side],
      End: [names.length - 1, side],
      ArrowLeft: [at, 0],
      ArrowRight: [at, 1],
    };
    const way = ways[event.key];
    if (way === undefined) return;
    event.preventDefault();
    this.spots.get(names[way[0]] ?? name)?.[way[1]].button.focus();
  }

  /** Shows which value and which gradient belong together, and how large they are. */
  private pair(name: string | undefined): void {
    for (const [other, spots] of this.spots) {
      for (const { button } of spots) button.classList.toggle("paired", other === name);
    }
    const tensor = this.seen?.tensors.find((tensor) => tensor.name === (name ?? this.tensor));
    if (tensor === undefined) return;
    this.pointed.replaceChildren(
      make("b", {}, tensor.name),
      ` ${shape(tensor.shape)} `,
      make("span", {}, `value ±${end(tensor.values).toPrecision(2)}`),
      " ",
      make("span", {}, `gradient ±${end(tensor.grads).toPrecision(2)}`),
    );
  }

  private open(name: string): void {
    this.tensor = name;
    this.cell = 0;
    for (const [other, spots] of this.spots) {
      for (const { button } of spots) button.setAttribute("aria-current", String(other === name));
    }
    this.pair(name);
    void this.drawTensor().then(() => {
      // On a narrow screen the tensor lies below the drawing.
      if (this.article.getBoundingClientRect().top > innerHeight * 0.8) {
        this.article.scrollIntoView({ block: "start" });
        this.article.focus({ preventScroll: true });
      }
    });
  }

  private get chosen(): Tensor | undefined {
    const tensors = this.seen?.tensors ?? [];
    return tensors.find(({ name }) => name === this.tensor) ?? tensors[0];
  }

  private async drawTensor(): Promise<void> {
    const tensor = this.chosen;
    if (tensor === undefined) return;
    const difference = tensor.grads.map((value, i) => value - (tensor.reference[i] ?? NaN));
    const lenses = new Lenses(
      tensor.name,
      tensor.shape,
      [
        { title: "value", kind: "signed", data: tensor.values },
        { title: "gradient", kind: "signed", data: tensor.grads },
        { title: "gradient − reference", kind: "difference", data: difference },
      ],
      (cell, index) => this.read(tensor, cell, index),
      (cell) => {
        if (this.perExample(tensor)) this.choose(Math.floor(cell / extent(tensor.shape).columns));
      },
      (canvas) => this.map(tensor, canvas),
    );
    this.lenses = lenses;
    const { row } = tensor;
    const derivation = this.derivations.get(tensor.name);
    const source = (title: string, text: string) =>
      make("details", {}, make("summary", {}, title), make("pre", {}, text));
    const code = (title: string, lines: readonly string[]) =>
      lines.length === 0 ? [] : [make("dt", {}, title), make("dd", {}, make("pre", {}, lines.join("\n")))];
    const facts = make(
      "dl",
      { class: "facts" },
      ...code("forward", derivation?.forward ?? []),
      ...(derivation === undefined ? [] : [make("dt", {}, "why"), make("dd", {}, derivation.why.join(" "))]),
      ...code("backward", derivation?.backward ?? []),
      make("dt", {}, "computed by"),
      make("dd", {}, make("code", {}, row.by), ", formulas in ", make("code", {}, derivation?.file ?? "")),
      make("dt", {}, "sources"),
      make("dd", {}, source("WGSL", derivation?.wgsl ?? ""), source("Rust twin", derivation?.twin ?? "")),
      make("dt", {}, "cmp"),
      make(
        "dd",
        {},
        `${row.pass ? "ok" : "wrong"}: largest difference ${short(row.maxdiff)}, allowed ${short(row.allowed)}; there ${real(row.got)}, reference ${real(row.want)}.`,
        ...(row.zero ? [" This gradient is zero for every minibatch but for rounding."] : []),
      ),
    );
    const bars = make(
      "div",
      { class: "histograms" },
      this.histogram("values", tensor.values),
      this.histogram("gradients", tensor.grads),
    );
    const back = make("button", { type: "button", class: "quiet back" }, "Back to the drawing");
    back.addEventListener("click", () => {
      this.list.querySelector<HTMLElement>('[aria-current="true"]')?.focus();
    });
    this.article.setAttribute("aria-label", `tensor ${tensor.name}`);
    this.article.replaceChildren(
      make("div", { class: "row" }, make("h2", {}, make("code", {}, tensor.name), " ", make("small", {}, `${derivation?.axes ?? ""} = ${shape(tensor.shape)}`)), back),
      lenses.element,
      lenses.readout,
      facts,
      bars,
    );
    lenses.point(Math.min(this.cell, tensor.values.length - 1));
    await lenses.paint();
  }

  /** The numbers of a cell. */
  private read(tensor: Tensor, cell: number, index: readonly number[]): string {
    this.cell = cell;
    const { columns } = extent(tensor.shape);
    const numbers = [tensor.values, tensor.grads, tensor.reference].map((data) => real(data[cell] ?? NaN));
    const [value = "", gradient = "", reference = ""] = numbers;
    const parts = [`[${index.join(", ")}]`];
    const example = this.perExample(tensor) ? this.seen?.examples[Math.floor(cell / columns)] : undefined;
    if (example !== undefined) parts.push(`“${example.context}” then “${example.target}”`);
    const letter = this.derivations.get(tensor.name)?.of_characters ? this.app.about?.vocab[cell % columns] : undefined;
    if (letter !== undefined) parts.push(`column “${letter}”`);
    return `${parts.join("  ")}\nvalue ${value}  gradient ${gradient}  reference ${reference}`;
  }

  private histogram(title: string, data: Float32Array): HTMLElement {
    const { counts, scale } = histogram(data, BARS);
    const most = Math.max(1, ...counts);
    const canvas = make("canvas", { width: String(BARS * 6), height: "72", role: "img", "aria-label": `Histogram of the ${title}` });
    const context = canvas.getContext("2d");
    if (context !== null) {
      counts.forEach((count, i) => {
        const height = count === 0 ? 0 : Math.max(1, (count / most) * 70);
        context.fillStyle = colour(i < BARS >> 1 ? "low-end" : i > BARS >> 1 ? "high-end" : "soft");
        context.fillRect(i * 6, 72 - height, 5, height);
      });
    }
    return make(
      "figure",
      {},
      make("figcaption", {}, make("b", {}, title), make("small", {}, `highest bar ${whole(most)}`)),
      canvas,
      make("small", { class: "ends" }, make("span", {}, `−${real(scale)}`), make("span", {}, "0"), make("span", {}, real(scale))),
    );
  }

  private drawPulls(): void {
    const { seen } = this;
    const logits = seen?.tensors.find(({ name }) => name === "logits");
    const example = seen?.examples[this.row];
    const vocab = this.app.about?.vocab ?? [];
    if (logits === undefined || example === undefined) return;
    const columns = vocab.length;
    const gradients = logits.grads.subarray(this.row * columns, (this.row + 1) * columns);
    const most = end(gradients);
    // A step goes against the gradient: what is negative is pulled up.
    const entries = vocab.map((letter, i) => ({ letter, gradient: gradients[i] ?? NaN }));
    const few = columns > 64 ? [...entries].sort((a, b) => Math.abs(b.gradient) - Math.abs(a.gradient)).slice(0, 64) : entries;
    const down = entries.reduce((a, b) => (b.gradient > a.gradient ? b : a), entries[0] ?? { letter: "", gradient: 0 });
    const target = entries.find(({ letter }) => letter === example.target);
    const sentence = make(
      "p",
      {},
      `After “${example.context}” comes “${example.target}”. A step goes against the gradient: “${example.target}” is pulled up by ${real(-(target?.gradient ?? NaN))}; “${down.letter}” is pushed down most, by ${real(down.gradient)}. The row adds up to zero.`,
    );
    const bars = make("ol", { class: "bars", "aria-label": "dlogits of this example" });
    for (const { letter, gradient } of few) {
      const up = gradient < 0;
      const size = most === 0 ? 0 : Math.sqrt(Math.abs(gradient) / most);
      const bar = make("span", { class: up ? "up" : "down" });
      bar.style.setProperty("--size", String(size));
      const item = make("li", { title: `${letter}: gradient ${real(gradient)}, ${up ? "pulled up" : "pushed down"}` }, bar, make("b", {}, letter));
      item.append(make("span", { class: "away" }, ` ${up ? "pulled up" : "pushed down"}, gradient ${real(gradient)}`));
      if (letter === example.target) item.classList.add("target");
      bars.append(item);
    }
    this.pulls.replaceChildren(sentence, bars, make("p", { class: "hint" }, "Heights are square roots, so that small ones can be seen."));
  }

  private async drawTable({ tensors, wrong, by }: Inspection): Promise<void> {
    const made = lines(tensors, (name) => {
      this.open(name);
      this.article.scrollIntoView({ block: "nearest" });
    });
    await breathe();
    this.rows.replaceChildren(...made);
    const zero = tensors.filter(({ row }) => row.zero).map(({ name }) => name);
    say(
      this.verdict,
      `${wrong === 0 ? "All rows are within their tolerance." : `${wrong} rows are wrong.`} Computed by: ${by.join("; ")}.` +
        (zero.length === 0 ? "" : ` ${zero.join(", ")}: zero for every minibatch but for rounding.`) +
        " exact False is fine: in f32 the same sum in another order ends a few units of the last place away. approximate is torch.allclose; the verdict says whether each difference is within what is allowed.",
    );
  }
}

/** The name of the tensor whose value or gradient is there in the drawing. */
function nameOf(there: EventTarget | null): string | undefined {
  const button = there instanceof Element ? there.closest<HTMLElement>("[data-tensor], [data-gradient]") : null;
  return button?.dataset["tensor"] ?? button?.dataset["gradient"];
}

/** What the step is given. */
function given(name: string, what: string): HTMLElement {
  return make("p", { class: "given" }, make("b", {}, name), ` ${what}`);
}
