// Light and dark: the system's choice, or the visitor's.

import { box, button, say } from "./dom.js";

const KEY = "gpu-makemore-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const changed = new Set<() => void>();
const known = new Map<string, string>();
const probe = document.createElement("span");

export function dark(): boolean {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === undefined ? system.matches : chosen === "dark";
}

/** A colour of the style sheet, for a canvas: `rgb(…)`. */
export function colour(name: string): string {
  let value = known.get(name);
  if (value === undefined) {
    if (!probe.isConnected) document.body.append(probe);
    probe.hidden = true;
    probe.style.color = `var(--${name})`;
    value = getComputedStyle(probe).color;
    known.set(name, value);
  }
  return value;
}

/** Red, green and blue of a colour of the style sheet. */
export function rgb(name: string): readonly [number, number, number] {
  const [red = 0, green = 0, blue = 0] = (colour(name).match(/[\d.]+/g) ?? []).map(Number);
  return [red, green, blue];
}

/** Calls back when the colours change. */
export function recoloured(call: () => void): void {
  changed.add(call);
}

function apply(): void {
  known.clear();
  const toggle = button("theme");
  say(toggle, dark() ? "Light" : "Dark");
  toggle.setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
  for (const call of changed) call();
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function begin(): void {
  const root = box("main").ownerDocument.documentElement;
  const chosen = read();
  if (chosen === "dark" || chosen === "light") root.dataset["theme"] = chosen;
  button("theme").addEventListener("click", () => {
    const theme = dark() ? "light" : "dark";
    root.dataset["theme"] = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
