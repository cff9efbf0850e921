// What crosses between the page and its workers.

import type { Checked, Help, Lessons, OwnProgress, Place, Texts } from "../pkg/gpu_makemore_lessons.js";
import type {
  About,
  Derivations,
  Finished,
  Inspection,
  Judged,
  Mistakes,
  Names,
  Next,
  Progress,
  Settings,
  Setup,
  SourceErrors,
  Sources,
  TrialProgress,
  ValidationPoint,
  Words,
} from "../pkg/gpu_makemore_web.js";
import type { Run } from "./store.js";

export type { Checked, Compared, Help, Lesson, Lessons, OwnProgress, Place, Texts } from "../pkg/gpu_makemore_lessons.js";
export type * from "../pkg/gpu_makemore_web.js";

/** A run that the browser keeps, without its bytes. */
export interface Kept {
  readonly step: number;
  readonly steps: number;
  readonly finished: boolean;
}

/** What the worker tells when the engine is loaded. */
export interface Start {
  readonly settings: Settings;
  readonly derivations: Derivations;
  /** The run kept by this browser, if this tab may continue it. */
  readonly current: Kept | null;
  /** The run before it. */
  readonly earlier: Kept | null;
}

/** A session that is open. */
export interface Opened {
  readonly about: About;
  /** The log so far. */
  readonly log: string[];
  /** Validation losses so far, as far as they are known. */
  readonly validation: ValidationPoint[];
  /** The backend that was asked for. */
  readonly backend: string;
  /** The words, if they came from a file. */
  readonly file: Words | undefined;
  /** The run that can be brought back. */
  readonly earlier: Kept | null;
}

/** A run that the page has put by. */
export interface Copy {
  readonly run: Run;
  /** Its words, if they came from a file. */
  readonly file: Words | undefined;
}

/** What the page can ask for. */
export interface Calls {
  /** Loads the engine. */
  start(): Start;
  /** Opens a session. The run before it stays as the earlier one. */
  open(setup: Setup): Opened;
  /** Continues a run from a file. */
  resume(bytes: Uint8Array, file: Words | undefined, backend: string, tune: string): Opened;
  /** Continues the run that the browser keeps. */
  proceed(): Opened;
  /** Brings back the earlier run; the present one takes its place. */
  undo(): Opened;
  /** Trains until the end, or until `pause`. */
  train(): void;
  /** Stops between two chunks. */
  pause(): void;
  /** Does one step. */
  step(): void;
  /** The page is hidden: keep the run now. */
  hide(): void;
  /** Keeps the run now and gives a copy of it, if it has done a step. */
  copy(): Copy | null;
  /** Opens a copy again, or what the browser keeps of the same run if that is further; on that backend. */
  restore(copy: Copy, backend: string): Opened;
  names(count: number): Names;
  next(prefix: string): Next;
  embeddings(): Float32Array;
  saturation(): Float32Array;
  inspect(): Inspection;
  /** The mistakes that can be made. */
  mistakes(): Mistakes;
  /** Makes a mistake in a kernel, for a training of this many steps. It replaces the mistake before it. */
  breakIt(name: string, steps: number): void;
  /** The files of the kernels. */
  sources(): Sources;
  /** What the compiler says of other text in a file. */
  compile(file: string, text: string): SourceErrors;
  /** Puts other text into a file, as `breakIt` makes a mistake. */
  breakBy(file: string, text: string, steps: number): void;
  /** How many mistakes are there to be found; they are numbered from 1. */
  hunts(): number;
  /** Makes one of them, as `breakIt` does, and does not tell which. */
  hunt(number: number, steps: number): void;
  /** Whether it is in that line. */
  huntGuess(number: number, file: string, line: number): Judged;
  /** Which line it is in. */
  huntGiveUp(number: number): Judged;
  /** One step with the mistake. */
  inspectBroken(): Inspection;
  /** Some steps with the mistake, or without it, whichever is behind. */
  trainBroken(): TrialProgress;
  /** Frees the mistake, if there is one. */
  mend(): void;
  /** Gives up its run, for a worker that takes its place. */
  leave(): void;
  /** The run as a file. */
  run(): Uint8Array;
  /** The model as a file. */
  model(): Uint8Array;
}

/** What the page can ask the worker for that checks exercises. */
export interface LessonCalls {
  /** Loads the engine. */
  exercises(): Lessons;
  help(name: string): Help;
  /** Opens what checks, once. */
  open(backend: string): Place;
  check(name: string, text: string): Checked;
  /** Begins a training with a learner's own gradients. It replaces the one before it. */
  train(texts: Texts, steps: number): void;
  /** Some steps of it. */
  advance(): OwnProgress;
  /** Frees it. */
  stop(): void;
  /** Nothing is asked of it any more. */
  leave(): void;
}

/** Calls of any kind. */
export type Offered<C> = { [K in keyof C]: (...args: never[]) => unknown };

/** One message in. */
export type Message<C extends Offered<C> = Calls> = {
  [K in keyof C]: { readonly id: number; readonly call: K; readonly args: Parameters<C[K]> };
}[keyof C];

/** What the worker tells unasked. */
export type Happened =
  | { readonly event: "progress"; readonly progress: Progress }
  | { readonly event: "names"; readonly step: number; readonly names: Names }
  | { readonly event: "finished"; readonly finished: Finished }
  | { readonly event: "saved"; readonly step: number; readonly earlier: Kept | null }
  | { readonly event: "note"; readonly text: string }
  /** `fatal`: the engine cannot be used again, the worker must be replaced. */
  | { readonly event: "failed"; readonly text: string; readonly fatal: boolean };

/** One message out. */
export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string; readonly fatal: boolean }
  | Happened;
