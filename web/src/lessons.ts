// Owns the engine that checks exercises. It is another one than the training's, so that no check delays a training
// or ends it.

import init, { exercise_help, exercises, open_checker } from "../pkg/gpu_makemore_lessons.js";
import type { Checker, OwnTraining } from "../pkg/gpu_makemore_lessons.js";
import { answer, exclusive } from "./handle.js";
import type { LessonCalls } from "./protocol.js";

let loaded: Promise<unknown> | undefined;
let checker: Checker | null = null;
let own: OwnTraining | null = null;

function open(): Checker {
  if (checker === null) throw new Error("No checker is open.");
  return checker;
}

/** Frees the training, if there is one. */
function free(): void {
  own?.free();
  own = null;
}

answer<LessonCalls>({
  async exercises() {
    await (loaded ??= init());
    return exercises();
  },

  async help(name) {
    await (loaded ??= init());
    return exercise_help(name);
  },

  open: (backend) =>
    exclusive(async () => {
      await (loaded ??= init());
      checker ??= await open_checker(backend);
      return checker.place();
    }),

  check: (name, text) => exclusive(() => open().check(name, text)),

  train: (texts, steps) =>
    exclusive(async () => {
      free();
      own = await open().train(texts, steps);
    }),

  advance: () =>
    exclusive(() => {
      if (own === null) throw new Error("The training ended with the checker it ran in.");
      return own.advance();
    }),

  stop: () => exclusive(free),
  leave: async () => undefined,
});
