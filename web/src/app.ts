// What the views know of the page.

import type { Engine } from "./engine.js";
import type { About } from "./protocol.js";

export type Phase = "loading" | "ready" | "compiling" | "training" | "paused" | "finished" | "failed";

export interface App {
  readonly engine: Engine;
  readonly phase: Phase;
  /** The session that is open. */
  readonly about: About | null;
  /** Steps done. */
  readonly step: number;
  /** The backend that the visitor asks for. */
  readonly asked: string;
  /** Something that a view asked for failed. */
  trouble(error: unknown): void;
  /** Opens the set-up of the form, if it is not open. False: it is not open, and the page says why. */
  prepare(): Promise<boolean>;
  /** One step of training. */
  one(): Promise<void>;
  /** The next call may never end: the run is kept, so that it can be opened again in another worker. */
  putBy(): Promise<void>;
  /** Training stops between two chunks. */
  pause(): Promise<void>;
}

/** The words of an error. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
