// The `cmp` table: a row for each tensor, as the program prints it.

import { make, short } from "./dom.js";
import type { Inspection } from "./protocol.js";

const HEAD = ["name", "exact", "approximate", "maxdiff", "allowed", "by", "verdict"];

/** The table around its rows. */
export function table(id: string, rows: HTMLElement): HTMLElement {
  return make(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": "cmp table" },
    make(
      "table",
      { id, class: "cmp" },
      make("thead", {}, make("tr", {}, ...HEAD.map((text) => make("th", { scope: "col" }, text)))),
      rows,
    ),
  );
}

/** The rows. With `open`, each name is a button. */
export function lines(tensors: Inspection["tensors"], open?: (name: string) => void): HTMLElement[] {
  const torch = (value: boolean) => (value ? "True" : "False");
  return tensors.map(({ name, row }) => {
    let title: HTMLElement | string = name;
    if (open !== undefined) {
      title = make("button", { type: "button", class: "link" }, name);
      title.addEventListener("click", () => open(name));
    }
    const cells = [torch(row.exact), torch(row.approximate), short(row.maxdiff), short(row.allowed), row.by, row.pass ? "ok" : "wrong"];
    const line = make("tr", {}, make("th", { scope: "row" }, title), ...cells.map((text) => make("td", {}, text)));
    if (!row.pass) line.classList.add("wrong");
    return line;
  });
}
