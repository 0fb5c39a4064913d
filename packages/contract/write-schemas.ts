/** `npm run contracts`: writes the schemas of the messages to published/, and removes files that are no longer part of them. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { printed, published } from "./schemas.ts";

export const FOLDER = join(import.meta.dirname, "published");

function publish(): void {
  const files = published();
  mkdirSync(FOLDER, { recursive: true });
  for (const name of readdirSync(FOLDER)) if (!files.has(name)) rmSync(join(FOLDER, name));
  for (const [name, content] of files) writeFileSync(join(FOLDER, name), `${printed(content)}\n`);
  process.stdout.write(`${files.size} files are written to packages/contract/published.\n`);
}

if (import.meta.main) publish();
