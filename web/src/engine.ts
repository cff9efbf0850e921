// The page's side of a worker.

import type { Calls, Happened, Offered, Reply } from "./protocol.js";

/** An error whose engine cannot be used again. */
export class Fatal extends Error {}

/** A call whose worker was replaced: what comes after it has been told already. */
export class Replaced extends Error {}

interface Waiting {
  readonly done: (result: unknown) => void;
  readonly failed: (error: Error) => void;
}

/** A worker that is asked for `C`. */
export class Engine<C extends Offered<C> = Calls> {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;
  private ended = false;

  constructor(file: "worker" | "lessons", heard: (event: Happened) => void) {
    this.worker = new Worker(new URL(`./${file}.js`, import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (this.ended) return;
      if ("event" in data) {
        heard(data);
        return;
      }
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("error" in data) {
        waiting?.failed(data.fatal ? new Fatal(data.error) : new Error(data.error));
      } else {
        waiting?.done(data.result);
      }
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const text = event.message ? `The worker stopped: ${event.message}` : "The worker could not be loaded.";
      if (!this.ended) heard({ event: "failed", text, fatal: true });
    };
  }

  call<K extends keyof C>(call: K, ...args: Parameters<C[K]>): Promise<ReturnType<C[K]>> {
    return new Promise((done, failed) => {
      const id = this.count++;
      this.waiting.set(id, { done: (result) => done(result as ReturnType<C[K]>), failed });
      this.worker.postMessage({ id, call, args });
    });
  }

  end(): void {
    this.ended = true;
    this.worker.terminate();
    for (const { failed } of this.waiting.values()) failed(new Replaced());
    this.waiting.clear();
  }
}
