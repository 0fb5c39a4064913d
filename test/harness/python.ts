/**
 * Debian's Python with pika, the client for which the README's example is written.
 *
 * The failure this prevents: an example that its author tried once, with the versions that happened to be installed.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

export const PYTHON = "/usr/bin/python3";
const INSTALL_MINUTES_MAX = 5;
const INSTALL = ["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "python3", "python3-pika"];

/** Installs the missing packages as root on Debian; otherwise throws a sentence that names them. */
export async function pythonWithPika(say: (sentence: string) => void): Promise<string> {
  if (await works()) return PYTHON;
  if (process.getuid?.() !== 0)
    throw new Error(
      `${PYTHON} cannot import pika: install Debian's packages python3 and python3-pika, or run the tests as root.`,
    );
  say("installing python3-pika");
  if ((await aptGet(INSTALL)) !== 0) {
    await aptGet(["update", "-q"]);
    await aptGet(INSTALL);
  }
  if (await works()) return PYTHON;
  throw new Error(`${PYTHON} cannot import pika, and apt-get could not install python3-pika: is this Debian, with a network?`);
}

const works = async (): Promise<boolean> => (await exitCode(PYTHON, ["-c", "import pika"])) === 0;
const aptGet = (args: readonly string[]): Promise<number | null> => exitCode("apt-get", args);

/** Resolves to null if the program could not be started, or was ended by its bound. */
async function exitCode(program: string, args: readonly string[]): Promise<number | null> {
  const child = spawn(program, args, {
    stdio: "ignore",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    timeout: INSTALL_MINUTES_MAX * 60_000,
  });
  const missing = once(child, "error").then(() => null);
  return await Promise.race([
    missing,
    once(child, "close").then(([code]: unknown[]) => (typeof code === "number" ? code : null)),
  ]);
}
