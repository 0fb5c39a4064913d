/**
 * The pocket in a process of its own, which ends with ours. Killing a service does not touch it.
 *
 * The failure this prevents: Jobs that end because the killed process held them.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface PocketProcess extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
  readonly token: string;
  /** Asks the pocket's API, as a person with kubectl would. */
  ask(method: "GET" | "DELETE", path: string): Promise<unknown>;
  /** Lets all held pods that run now end well. */
  endPods(): void;
}

/** "processes" of this machine, "instant" ones that succeed at once, or "held" ones that run until `endPods`. */
export type PocketPods = "processes" | "instant" | "held";

/** Starts the pocket in a process of its own, which ends with ours. */
export async function startPocketProcess(home: string, requestLog: string, pods: PocketPods): Promise<PocketProcess> {
  const main = fileURLToPath(new URL("../../../packages/pocket/testing/main.ts", import.meta.url));
  const flags = [
    "--throwaway",
    "--data",
    path.join(home, "pocket"),
    "--request-log",
    requestLog,
    ...(pods === "processes" ? [] : ["--pods", pods]),
  ];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const last = () => child.kill("SIGKILL");
  process.once("exit", last);
  process.once("SIGTERM", () => process.exit(143)); // an exit that runs our exit listeners, which end the pocket
  const gone = once(child, "exit");
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    gone.then(() => Promise.reject(new Error("the pocket ended before it was ready"))),
  ])) as [string];
  const { url, token } = JSON.parse(line) as { url: string; token: string };
  return {
    pid: child.pid ?? 0,
    url,
    token,
    ask: async (method, path) => {
      const answer = await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${token}` } });
      if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${await answer.text()}`);
      return await answer.json();
    },
    endPods: () => void child.kill("SIGUSR2"),
    async [Symbol.asyncDispose]() {
      process.removeListener("exit", last);
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await gone;
    },
  };
}
