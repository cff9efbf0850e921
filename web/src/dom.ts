// Short ways to the document.

/** The element of an id, which must be of that kind. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} "${id}".`);
  return found;
}

export const button = (id: string) => byId(id, HTMLButtonElement);
export const box = (id: string) => byId(id, HTMLElement);

/** A new element. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets a text, if it is another one: screen readers speak what changes. */
export function say(where: Element, text: string): void {
  if (where.textContent !== text) where.textContent = text;
}

/** Lets the browser paint and hear clicks before more work is done. */
export function breathe(): Promise<void> {
  return new Promise((done) => setTimeout(done));
}

/** Gives a file to the visitor. */
export function save(name: string, bytes: Uint8Array): void {
  const address = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  const link = make("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** A whole number with separators: 61,000. */
export function whole(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

/** A number of a tensor. */
export function real(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text = size === 0 || (size >= 1e-3 && size < 1e5) ? String(+value.toPrecision(5)) : value.toExponential(3);
  return text.replaceAll("-", "−");
}

/** A number of the `cmp` table, as the program prints it. */
export function short(value: number): string {
  return value === 0 ? "0.0" : value.toExponential(2);
}

/** Microseconds, in three digits. */
export function micro(value: number): string {
  return value < 1000 ? `${value.toPrecision(3)} µs` : `${(value / 1000).toPrecision(3)} ms`;
}

export function shape(sizes: readonly number[]): string {
  return sizes.length === 1 ? `(${sizes[0]},)` : `(${sizes.join(", ")})`;
}

/** Of two buttons in one place shows the second while something runs. The focus goes along. */
export function takeTurns(start: HTMLElement, stop: HTMLElement, running: boolean): void {
  const focused = document.activeElement;
  start.hidden = running;
  stop.hidden = !running;
  if (focused === start && running) stop.focus();
  if (focused === stop && !running) start.focus();
}

/** Arrow keys, Home and End move along the buttons of a list. */
export function arrows(list: HTMLElement, select: string, choose = false): void {
  list.addEventListener("keydown", (event) => {
    const items = [...list.querySelectorAll<HTMLElement>(select)];
    const at = items.findIndex((item) => item === document.activeElement);
    if (at < 0) return;
    const ways: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      Home: 0,
      End: items.length - 1,
    };
    const to = ways[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const item = items[Math.min(Math.max(to, 0), items.length - 1)];
    item?.focus();
    if (choose) item?.click();
  });
}
