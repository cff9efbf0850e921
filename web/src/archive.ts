// Zip files. Loaded when the first is made or opened.

import { strToU8, unzipSync, zipSync } from "fflate";

/** Texts as a zip file. */
export function pack(texts: Readonly<Record<string, string>>): Uint8Array {
  return zipSync(Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, strToU8(text)])));
}

/** The files of a zip file. Those of more than `most` bytes are told to `large`, and not unpacked. */
export function unpack(bytes: Uint8Array, most: number, large: (name: string) => void): Map<string, Uint8Array> {
  const files = unzipSync(bytes, {
    filter: ({ name, originalSize }) => {
      if (originalSize > most) large(name);
      return originalSize <= most && !name.endsWith("/");
    },
  });
  return new Map(Object.entries(files));
}
