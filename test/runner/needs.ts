/**
 * The needs of test files: what a machine must offer so that a file can run, and what a person can do if it does not.
 *
 * A file names its needs in a line of its own: "// needs rabbitmq, kubernetes". The bug this prevents: a tier that is silently
 * absent on somebody's machine. A file that cannot run is counted as skipped, and the reason is told; as root on Debian no file
 * is skipped.
 */
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { cacheFolder } from "../harness/builds/cached.ts";
import { dockerAnswers } from "../harness/docker.ts";

export const NEEDS = ["rabbitmq", "nats", "kubernetes", "node", "browser"] as const;
export type Need = (typeof NEEDS)[number];

/** The properties of this machine that decide which files can run. */
export interface Machine {
  readonly rootOnDebian: boolean;
  readonly linux: boolean;
  readonly go: boolean;
  /** True if a Docker engine answers. */
  readonly docker: boolean;
  /** The names of the folders in the cache. */
  readonly cached: readonly string[];
  readonly kubernetesNamed: boolean;
}

export function needsOf(path: string, text: string): Need[] {
  const [, said = ""] = /^\/\/ needs ([\w, ]+)$/m.exec(text) ?? [];
  return said
    .split(/, */)
    .filter((word) => word !== "")
    .map((word) => {
      const need = NEEDS.find((it) => it === word);
      if (need === undefined) throw new Error(`${path} says that it needs "${word}"; the needs are ${NEEDS.join(", ")}`);
      return need;
    });
}

/** Returns why a file with this need cannot run here, and what would help; undefined if it can run. */
export function missing(need: Need, { rootOnDebian, linux, go, docker, cached, kubernetesNamed }: Machine): string | undefined {
  const has = (name: string): boolean => cached.some((it) => it.startsWith(`${name}-`) && !/\.(lock|making-)/.test(it));
  const withGo = "install Go 1.26 or newer";
  switch (need) {
    case "rabbitmq":
      return docker || rootOnDebian || has("rabbitmq")
        ? undefined
        : "RabbitMQ runs in a container, or in a tree that root makes: start a Docker engine, or be root on Debian";
    case "nats":
      return go || has("nats") ? undefined : `the NATS server is built with Go: ${withGo}`;
    case "kubernetes":
      return go || kubernetesNamed || has("kubernetes")
        ? undefined
        : `the Kubernetes programs are built with Go: ${withGo}, or name a folder with them in LONGSHORE_TEST_KUBERNETES`;
    case "node":
      return rootOnDebian && linux ? undefined : "a real node makes cgroups and containers: run the tests as root on Debian";
    case "browser":
      return rootOnDebian ? undefined : "Chromium runs in a Debian tree, which root enters: run the tests as root on Debian";
  }
}

export async function thisMachine(): Promise<Machine> {
  const linux = process.platform === "linux";
  const rootOnDebian = linux && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return {
    linux,
    rootOnDebian,
    go: folders.some((folder) => isProgram(join(folder, "go"))),
    docker: !rootOnDebian && (await dockerAnswers()), // asked only if it decides: an engine may take seconds to answer
    cached: existsSync(cacheFolder()) ? readdirSync(cacheFolder()) : [],
    kubernetesNamed: (process.env["LONGSHORE_TEST_KUBERNETES"] ?? "") !== "",
  };
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // the file does not exist, or we may not run it
  }
}
