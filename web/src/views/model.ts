// The view "Model": embeddings in the plane, the next character, saturation of tanh.

import type { App } from "../app.js";
import { words } from "../app.js";
import { box, make, say, whole } from "../dom.js";
import { colour, recoloured, rgb } from "../theme.js";

/** Milliseconds between two looks while it trains. */
const EVERY = 1000;
/** Characters offered behind a prefix. */
const OFFERED = 60;
const SATURATED = 0.99;

export class ModelView {
  private readonly plane = make("canvas", { class: "plane", role: "img", "aria-label": "Embeddings of the characters in the plane" });
  private readonly input = make("input", { id: "prefix", type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  private readonly choices = make("div", { id: "next", class: "choices", role: "group", "aria-label": "The next character" });
  private readonly told = make("p", { class: "hint", role: "status" });
  private readonly tanh = make("canvas", { class: "tanh", role: "img" });
  private readonly tanhText = make("p", { class: "hint" });
  private readonly state = make("p", { class: "hint" });
  private points: Float32Array = new Float32Array();
  private values: Float32Array = new Float32Array();
  private busy = false;
  private looked = 0;
  private at = -1;

  constructor(private readonly app: App) {
    const less = make("button", { type: "button" }, "Delete the last");
    box("view-model").append(
      this.state,
      make(
        "div",
        { class: "models" },
        make(
          "section",
          { class: "panel" },
          make("h2", {}, "Embeddings"),
          make("p", { class: "hint" }, "Each character's row of C, projected to the plane. While it trains, characters that behave alike come to lie near each other."),
          this.plane,
        ),
        make(
          "section",
          { class: "panel" },
          make("h2", {}, "The next character"),
          make("p", {}, make("label", { for: "prefix" }, "A name begins with"), " ", this.input, " ", less),
          this.told,
          this.choices,
        ),
        make(
          "section",
          { class: "panel saturation" },
          make("h2", {}, "Saturation of tanh"),
          make("p", { class: "hint" }, "h of the next minibatch: a row for each example, a column for each hidden unit. White where |h| > 0.99: there the gradient hardly passes. A white column is a dead unit."),
          this.tanh,
          this.tanhText,
        ),
      ),
    );
    this.input.addEventListener("input", () => void this.next());
    less.addEventListener("click", () => {
      this.input.value = [...this.input.value].slice(0, -1).join("");
      void this.next();
    });
    recoloured(() => {
      this.drawPlane();
      this.drawTanh();
    });
    new ResizeObserver(() => this.drawPlane()).observe(this.plane);
  }

  private get visible(): boolean {
    return !box("view-model").hidden;
  }

  /** The view is opened, or the model is another one. */
  shown(): void {
    if (this.visible && this.at !== this.app.step) void this.look();
  }

  opened(): void {
    this.at = -1;
    this.shown();
  }

  /** Steps were done. */
  moved(): void {
    if (this.visible && performance.now() - this.looked > EVERY) void this.look();
  }

  private async look(): Promise<void> {
    if (this.app.about === null) {
      say(this.state, "The engine is not ready yet.");
      return;
    }
    if (this.busy) return;
    this.busy = true;
    this.looked = performance.now();
    const step = this.app.step;
    try {
      const { engine } = this.app;
      const [points, values] = await Promise.all([engine.call("embeddings"), engine.call("saturation")]);
      this.points = points;
      this.values = values;
      this.at = step;
      say(this.state, step === 0 ? "The model before training, at step 0." : `The model at step ${whole(step)}.`);
      this.drawPlane();
      this.drawTanh();
      await this.next();
    } catch (error) {
      this.app.trouble(error);
    } finally {
      this.busy = false;
    }
  }

  private async next(): Promise<void> {
    const prefix = this.input.value;
    const { about } = this.app;
    if (about === null) return;
    try {
      const { probabilities } = await this.app.engine.call("next", prefix);
      if (prefix !== this.input.value) return;
      this.offer(about.vocab, probabilities, prefix);
    } catch (error) {
      this.choices.replaceChildren();
      say(this.told, words(error));
    }
  }

  private offer(vocab: readonly string[], probabilities: readonly number[], prefix: string): void {
    const order = vocab.map((letter, i) => ({ letter, end: i === 0, chance: probabilities[i] ?? 0 })).sort((a, b) => b.chance - a.chance);
    const most = order[0]?.chance ?? 1;
    const focused = this.choices.contains(document.activeElement);
    const made = order.slice(0, OFFERED).map(({ letter, end, chance }) => {
      const percent = chance >= 0.001 ? `${(100 * chance).toFixed(1)} %` : "< 0.1 %";
      const bar = make("span", { class: "chance" });
      bar.style.setProperty("--size", String(most === 0 ? 0 : chance / most));
      const one = make(
        "button",
        { type: "button", "aria-label": end ? `end of the name, ${percent}` : `${letter}, ${percent}` },
        make("b", {}, end ? "end" : letter),
        bar,
        make("small", {}, percent),
      );
      one.addEventListener("click", () => {
        if (end) {
          say(this.told, `“${prefix}” ends here.`);
          return;
        }
        this.input.value += letter;
        void this.next();
      });
      return one;
    });
    this.choices.replaceChildren(...made);
    if (focused) made[0]?.focus();
    const rest = order.length > OFFERED ? ` The ${OFFERED} likeliest of ${whole(order.length)}.` : "";
    say(this.told, `${prefix === "" ? "How likely each first character is." : `How likely each character is behind “${prefix}”.`} Choose one to continue.${rest}`);
  }

  private drawPlane(): void {
    const { plane, points } = this;
    const side = Math.floor(plane.clientWidth);
    const vocab = this.app.about?.vocab ?? [];
    if (side === 0) return;
    const ratio = Math.min(devicePixelRatio, 2);
    plane.width = side * ratio;
    plane.height = side * ratio;
    const context = plane.getContext("2d");
    if (context === null || points.length < 2 * vocab.length) return;
    context.scale(ratio, ratio);
    let reach = 1e-9;
    for (const value of points) if (Math.abs(value) > reach && Math.abs(value) < Infinity) reach = Math.abs(value);
    const place = (value: number) => side / 2 + (value / reach) * (side / 2 - 18);
    context.strokeStyle = colour("line");
    context.beginPath();
    context.moveTo(side / 2, 0);
    context.lineTo(side / 2, side);
    context.moveTo(0, side / 2);
    context.lineTo(side, side / 2);
    context.stroke();
    const many = vocab.length > 200;
    context.font = `${many ? "11px" : "600 15px"} ui-monospace, monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    vocab.forEach((letter, i) => {
      context.fillStyle = colour(i === 0 ? "soft" : "aeiou".includes(letter) ? "high-end" : "accent");
      context.fillText(letter, place(points[2 * i] ?? 0), side - place(points[2 * i + 1] ?? 0));
    });
  }

  private drawTanh(): void {
    const { tanh, values } = this;
    const fields = this.app.about?.fields ?? {};
    const rows = Number(fields["batch_size"] ?? 32);
    const columns = Math.floor(values.length / rows);
    if (columns === 0) return;
    tanh.width = columns;
    tanh.height = rows;
    tanh.style.aspectRatio = `${columns} / ${rows}`;
    const context = tanh.getContext("2d");
    if (context === null) return;
    const image = context.createImageData(columns, rows);
    const nan = rgb("nan");
    values.forEach((value, i) => {
      const size = Math.abs(value);
      // Below the bound only a hint, so that white stands out.
      const grey = size > SATURATED ? 255 : 18 + 70 * size;
      const odd = Number.isNaN(value);
      image.data[4 * i] = odd ? nan[0] : grey;
      image.data[4 * i + 1] = odd ? nan[1] : grey;
      image.data[4 * i + 2] = odd ? nan[2] : grey;
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, 0, 0);
    say(this.tanhText, `(${rows}, ${columns})`);
    tanh.setAttribute("aria-label", `Saturation of tanh, (${rows}, ${columns})`);
  }
}
