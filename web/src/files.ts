// The files of the kernels, to choose from.

import { make } from "./dom.js";
import type { SourceFile } from "./protocol.js";

/** The folders that they are in. */
const GROUPS = [
  ["", "formulas"],
  ["chunked", "line by line"],
  ["resident", "resident"],
  ["staged", "staged"],
] as const;

/** What a list of them offers. */
export function options(files: readonly SourceFile[]): HTMLElement[] {
  const folder = (name: string) => (name.includes("/") ? name.slice(0, name.indexOf("/")) : "");
  return GROUPS.flatMap(([under, label]) => {
    const there = files.filter(({ file }) => folder(file) === under);
    return there.length === 0 ? [] : [make("optgroup", { label }, ...there.map(({ file }) => make("option", { value: file }, file)))];
  });
}
