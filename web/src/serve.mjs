// Serves dist/ on this machine: `web/serve [PORT]`. (esbuild's own command ends where standard input is closed.)

import { context } from "esbuild";
import { fileURLToPath } from "node:url";

const wanted = process.argv[2] ?? "8000";
const port = Number(wanted);
if (!Number.isInteger(port) || port < 1 || port > 65_535) {
  console.error(`web/serve ${wanted}: a port from 1 to 65535 is wanted`);
  process.exit(2);
}
const server = await context({ logLevel: "silent" });
try {
  const served = await server.serve({
    servedir: fileURLToPath(new URL("../dist", import.meta.url)),
    host: "127.0.0.1",
    port,
  });
  console.log(`http://127.0.0.1:${served.port}/    (Ctrl-C ends it)`);
} catch (error) {
  console.error(`port ${port} cannot be had: ${error.message}; web/serve PORT takes another`);
  process.exit(1);
}
