/**
 * Compares what a real cluster showed with its recording, or records it: `npm run fixtures`.
 *
 * The failure this prevents: fixtures that were true of one cluster once. Each run makes the trouble happen again, and checks
 * that a person would still be told the same.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
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
  /** The part of the sentence that a person needs. */
  readonly says: RegExp;
  /** True if the sentence depends on the machine, and only its code is the same everywhere. */
  readonly varies?: boolean;
  /** Names that differ each time, and their names in the fixture. */
  readonly renamed?: Readonly<Record<string, string>>;
}

/** Asserts the diagnosis that a person is told. If RECORD_FIXTURES is set, records it instead of comparing. */
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
    return undefined; // no recording yet: the comparison fails and says so
  }
}

/** An error in the form that JSON keeps: with its code and its causes. */
export function silenceOf(error: unknown): Silence {
  const { message, code, cause } = error as { readonly message: string; readonly code?: unknown; readonly cause?: unknown };
  return {
    message,
    ...(typeof code === "string" && { code }),
    ...(cause instanceof Error && { cause: silenceOf(cause) }),
  };
}
