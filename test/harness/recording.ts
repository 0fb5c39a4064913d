/**
 * Holds what a real cluster showed against what was recorded of it, or records it: `npm run fixtures`.
 *
 * The failure this prevents: fixtures that were true of one cluster, once. Each run makes it happen again and asks whether a
 * person would still be told the same.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Code } from "@longshore/contract/diagnosis.ts";
import { type Recorded, type Recording, type Silence, toldOf } from "@longshore/domain/diagnosis/testing/recorded.ts";
import type { Test } from "tap";
import { normalised } from "./normalised.ts";

const FOLDER = resolve(import.meta.dirname, "../../packages/domain/diagnosis/testing/fixtures");

export interface Happening {
  /** The fixture's file: "quota-of-jobs-is-full". */
  readonly name: string;
  readonly happened: string;
  readonly kubernetes: string;
  readonly seen: Recording;
  readonly code: Code;
  /** What a person needs to find in the sentence. */
  readonly says: RegExp;
  /** The sentence depends on the machine; only its code is the same everywhere. */
  readonly varies?: boolean;
  /** Names that differ each time, and what they are called in the fixture. */
  readonly renamed?: Readonly<Record<string, string>>;
}

/** Asserts what is told of it; with RECORD_FIXTURES set, keeps it. */
export function recorded(
  t: Test,
  { name, happened, kubernetes, seen: raw, code, says, varies = false, renamed = {} }: Happening,
): void {
  const seen = normalised(raw, renamed);
  const found = toldOf(seen);
  t.equal(found?.code, code, `${name}: ${found?.sentence ?? "nothing is told"}`);
  t.match(found?.sentence, says);
  if (found === undefined) {
    t.comment(JSON.stringify(seen, null, 2));
    return;
  }
  const told: Recorded["told"] = { code: found.code, sentence: found.sentence, hint: found.hint };
  const file = join(FOLDER, `${name}.json`);
  if (process.env["RECORD_FIXTURES"] === undefined) {
    const before = read(file)?.told;
    t.same(
      varies ? before?.code : before,
      varies ? told.code : told,
      `as it was recorded in ${name}.json (npm run fixtures records it again)`,
    );
    return;
  }
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ happened, kubernetes, told, seen }, null, 2)}\n`);
}

function read(file: string): Recorded | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Recorded;
  } catch {
    return undefined; // none was recorded: the comparison says so
  }
}

/** An error as JSON keeps it: with its code and its causes. */
export function silenceOf(error: unknown): Silence {
  const { message, code, cause } = error as { readonly message: string; readonly code?: unknown; readonly cause?: unknown };
  return {
    message,
    ...(typeof code === "string" && { code }),
    ...(cause instanceof Error && { cause: silenceOf(cause) }),
  };
}
