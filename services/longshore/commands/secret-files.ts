/**
 * Secret values that the command line reads from files: `--secret token=./token.txt`.
 *
 * The failure this prevents: a value that was typed, and stands in the shell's history and in the list of this machine's processes.
 */
import { readFile } from "node:fs/promises";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { fileAt, type Surroundings, Usage } from "../command.ts";

export const SECRET = {
  type: "string",
  multiple: true,
  value: "NAME=FILE",
  about: 'a secret value that the steps name, read from a file ("-": standard input); may be repeated',
} as const;

/** Without its last line break, which editors write and no password has. */
export async function secretValuesOf(
  given: readonly string[] | undefined,
  surroundings: Surroundings,
): Promise<{ readonly secretValues?: Readonly<Record<string, string>> }> {
  if (given === undefined) return {};
  const read = given.map(async (it) => {
    const at = it.indexOf("=");
    if (at < 1) throw new Usage(`--secret ${it}: write NAME=FILE`);
    const [name, file] = [it.slice(0, at), it.slice(at + 1)];
    const path = file === "-" ? "/dev/stdin" : fileAt(file, surroundings);
    const text = await readFile(path, "utf8").catch(() => {
      throw new Failure("halt", "Unreadable", `--secret ${name}: ${path} cannot be read`);
    });
    return [name, text.replace(/\r?\n$/, "")] as const;
  });
  return { secretValues: Object.fromEntries(await Promise.all(read)) };
}
