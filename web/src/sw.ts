// Service worker: keeps the files of the page, so that it opens without a network.

declare const VERSION: string;
declare const FILES: string[];
/** Files that are kept once they were asked for. */
declare const LATER: string[];

/** What happens to a service worker: the part of the standard types that is used here. */
interface Happening extends Event {
  waitUntil(done: Promise<unknown>): void;
}

interface Fetching extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface Scope {
  readonly registration: { readonly scope: string };
  skipWaiting(): Promise<void>;
  addEventListener(kind: "install" | "activate", heard: (event: Happening) => void): void;
  addEventListener(kind: "fetch", heard: (event: Fetching) => void): void;
  addEventListener(kind: "message", heard: (event: MessageEvent<unknown>) => void): void;
}

const scope = self as unknown as Scope;
const root = scope.registration.scope;
/** Other pages of the same origin have caches too: the address tells them apart. */
const family = `gpu-makemore ${root} `;
const present = family + VERSION;

scope.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(present).then((cache) =>
      cache.addAll(FILES.map((file) => new Request(new URL(file, root), { cache: "reload" }))),
    ),
  );
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then((keys) =>
      Promise.all(keys.filter((key) => key.startsWith(family) && key !== present).map((key) => caches.delete(key))),
    ),
  );
});

// The page asks for the new version once the visitor agrees.
scope.addEventListener("message", (event) => {
  if (event.data === "take over") void scope.skipWaiting();
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(root)) return;
  event.respondWith(answer(request));
});

/** From the cache if it is there. A link with a set-up is the page itself. */
async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(present);
  const kept = await cache.match(request.mode === "navigate" ? root : request, { ignoreSearch: true });
  if (kept !== undefined) return kept;
  const response = await fetch(request);
  if (response.ok && LATER.some((file) => new URL(file, root).href === request.url)) {
    // A full storage keeps the file from lasting, not from being used.
    await cache.put(request, response.clone()).catch(() => undefined);
  }
  return response;
}
