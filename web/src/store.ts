// The runs that the browser keeps: the present one and the one before it, in IndexedDB.

import type { Kept, ValidationPoint, Words } from "./protocol.js";

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

let opened: Promise<IDBDatabase> | undefined;

function base(): Promise<IDBDatabase> {
  opened ??= new Promise<IDBDatabase>((done, failed) => {
    const request = indexedDB.open("gpu-makemore", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RUNS);
      request.result.createObjectStore(FILES);
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error ?? new Error("IndexedDB does not open."));
  }).catch((error: unknown) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

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
  const store = (await base()).transaction(RUNS).objectStore(RUNS);
  return (await result(store.get(place))) as Run | undefined;
}

export async function words(id: string): Promise<Words | undefined> {
  const store = (await base()).transaction(FILES).objectStore(FILES);
  return (await result(store.get(id))) as Words | undefined;
}

/** Writes a run. Files of words that no run needs any more are removed. */
export async function write(runs: Partial<Record<Place, Run>>, file: Words | undefined, id: string): Promise<void> {
  const transaction = (await base()).transaction([RUNS, FILES], "readwrite");
  const done = finished(transaction);
  const store = transaction.objectStore(RUNS);
  const files = transaction.objectStore(FILES);
  for (const place of ["current", "earlier"] as const) {
    const run = runs[place];
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
