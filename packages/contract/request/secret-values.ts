/**
 * Secret values that a run brings with it: given once in the request, and named by the steps that need them.
 *
 * The failure this prevents: a password in `env` or in a parameter, which then stands in the ledger, in the Job and in the hands
 * of everybody who may look at either.
 */
import { z } from "zod";
import type { RunRequest, StepRequest } from "./request.ts";
import { SecretKey, table, text } from "./container.ts";
import { bytesOf } from "../expressions/template.ts";

const SECRET_BYTES_MAX = 256 * 1024;
const SECRETS_MAX = 100;

export const SecretValues = table(SecretKey, text(SECRET_BYTES_MAX), SECRETS_MAX).refine(
  (all) => bytesOf(all) <= SECRET_BYTES_MAX,
  { error: `All secret values of a run together have at most ${SECRET_BYTES_MAX} bytes.`, params: { code: "OutOfRange" } },
);
export type SecretValues = z.infer<typeof SecretValues>;

type Asking = Pick<StepRequest, "env" | "init" | "secrets">;

interface Named {
  readonly name: string;
  /** Below the step's own place. */
  readonly at: string;
}

/** The secret values that a step names. An `env` that is one expression names none. */
function namedBy({ env, init = [], secrets = [] }: Asking): readonly Named[] {
  const inEnv = (variables: StepRequest["env"], at: string): readonly Named[] =>
    typeof variables !== "object"
      ? []
      : Object.entries(variables).flatMap(([variable, it]) =>
          typeof it === "object" && "secretValue" in it
            ? [{ name: it.secretValue, at: `${at}/env/${variable}/secretValue` }]
            : [],
        );
  return [
    ...inEnv(env, ""),
    ...init.flatMap((it, which) => inEnv(it.env, `/init/${which}`)),
    ...secrets.flatMap((it, which) =>
      "values" in it ? it.values.map((name, n) => ({ name, at: `/secrets/${which}/values/${n}` })) : [],
    ),
  ];
}

/** The names of the secret values that the steps need, each once, in order. */
export const secretNames = (steps: readonly Asking[]): readonly string[] =>
  [...new Set(steps.flatMap(namedBy).map(({ name }) => name))].toSorted();

type Found = readonly (readonly [path: string, message: string])[];

/** Finds values that are named and not given, or given and not named. */
export function secretProblems(given: RunRequest["secretValues"], steps: readonly (Asking & { readonly at: string })[]): Found {
  const names = Object.keys(given ?? {});
  const there = names.length === 0 ? "the run has no `secretValues`" : `the run has ${names.join(", ")}`;
  const needed = secretNames(steps);
  return [
    ...steps.flatMap((step) =>
      namedBy(step).flatMap(
        ({ name, at }): Found =>
          names.includes(name) ? [] : [[`${step.at}${at}`, `No secret value is named "${name}"; ${there}.`]],
      ),
    ),
    ...names.flatMap(
      (name): Found => (needed.includes(name) ? [] : [[`/secretValues/${name}`, `No step uses the secret value "${name}".`]]),
    ),
  ];
}
