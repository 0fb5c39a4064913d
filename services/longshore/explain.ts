/**
 * Turns an error into a sentence for a person and an exit code: 64 the command line, 1 a problem that a person can mend, 2 a
 * bug.
 *
 * The bug this prevents: "this is a bug" and a stack trace, although only a password was wrong. Loops wrap the error that ended
 * them, so the cause is looked for inside the wrapper.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { causesOf } from "@longshore/runtime/causes.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import { Usage } from "./command.ts";

export interface Explained {
  readonly exitCode: number;
  readonly text: string;
}

export function explain(error: unknown): Explained {
  if (error instanceof Usage) {
    const page = ["longshore", ...(error.page === undefined ? [] : [error.page]), "--help"].join(" ");
    return { exitCode: 64, text: `${error.message}\n${page} says what there is.` };
  }
  const all = causesOf(error, isForPerson);
  const sentences = all.map((it) => (isForPerson(it) ? it.message : undefined));
  if (sentences.length > 0 && sentences.every((it) => it !== undefined))
    return { exitCode: 1, text: [...new Set(sentences)].join("\n") };
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { exitCode: 2, text: `this is a bug; please report it with the lines below.\n${stack}` };
}

const isForPerson = (it: unknown) => it instanceof Failure || it instanceof ConfigProblems;
