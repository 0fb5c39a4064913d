#!/usr/bin/env node
/** `npx longshore …`: the same program as `npm run longshore -- …`, under the Node that it needs. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

process.argv.splice(2, 0, join(dirname(fileURLToPath(import.meta.url)), "main.ts"));
await import("./bootstrap.mjs");
