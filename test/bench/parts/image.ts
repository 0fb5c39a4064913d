/**
 * The environment in which a service's image runs it: its variables, and the files that its Dockerfile compiles beforehand.
 *
 * The failure this prevents: a bench that measures Node's compiler, or other settings of V8 than those that people run with.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const ROOT = path.resolve(import.meta.dirname, "../../..");

export type Environment = Readonly<Record<string, string>>;

/** `cache`: a folder for the compiled files. */
export async function imageEnvironment(name: "launcher" | "watcher", cache: string): Promise<Environment> {
  const dockerfile = (await readFile(path.join(ROOT, `services/${name}/Dockerfile`), "utf8")).replaceAll(/\\\n\s*/g, " ");
  const env = { ...variablesIn(dockerfile), NODE_COMPILE_CACHE: cache };
  const program = /^RUN node --eval '(.*)'$/m.exec(dockerfile)?.[1];
  if (program === undefined) throw new Error(`the ${name}'s image compiles nothing beforehand`);
  await promisify(execFile)(process.execPath, ["--eval", program.replaceAll("/app/", `${ROOT}/`)], {
    env: { ...process.env, ...env },
  });
  return env;
}

/** The variables of `ENV NAME=value OTHER="two words"`. */
function variablesIn(dockerfile: string): Environment {
  const lines = [...dockerfile.matchAll(/^ENV (.*)$/gm)].map(([, rest = ""]) => rest);
  const given = lines.flatMap((rest) => [...rest.matchAll(/(\w+)=(?:"([^"]*)"|(\S+))/g)]);
  return Object.fromEntries(given.map(([, name = "", quoted, plain = ""]) => [name, quoted ?? plain]));
}
