// Heat maps: one diverging palette around 0, a log scale for differences, a colour of its own for NaN.

import { rgb } from "./theme.js";

export type Kind = "signed" | "difference";

/** Decades that a difference map shows below its largest value. */
export const DECADES = 6;

export interface Picture {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly kind: Kind;
  /** The end of the scale, where it is not the data's own. */
  readonly scale?: number;
}

/** The largest absolute value; NaN and infinity are left out. */
export function end(data: Float32Array): number {
  let most = 0;
  for (const value of data) {
    const size = Math.abs(value);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

/** Rows and columns in which a tensor is drawn: the first dimension downward, the others along. */
export function extent(shape: readonly number[]): { rows: number; columns: number } {
  if (shape.length < 2) return { rows: 1, columns: shape[0] ?? 1 };
  const [rows = 1, ...rest] = shape;
  return { rows, columns: rest.reduce((product, size) => product * size, 1) };
}

/** Largest side of a canvas; of larger tensors every n-th row or column is drawn. */
const SIDE = 1024;

/** Paints one pixel a cell; the style sheet makes it larger. */
export function paint(canvas: HTMLCanvasElement, { data, rows, columns, kind, scale = end(data) }: Picture): void {
  const down = Math.ceil(rows / SIDE);
  const along = Math.ceil(columns / SIDE);
  const height = Math.max(1, Math.floor(rows / down));
  const width = Math.max(1, Math.floor(columns / along));
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const image = context.createImageData(width, height);
  const pixels = image.data;
  const colours = palette(kind);
  const nan = rgb("nan");
  let at = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = data[row * down * columns + column * along] ?? NaN;
      const place = Number.isNaN(value) ? -1 : kind === "signed" ? signed(value, scale) : logged(value, scale);
      const from = 3 * place;
      pixels[at] = place < 0 ? nan[0] : (colours[from] ?? 0);
      pixels[at + 1] = place < 0 ? nan[1] : (colours[from + 1] ?? 0);
      pixels[at + 2] = place < 0 ? nan[2] : (colours[from + 2] ?? 0);
      pixels[at + 3] = 255;
      at += 4;
    }
  }
  context.putImageData(image, 0, 0);
}

function signed(value: number, scale: number): number {
  if (scale === 0) return Math.abs(value) > 0 ? (value > 0 ? 255 : 0) : 128;
  return Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, value / scale)));
}

function logged(value: number, scale: number): number {
  const size = Math.abs(value);
  if (size === 0 || scale === 0) return size === Infinity ? 255 : 0;
  return Math.round(255 * Math.max(0, Math.min(1, 1 + Math.log10(size / scale) / DECADES)));
}

const palettes = new Map<string, Uint8Array>();

/** 256 colours, as red, green, blue. */
function palette(kind: Kind): Uint8Array {
  const stops =
    kind === "signed"
      ? [rgb("low-end"), rgb("low"), rgb("zero"), rgb("high"), rgb("high-end")]
      : [rgb("zero"), rgb("high"), rgb("high-end")];
  const key = stops.join(";");
  let made = palettes.get(key);
  if (made === undefined) {
    made = new Uint8Array(3 * 256);
    for (let i = 0; i < 256; i++) {
      const position = (i / 255) * (stops.length - 1);
      const at = Math.min(Math.floor(position), stops.length - 2);
      const part = position - at;
      for (let c = 0; c < 3; c++) {
        made[3 * i + c] = (stops[at]?.[c] ?? 0) * (1 - part) + (stops[at + 1]?.[c] ?? 0) * part;
      }
    }
    palettes.set(key, made);
  }
  return made;
}

/** How many values fall into each of `count` equal parts between the ends. */
export function histogram(data: Float32Array, count: number): { counts: number[]; scale: number } {
  const counts = new Array<number>(count).fill(0);
  const scale = end(data);
  for (const value of data) {
    if (!Number.isFinite(value)) continue;
    const part = scale === 0 ? 0.5 : (value / scale + 1) / 2;
    const at = Math.min(count - 1, Math.floor(part * count));
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return { counts, scale };
}
