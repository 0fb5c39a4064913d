/**
 * `longshore doctor --watcher`: what the watcher's settings and credentials reach, asked from the watcher's own machine.
 *
 * The failure this prevents: a page that is all well, since it was asked with the launcher's broker user and network, while the
 * watcher is refused.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { brokerOf } from "@longshore/broker/settings.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import { fileAt, type Surroundings } from "../../command.ts";
import { dataDirIn, type Longshore } from "../../which-longshore.ts";
import type { Finding } from "./doctor.ts";
import { groups } from "./groups.ts";

export type Watcher = Pick<Longshore, "installation" | "broker" | "settings" | "sealKeys"> & {
  readonly groupsFile: string | undefined;
};

/** Of the file that is named, else of the Longshore that `longshore up` runs from this folder. */
export function watcherIn(config: string | undefined, surroundings: Surroundings): Watcher {
  const { cwd, env } = surroundings;
  const file = config === undefined ? join(dataDirIn(cwd), "watcher.yaml") : fileAt(config, surroundings);
  if (config === undefined && !existsSync(file)) {
    const text = "no Longshore was started from this folder: name the watcher's file, `--config config/watcher.yaml`";
    throw new Failure("halt", "NotRunning", text);
  }
  const read = readConfig(WatcherConfig, { file, env, beside: [LauncherConfig] });
  const { installation, groupsFile, sealKeyFile } = read;
  return { installation, groupsFile, settings: file, broker: brokerOf(read), sealKeys: sealKeyFile?.reveal() };
}

/** Without a groups file, only a launcher that announces says which groups there are. */
export async function watchersGroups(watcher: Watcher, signal: AbortSignal): Promise<readonly Finding[]> {
  const { installation, groupsFile, sealKeys = "" } = watcher;
  if (groupsFile !== undefined) return await groups({ groupsFile, installation, roles: ["watcher"] }, signal);
  const { key } = openSeal(sealKeys, installation);
  const says = `launchers announce them; this watcher opens what is sealed with the key ${key}`;
  return [
    { part: "groups", state: "ok", says, todo: "`longshore doctor` beside a launcher names its seal key: it has to be the same" },
  ];
}
