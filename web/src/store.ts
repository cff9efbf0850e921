// What the browser keeps, in IndexedDB: the present run and the one before it, and the layouts that were measured.

import type { Kept, Tunings, ValidationPoint, Words } from "./protocol.js";

/** A run with what is needed to continue it. */
export interface Run extends Kept {
  readonly id: string;
  /** The engine's checkpoint. */
  readonly bytes: Uint8Array;
  readonly backend: string;
  /** Lines of the log that belong to steps. */
  readonly log: string[];
  readonly validation: ValidationPoint[];
}

export type Place = "current" | "earlier";

const RUNS = "runs";
/** Files of words, by the run's id. They are large and do not change, so they are written once. */
const FILES = "files";

/** Texts by their keys. */
const TUNINGS = "tunings";
/** This many layouts are kept. They are small, and a visitor who tries that many sizes can measure them again. */
const MOST_TUNINGS = 500;

/** A database that is opened when it is first needed. */
class Base {
  private opened: Promise<IDBDatabase> | undefined;

  constructor(
    private readonly name: string,
    private readonly stores: readonly string[],
  ) {}

  open(): Promise<IDBDatabase> {
    this.opened ??= new Promise<IDBDatabase>((done, failed) => {
      const request = indexedDB.open(this.name, 1);
      request.onupgradeneeded = () => {
        for (const store of this.stores) request.result.createObjectStore(store);
      };
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(request.error ?? new Error("IndexedDB does not open."));
    }).catch((error: unknown) => {
      this.opened = undefined;
      throw error;
    });
    return this.opened;
  }
}

const runs = new Base("gpu-makemore", [RUNS, FILES]);
/** A database of its own: a tab with an older version of the page could keep a new store out of the other one. */
const measured = new Base("gpu-makemore-tunings", [TUNINGS]);

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error ?? new Error("IndexedDB does not answer."));
  });
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((done, failed) => {
    const fail = () => failed(transaction.error ?? new Error("IndexedDB does not write."));
    transaction.oncomplete = () => done();
    transaction.onabort = fail;
    transaction.onerror = fail;
  });
}

export async function read(place: Place): Promise<Run | undefined> {
  const store = (await runs.open()).transaction(RUNS).objectStore(RUNS);
  return (await result(store.get(place))) as Run | undefined;
}

export async function words(id: string): Promise<Words | undefined> {
  const store = (await runs.open()).transaction(FILES).objectStore(FILES);
  return (await result(store.get(id))) as Words | undefined;
}

/** Writes a run. Files of words that no run needs any more are removed. */
export async function write(changed: Partial<Record<Place, Run>>, file: Words | undefined, id: string): Promise<void> {
  const transaction = (await runs.open()).transaction([RUNS, FILES], "readwrite");
  const done = finished(transaction);
  const store = transaction.objectStore(RUNS);
  const files = transaction.objectStore(FILES);
  for (const place of ["current", "earlier"] as const) {
    const run = changed[place];
    if (run !== undefined) store.put(run, place);
  }
  const keys = files.getAllKeys();
  keys.onsuccess = () => {
    const all = store.getAll();
    all.onsuccess = () => {
      const used = new Set((all.result as Run[]).map((run) => run.id));
      for (const key of keys.result) if (!used.has(String(key))) files.delete(key);
      if (file !== undefined && used.has(id) && !keys.result.includes(id)) files.put(file, id);
    };
  };
  await done;
}

/** The layouts that were measured. Where nothing can be kept, nothing is: then they are measured again. */
export const tunings: Tunings = {
  async load(key) {
    try {
      const store = (await measured.open()).transaction(TUNINGS).objectStore(TUNINGS);
      const text: unknown = await result(store.get(key));
      return typeof text === "string" ? text : undefined;
    } catch {
      return undefined;
    }
  },

  async save(key, text) {
    try {
      const transaction = (await measured.open()).transaction(TUNINGS, "readwrite");
      const done = finished(transaction);
      const store = transaction.objectStore(TUNINGS);
      const count = store.count();
      count.onsuccess = () => {
        if (count.result >= MOST_TUNINGS) store.clear();
        store.put(text, key);
      };
      await done;
    } catch {
      // The next session measures again.
    }
  },
};
