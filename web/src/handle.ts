// What both workers do: calls come in, answers go out.

import type { Happened, Message, Offered, Reply } from "./protocol.js";

/** The part of a worker's global object that is used here. */
interface Scope<C extends Offered<C>> {
  onmessage: ((event: MessageEvent<Message<C>>) => void) | null;
  postMessage(reply: Reply): void;
}

/** A function for each call. */
export type Handlers<C extends Offered<C>> = { [K in keyof C]: (...args: Parameters<C[K]>) => Promise<ReturnType<C[K]>> };

/** Answers calls from now on. */
export function answer<C extends Offered<C>>(handlers: Handlers<C>): void {
  const scope = self as unknown as Scope<C>;
  scope.onmessage = ({ data: { id, call, args } }) => {
    const handler = handlers[call] as (...args: unknown[]) => Promise<unknown>;
    handler(...args).then(
      (result) => scope.postMessage({ id, result }),
      (error: unknown) => scope.postMessage({ id, error: text(error), fatal: fatal(error) }),
    );
  };
}

/** Tells the page what it did not ask for. */
export function tell(event: Happened): void {
  (self as unknown as Pick<Scope<never>, "postMessage">).postMessage(event);
}

let tail: Promise<unknown> = Promise.resolve();

/** Work that waits for the work before it. */
export function exclusive<T>(work: () => T | Promise<T>): Promise<T> {
  const result = tail.then(work);
  tail = result.catch(() => undefined);
  return result;
}

export function text(error: unknown): string {
  if (fatal(error)) return `The engine stopped: ${(error as Error).message}.`;
  return error instanceof Error ? error.message : String(error);
}

/** After a panic of the engine nothing in its memory can be trusted. */
export function fatal(error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError || error instanceof WebAssembly.CompileError;
}
