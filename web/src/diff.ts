// The right text and a wrong one, one above the other.

import { make } from "./dom.js";

/** Both, with the words marked in which they differ. */
export function diff(from: string, to: string): HTMLElement {
  const [right, wrong] = apart(from, to);
  return make(
    "dl",
    { class: "diff" },
    make("div", {}, make("dt", {}, "right"), make("dd", {}, marked("ins", right))),
    make("div", { class: "broken" }, make("dt", {}, "wrong"), make("dd", {}, marked("del", wrong))),
  );
}

/** A piece of a text, and whether the other text lacks it. */
type Piece = readonly [text: string, differs: boolean];

/** Two texts, word by word: the longest common sequence of words is what they share. */
function apart(from: string, to: string): readonly [Piece[], Piece[]] {
  const split = (text: string) => text.match(/\w+(?:\.\w+)*|\s+|[^]/g) ?? [];
  const [a, b] = [split(from), split(to)];
  const common = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const row = common[i];
      if (row) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const [right, wrong]: [Piece[], Piece[]] = [[], []];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [word, other] = [a[i], b[j]];
    if (word !== undefined && word === other) {
      right.push([word, false]);
      wrong.push([word, false]);
      i++;
      j++;
    } else if (word !== undefined && (other === undefined || at(i + 1, j) >= at(i, j + 1))) {
      right.push([word, true]);
      i++;
    } else {
      wrong.push([other ?? "", true]);
      j++;
    }
  }
  return [right, wrong];
}

function marked(tag: "ins" | "del", pieces: readonly Piece[]): HTMLElement {
  return make("pre", {}, ...pieces.map(([text, differs]) => (differs && text.trim() !== "" ? make(tag, {}, text) : text)));
}
