// Large heat maps of one shape side by side. A cell that the pointer or the arrow keys are at is marked in all.

import { breathe, make, real, say, shape } from "./dom.js";
import { DECADES, end, extent, paint } from "./heatmap.js";
import type { Kind } from "./heatmap.js";

export interface Lens {
  readonly title: string;
  readonly kind: Kind;
  readonly data: Float32Array;
  /** The end of its scale, where another map has the same. */
  readonly scale?: number;
}

interface Drawn extends Lens {
  readonly canvas: HTMLCanvasElement;
  readonly cross: HTMLElement;
}

/** A heat map's place: the style sheet gives it the proportions of the tensor. */
export function frame(sizes: readonly number[], canvas: HTMLCanvasElement): HTMLElement {
  const { rows, columns } = extent(sizes);
  const place = make("span", { class: "map" }, canvas);
  place.style.setProperty("--rows", String(rows));
  place.style.setProperty("--columns", String(columns));
  return place;
}

export class Lenses {
  readonly element = make("div", { class: "lenses" });
  readonly readout = make("output", { class: "readout", "aria-live": "polite" });
  private cell = 0;
  private readonly drawn: readonly Drawn[];

  /** `read` is what to tell of a cell; `chosen` is called where one is pressed; `framed` makes the places. */
  constructor(
    name: string,
    private readonly sizes: readonly number[],
    lenses: readonly Lens[],
    private readonly read: (cell: number, index: readonly number[]) => string,
    chosen: (cell: number) => void = () => undefined,
    framed: (canvas: HTMLCanvasElement) => HTMLElement = (canvas) => frame(sizes, canvas),
  ) {
    this.drawn = lenses.map((lens) => {
      const { title, kind, data } = lens;
      const canvas = make("canvas", { width: "1", height: "1" });
      const cross = make("span", { class: "cross" });
      const place = framed(canvas);
      place.append(cross);
      place.tabIndex = 0;
      place.setAttribute("role", "application");
      place.setAttribute("aria-label", `${title} of ${name}, ${shape(sizes)}: arrow keys move along the cells`);
      this.listen(place, chosen);
      const most = lens.scale ?? end(data);
      const scale =
        kind === "signed" ? `±${real(most)}` : most === 0 ? "0 everywhere" : `log: ${real(most * 10 ** -DECADES)} to ${real(most)}`;
      const figure = make(
        "figure",
        {},
        make("figcaption", {}, make("b", {}, title), make("span", { class: `scale ${kind}` }), make("small", {}, scale)),
        place,
      );
      figure.style.setProperty("--columns", place.style.getPropertyValue("--columns"));
      this.element.append(figure);
      return { ...lens, canvas, cross };
    });
  }

  /** Paints the maps, with pauses in between. */
  async paint(): Promise<void> {
    for (const { canvas, ...lens } of this.drawn) {
      paint(canvas, { ...lens, ...extent(this.sizes) });
      await breathe();
    }
  }

  /** Shows the numbers of a cell. */
  point(cell: number): void {
    this.cell = cell;
    const { rows, columns } = extent(this.sizes);
    for (const { cross } of this.drawn) {
      cross.style.left = `${(100 * (cell % columns)) / columns}%`;
      cross.style.top = `${(100 * Math.floor(cell / columns)) / rows}%`;
      cross.style.width = `${100 / columns}%`;
      cross.style.height = `${100 / rows}%`;
    }
    const index: number[] = [];
    let rest = cell;
    for (const size of [...this.sizes].reverse()) {
      index.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    say(this.readout, this.read(cell, index));
  }

  private listen(place: HTMLElement, chosen: (cell: number) => void): void {
    const { rows, columns } = extent(this.sizes);
    const under = ({ clientX, clientY }: PointerEvent) => {
      const { left, top, width, height } = place.getBoundingClientRect();
      const column = Math.max(0, Math.min(columns - 1, Math.floor(((clientX - left) / width) * columns)));
      const row = Math.max(0, Math.min(rows - 1, Math.floor(((clientY - top) / height) * rows)));
      return row * columns + column;
    };
    place.addEventListener("pointermove", (event) => this.point(under(event)));
    place.addEventListener("pointerdown", (event) => {
      this.point(under(event));
      chosen(this.cell);
    });
    place.addEventListener("keydown", (event) => {
      const by: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
      const move = by[event.key];
      if (move === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const column = this.cell % columns;
      if ((move === -1 && column === 0) || (move === 1 && column === columns - 1)) return;
      const to = this.cell + move;
      if (to >= 0 && to < rows * columns) this.point(to);
    });
  }
}
