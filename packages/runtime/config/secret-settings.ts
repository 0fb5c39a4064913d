/**
 * Pieces of a config schema for secrets and for paths of files.
 *
 * The bug this prevents: a missing or empty password file that is noticed by the first connection, hours later and without its
 * path. The file is read at the start; a file that cannot be read is one of the problems that the start reports.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { z } from "zod";
import { reason } from "./config.ts";
import { sealProblem } from "../seal.ts";
import { type Secret, secret } from "./secret.ts";
import type { Pair } from "./shape.ts";

const SECRET_BYTES_MAX = 64 * 1024;

/** A secret that is itself in the config or the environment, not in a file. */
const secretText = () => z.string().min(1).meta({ written: "secret text" }).transform(secret);

/** A path; the value is the file's text without the line end that editors add. Read once, at start. */
export const secretFile = () =>
  z
    .string()
    .meta({ written: "file" })
    .transform((path, context): Secret => {
      const problem = (message: string): never => {
        context.issues.push({ code: "custom", message, input: path });
        return z.NEVER;
      };
      let text: string;
      try {
        text = readFileSync(path, "utf8").replace(/\r?\n$/, "");
      } catch (error) {
        return problem(`cannot be read (${reason(error)}); it has to be a file that this program's user may read`);
      }
      if (text === "") return problem(`${path} is empty`);
      return text.length > SECRET_BYTES_MAX
        ? problem(`${path} is larger than ${SECRET_BYTES_MAX} bytes, so it is no secret of ours`)
        : secret(text);
    });

/** A file with the keys of a `Seal`, one a line. */
export const sealKeys = () =>
  secretFile().check((context) => {
    const message = sealProblem(context.value.reveal());
    if (message !== undefined) context.issues.push({ code: "custom", message, input: undefined });
  });

/** A path of a file that is read again later (tokens that rotate, the groups). At the start it only has to be readable. */
export const readableFile = () =>
  z
    .string()
    .check((context) => {
      try {
        accessSync(context.value, constants.R_OK);
      } catch (error) {
        context.issues.push({ code: "custom", message: `cannot be read (${reason(error)})`, input: context.value });
      }
    })
    .meta({ written: "file" });

/**
 * `...secretSetting("password")` in an object's shape allows `password` or `passwordFile`; `secretOf(value, "password")`
 * returns the given one. The check `oneSecret("password")` refuses an object with both; if the secret is required, also an
 * object with neither.
 */
export function secretSetting<K extends string>(name: K) {
  type Text = ReturnType<typeof secretText>;
  return { [name]: secretText().optional(), [`${name}File`]: secretFile().optional() } as {
    [P in K | `${K}File`]: z.ZodOptional<Text>;
  };
}

export function secretOf<K extends string>(
  value: { readonly [P in K | `${K}File`]?: Secret | undefined },
  name: K,
): Secret | undefined {
  return value[name] ?? value[`${name}File`];
}

export function oneSecret(name: string, need: "required" | "optional" = "required"): z.core.$ZodCheck<object> {
  return oneOf(name, `${name}File`, need === "required" ? `give ${name} or ${name}File` : undefined);
}

/** Refuses an object with both settings; with `missing` (a hint what to give), also an object with neither. */
export function oneOf(name: string, other: string, missing: string | undefined): z.core.$ZodCheck<object> {
  const check = z.check<object>((context) => {
    const value: unknown = context.value;
    if (typeof value !== "object" || value === null) return;
    const issue = (message: string) => context.issues.push({ code: "custom", message, input: undefined, path: [name] });
    const given = [name, other].filter((it) => it in value).length;
    if (given === 2) issue(`give ${name} or ${other}, not both`);
    if (given === 0 && missing !== undefined) issue(`is missing; ${missing}`);
  });
  const pair: Pair = { names: [name, other], isNeeded: missing !== undefined };
  Object.assign(check._zod.def, { pair });
  check._zod.def.when = () => true; // even if other checks failed, so that all problems are reported at once
  return check;
}
