// A learner's texts and what they are worth. This browser keeps them.

import { words } from "./app.js";
import type { Lesson } from "./protocol.js";

const KEY = "gpu-makemore-exercises";
const VERSION = 1;
/** Milliseconds without a key before what was written is kept. */
const TYPING = 400;

/** `begun`: the text was not checked as it is now. */
export type State = "not begun" | "begun" | "wrong" | "right";

/** What the check said of a text. */
export type Worth = "wrong" | "right";

/** An exercise in the storage. */
interface Kept {
  readonly text: string;
  /** What the check said of exactly this text. */
  readonly worth?: Worth | undefined;
  /** The task that it was said of: another version of the page may ask for something else. */
  readonly task: number;
  /** The text before, where it was replaced as a whole. */
  readonly other?: string | undefined;
}

/** An exercise in this page. */
interface Work {
  text: string;
  /** The text that was checked last, and what it is worth. */
  checked: { readonly text: string; readonly worth: Worth } | null;
  other: string | undefined;
  /** The text that the storage had when this page last read or wrote it. */
  stored: string | undefined;
  /** Whether it was changed in this page. */
  changed: boolean;
  /** Whether that is still to be kept. */
  waiting: boolean;
}

export class Learner {
  private readonly works = new Map<string, Work>();
  private readonly tasks = new Map<string, string>();
  private timer = 0;
  /** The last complaint, so that each is told once. */
  private complaint = "";

  /** Names of exercises whose stored verdict was given by another version of the page. */
  readonly doubtful: string[] = [];

  /** `taken`: another page of this browser has changed an exercise. */
  constructor(
    lessons: readonly Lesson[],
    private readonly taken: (name: string) => void,
    private readonly complain: (text: string) => void,
  ) {
    for (const { name, text } of lessons) this.tasks.set(name, text);
    let kept: Record<string, unknown> = {};
    try {
      kept = read(localStorage.getItem(KEY));
    } catch (error) {
      this.fails(error);
    }
    for (const { name } of lessons) this.take(name, entry(kept[name]));
    addEventListener("storage", ({ key, newValue }) => {
      if (key === KEY && newValue !== null) this.heard(newValue);
    });
    const hidden = () => this.save();
    addEventListener("pagehide", hidden);
    document.addEventListener("visibilitychange", hidden);
  }

  text(name: string): string {
    return this.work(name).text;
  }

  state(name: string): State {
    const { text, checked } = this.work(name);
    if (text === this.tasks.get(name)) return "not begun";
    return checked?.text === text ? checked.worth : "begun";
  }

  /** The text that was replaced as a whole. */
  other(name: string): string | undefined {
    const { text, other } = this.work(name);
    return other === text ? undefined : other;
  }

  /** The learner has written. */
  write(name: string, text: string): void {
    const work = this.work(name);
    if (work.text === text) return;
    work.text = text;
    work.changed = true;
    this.later(work);
  }

  /** Puts a whole text in the place of another one, which can be brought back. */
  replace(name: string, text: string): void {
    const work = this.work(name);
    if (work.text === text) return;
    if (this.state(name) !== "not begun") work.other = work.text;
    this.write(name, text);
  }

  /** What a check says of a text. */
  judge(name: string, text: string, worth: Worth): void {
    const work = this.work(name);
    work.checked = { text, worth };
    if (work.text === text) this.later(work);
  }

  /** Keeps what has changed. */
  save(): void {
    clearTimeout(this.timer);
    const waiting = [...this.works].filter(([, work]) => work.waiting);
    if (waiting.length === 0) return;
    try {
      const kept = read(localStorage.getItem(KEY));
      for (const [name, work] of waiting) {
        // Another page has written meanwhile: neither text is lost.
        const there = entry(kept[name])?.text;
        if (there !== undefined && there !== work.stored && there !== work.text) work.other = there;
        const { text, other, checked } = work;
        const task = hash(this.tasks.get(name) ?? "");
        if (this.state(name) === "not begun" && this.other(name) === undefined) delete kept[name];
        else kept[name] = { text, task, other, worth: checked?.text === text ? checked.worth : undefined } satisfies Kept;
      }
      localStorage.setItem(KEY, JSON.stringify({ version: VERSION, exercises: kept }));
      for (const [name, work] of waiting) {
        work.waiting = false;
        work.stored = entry(kept[name])?.text;
      }
      this.fails(null);
    } catch (error) {
      this.fails(error);
    }
  }

  private work(name: string): Work {
    const work = this.works.get(name);
    if (work === undefined) throw new Error(`There is no exercise ${name}.`);
    return work;
  }

  private later(work: Work): void {
    work.waiting = true;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.save(), TYPING);
  }

  /** Takes over what the storage has of an exercise. */
  private take(name: string, kept: Kept | undefined): void {
    const task = this.tasks.get(name) ?? "";
    const text = kept?.text ?? task;
    const known = kept?.task === hash(task);
    if (kept?.worth !== undefined && !known) this.doubtful.push(name);
    this.works.set(name, {
      text,
      checked: known && kept.worth !== undefined ? { text, worth: kept.worth } : null,
      other: kept?.other,
      stored: kept?.text,
      changed: false,
      waiting: false,
    });
  }

  /** Another page has written. What was changed here stays, and the other text can be had. */
  private heard(json: string): void {
    let kept: Record<string, unknown>;
    try {
      kept = read(json);
    } catch {
      return;
    }
    for (const [name, work] of this.works) {
      const there = entry(kept[name]);
      const before = `${this.state(name)} ${work.text} ${work.other}`;
      if (!work.changed) this.take(name, there);
      else if (there !== undefined && there.text !== work.text) work.other = there.text;
      const { text, other } = this.work(name);
      if (before !== `${this.state(name)} ${text} ${other}`) this.taken(name);
    }
  }

  private fails(error: unknown): void {
    const text = error === null ? "" : complaint(error);
    if (text !== this.complaint) this.complain(text);
    this.complaint = text;
  }
}

function complaint(error: unknown): string {
  const why =
    error instanceof DOMException && error.name === "QuotaExceededError"
      ? "the browser's storage is full"
      : error instanceof DOMException
        ? "the browser allows this page no storage"
        : words(error);
  return `What you write is not kept over a reload: ${why}. Export your files before you leave.`;
}

/** The exercises of a stored text. What this page cannot read is left as it is. */
function read(json: string | null): Record<string, unknown> {
  if (json === null) return {};
  let stored: { version?: unknown; exercises?: unknown } | null = null;
  try {
    stored = JSON.parse(json);
  } catch {
    // Told below.
  }
  if (stored?.version !== VERSION || typeof stored.exercises !== "object" || stored.exercises === null) {
    throw new Error("what the browser has kept is of another version of this page, and stays as it is");
  }
  return stored.exercises as Record<string, unknown>;
}

function entry(value: unknown): Kept | undefined {
  const { text, worth, task, other } = (value ?? {}) as Record<string, unknown>;
  if (typeof text !== "string") return undefined;
  return {
    text,
    worth: worth === "right" || worth === "wrong" ? worth : undefined,
    task: typeof task === "number" ? task : 0,
    other: typeof other === "string" ? other : undefined,
  };
}

/** FNV-1a: tells versions of a task apart. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return sum >>> 0;
}
