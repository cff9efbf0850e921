// The page's side of a worker.

import type { Calls, Happened, Offered, Reply } from "./protocol.js";

/** An error whose engine cannot be used again. */
export class Fatal extends Error {}

/** A call that was not answered in time: its worker may never come back. */
export class Hung extends Fatal {}

/** A call whose worker was replaced: what comes after it has been told already. */
export class Replaced extends Error {}

/** Milliseconds after which a worker that does not even leave is ended. */
const LEAVING = 1000;

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

  /** A call that has `limit` milliseconds, or all the time it needs if that is null. `why` is the error of one that takes longer. */
  within<K extends keyof C>(limit: number | null, why: string, call: K, ...args: Parameters<C[K]>): Promise<ReturnType<C[K]>> {
    return new Promise((done, failed) => {
      const timer = limit === null ? undefined : setTimeout(() => failed(new Hung(why)), limit);
      this.call(call, ...args)
        .then(done, failed)
        .finally(() => clearTimeout(timer));
    });
  }

  /**
   * Ends it. One that hung may wait for a kernel that never ends. If it still answers, it is asked to leave and left to
   * wait: Chromium would wait as well to close its GPU device, and paint nothing meanwhile.
   */
  end(hung = false): void {
    this.ended = true;
    if (hung) {
      const timer = setTimeout(() => this.worker.terminate(), LEAVING);
      this.worker.onmessage = () => clearTimeout(timer);
      this.worker.postMessage({ id: this.count++, call: "leave", args: [] });
    } else this.worker.terminate();
    for (const { failed } of this.waiting.values()) failed(new Replaced());
    this.waiting.clear();
  }
}
