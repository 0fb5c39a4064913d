/**
 * `npm run contracts`: writes the schemas of the messages to published/ and the tables of README.md, and removes files that are no
 * longer part of them.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { printed, published } from "./schemas.ts";
import { withTables } from "./tables.ts";

export const FOLDER = join(import.meta.dirname, "published");
export const README = join(import.meta.dirname, "README.md");

function publish(): void {
  const files = published();
  mkdirSync(FOLDER, { recursive: true });
  for (const name of readdirSync(FOLDER)) if (!files.has(name)) rmSync(join(FOLDER, name));
  for (const [name, content] of files) writeFileSync(join(FOLDER, name), `${printed(content)}\n`);
  writeFileSync(README, withTables(readFileSync(README, "utf8")));
  process.stdout.write(`${files.size} files are written to packages/contract/published, and the tables to its README.md.\n`);
}

if (import.meta.main) publish();
