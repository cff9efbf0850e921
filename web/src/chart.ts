// Loss curves.

import uPlot from "uplot";
import type { Curve, TrialProgress, ValidationPoint } from "../pkg/gpu_makemore_web.js";
import lecture from "./lecture.json";
import { colour, recoloured } from "./theme.js";

/** A line of a plot. */
interface Line {
  readonly label: string;
  /** A colour of the style sheet. */
  readonly colour: string;
  readonly look: "line" | "thin" | "dashed" | "dots";
}

/** Steps that a point of the lecture's curve stands for. */
const LECTURE = 1000;
const LECTURES: Line = { label: "the lecture's run", colour: "edge", look: "thin" };

/** Log losses over steps. */
class Plot {
  private readonly plot: uPlot;
  private steps = 200_000;
  private drawn = true;
  private data: () => uPlot.AlignedData = () => [[]];
  private under: Line | null = null;
  private wanted: Line | null = null;

  constructor(
    private readonly place: HTMLElement,
    lines: readonly Line[],
  ) {
    const axis = {
      stroke: () => colour("soft"),
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { stroke: () => colour("line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    this.plot = new uPlot(
      {
        width: this.width(),
        height: this.height(),
        scales: { x: { time: false, range: () => [0, this.steps] }, y: { range: (_, min, max) => this.range(min, max) } },
        axes: [
          { ...axis, values: (_, splits) => splits.map((step) => this.step(step)) },
          { ...axis, size: 52, values: (_, splits, __, ___, apart) => splits.map((value) => value.toFixed(digits(apart))) },
        ],
        series: [
          { label: "step", value: (_, step: number | null) => (step === null ? "–" : step.toLocaleString("en-US")) },
          ...lines.map(series),
        ],
        cursor: { drag: { x: false, y: false } },
        legend: { live: true },
      },
      [[], ...lines.map(() => [])],
      place,
    );
    new ResizeObserver(() => {
      const size = { width: this.width(), height: this.height() };
      if (size.width > 0 && (size.width !== this.plot.width || size.height !== this.plot.height)) {
        this.plot.setSize(size);
      }
    }).observe(place);
    recoloured(() => this.plot.redraw(false));
  }

  /** Draws at the next frame what the data are by then. A line that is `under` the others has the first data. */
  later(steps: number, data: () => uPlot.AlignedData, under: Line | null = null): void {
    this.steps = steps;
    this.data = data;
    this.wanted = under;
    if (!this.drawn) return;
    this.drawn = false;
    requestAnimationFrame(() => {
      this.drawn = true;
      if (this.under !== this.wanted) {
        if (this.under !== null) this.plot.delSeries(1);
        // Lines are drawn in their order, so the first lies under the others.
        if (this.wanted !== null) this.plot.addSeries(series(this.wanted), 1);
        this.under = this.wanted;
      }
      this.plot.setData(this.data());
    });
  }

  private range(min: number | null, max: number | null): [number, number] {
    if (min == null || max == null || !Number.isFinite(min) || !Number.isFinite(max)) return [0.3, 0.6];
    const margin = Math.max(0.01, (max - min) * 0.08);
    return [min - margin, max + margin];
  }

  private step(step: number): string {
    return this.steps >= 20_000 ? `${step / 1000}k` : String(step);
  }

  private width(): number {
    return Math.floor(this.place.clientWidth);
  }

  private height(): number {
    return Math.max(200, Math.min(420, Math.floor(this.place.clientWidth * 0.47)));
  }
}

function series(line: Line): uPlot.Series {
  const stroke = () => colour(line.colour);
  const value = (_: uPlot, value: number | null) => (value == null ? "–" : value.toFixed(4));
  const common = { label: line.label, class: `line-${line.colour}`, stroke, value };
  if (line.look === "dots") return { ...common, paths: () => null, points: { show: true, size: 7, fill: stroke } };
  const width = line.look === "thin" ? 1 : 1.5;
  return { ...common, width, points: { show: false }, ...(line.look === "dashed" ? { dash: [7, 3] } : {}) };
}

/** The curve of a training, with its validation losses. */
export class Chart {
  private readonly plot: Plot;
  private curve: Curve = { bucket: 1, points: [] };
  private validation: ValidationPoint[] = [];
  private steps = 200_000;
  private lectures = false;

  constructor(place: HTMLElement) {
    this.plot = new Plot(place, [
      { label: "train", colour: "accent", look: "line" },
      { label: "validation", colour: "high-end", look: "dots" },
    ]);
  }

  /** Another run. If its set-up is the lecture's, the lecture's curve lies behind its own. */
  begin(steps: number, curve: Curve, validation: ValidationPoint[], lectures: boolean): void {
    this.steps = steps;
    this.lectures = lectures;
    this.curve = curve;
    this.validation = [...validation];
    this.draw();
  }

  add(curve: Curve | null | undefined, validation: ValidationPoint | null | undefined): void {
    if (curve) this.curve = curve;
    if (validation) this.validation.push(validation);
    if (curve || validation) this.draw();
  }

  get bucket(): number {
    return this.curve.bucket;
  }

  private draw(): void {
    this.plot.later(this.steps, () => this.data(), this.lectures ? LECTURES : null);
  }

  private data(): uPlot.AlignedData {
    const { bucket, points } = this.curve;
    const rows = new Map<number, [number | null, number | null]>();
    points.forEach((point, i) => rows.set((i + 1) * bucket, [point, null]));
    for (const { step, val_loss } of this.validation) {
      rows.set(step, [rows.get(step)?.[0] ?? null, Math.log10(val_loss)]);
    }
    if (this.lectures) {
      lecture.forEach((_, i) => {
        const step = (i + 1) * LECTURE;
        if (!rows.has(step)) rows.set(step, [null, null]);
      });
    }
    const steps = [...rows.keys()].sort((a, b) => a - b);
    // A point of another line between two points of this one must not cut it: uPlot joins over `undefined`.
    const train = steps.map((step) => (rows.get(step)?.[0] === null ? undefined : finite(rows.get(step)?.[0])));
    const validation = steps.map((step) => finite(rows.get(step)?.[1]));
    return this.lectures ? [steps, steps.map((step) => lecture[step / LECTURE - 1]), train, validation] : [steps, train, validation];
  }
}

/** Two curves: a training with a mistake, or with a learner's gradients, and the right one. */
export class Pair {
  private readonly plot: Plot;

  constructor(place: HTMLElement, labels: readonly [right: string, other: string] = ["right", "with it"]) {
    this.plot = new Plot(place, [
      { label: labels[0], colour: "accent", look: "line" },
      { label: labels[1], colour: "high-end", look: "dashed" },
    ]);
  }

  draw({ steps, bucket, broken, right }: Pick<TrialProgress, "steps" | "bucket" | "broken" | "right">): void {
    this.plot.later(steps, () => {
      const count = Math.max(broken.length, right.length);
      const line = (points: readonly number[]) => Array.from({ length: count }, (_, i) => finite(points[i]));
      return [Array.from({ length: count }, (_, i) => (i + 1) * bucket), line(right), line(broken)];
    });
  }
}

function finite(value: number | null | undefined): number | null {
  return value != null && Number.isFinite(value) ? value : null;
}

/** Digits that tell ticks apart without rounding them. */
function digits(apart: number): number {
  const hundredths = apart * 100;
  return Math.abs(hundredths - Math.round(hundredths)) > 1e-6 ? 3 : 2;
}
