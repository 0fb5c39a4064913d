/**
 * Tells whether a Docker engine answers on this machine.
 *
 * The failure this prevents: a test that hangs because the environment names an engine that is gone. A separate process asks,
 * and is ended after ten seconds. If nothing names an engine, nobody asks, so that the tests need not wait.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

const ANSWER_WITHIN_MS = 10_000;
const ASK = `import { getContainerRuntimeClient } from "testcontainers"; await getContainerRuntimeClient(); process.exit(0);`;

export async function dockerAnswers(): Promise<boolean> {
  if (!engineIsNamed()) return false;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", ASK], {
    cwd: import.meta.dirname, // so that the import in ASK finds testcontainers
    stdio: "ignore",
    timeout: ANSWER_WITHIN_MS,
    killSignal: "SIGKILL",
  });
  const [code] = await once(child, "exit");
  return code === 0;
}

/** Looks at every place where testcontainers looks. */
function engineIsNamed(): boolean {
  const { DOCKER_HOST, XDG_RUNTIME_DIR } = process.env;
  if (DOCKER_HOST !== undefined && DOCKER_HOST !== "") return true;
  const sockets = [
    "/var/run",
    path.join(homedir(), ".docker/run"),
    path.join(homedir(), ".docker/desktop"),
    ...(XDG_RUNTIME_DIR === undefined ? [] : [XDG_RUNTIME_DIR]),
    ...(process.getuid === undefined ? [] : [`/run/user/${process.getuid()}`]),
  ];
  return [path.join(homedir(), ".testcontainers.properties"), ...sockets.map((it) => path.join(it, "docker.sock"))].some((it) =>
    existsSync(it),
  );
}
