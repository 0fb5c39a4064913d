/**
 * Where a run's Job is, in words that its reader can use.
 *
 * The failures this prevents: a hint with `kubectl -n <namespace>` in it, whose reader has to find out the blanks; a kubectl
 * command that asks another cluster than the run's; and any kubectl command about the pocket, which no kubectl reaches.
 */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { filledHint } from "@longshore/contract/messages/diagnosis.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { isAboutLog, ownHint, READ_LOG } from "@longshore/domain/diagnosis/embedded-hints.ts";
import { CONTAINER } from "@longshore/domain/run/marks.ts";
import { isGone, jobCommands } from "@longshore/domain/run/job-commands.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { type GroupOfFile, GroupsFile } from "@longshore/kubernetes/groups.ts";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { configWords, withConfig } from "./command.ts";
import { GROUP, INSTALLATION, pocketFolder } from "./embedded/home.ts";
import type { Longshore } from "./which-longshore.ts";

export interface Place {
  readonly run: RunId;
  /** The words after each `longshore` command, if `--config` names this Longshore. */
  readonly where: string;
  readonly group: string | undefined;
  readonly namespace: string | undefined;
  /** `undefined` if none is known to be there: no kubectl command would find it. */
  readonly job: string | undefined;
  /** kubectl, and what makes it ask the group's cluster. `undefined`: the Job is in the pocket. */
  readonly kubectl: string | undefined;
  /** True as long as the pocket keeps what the Job's program has printed. */
  readonly hasLog: boolean;
}

/** True of the pocket that `longshore up` and `demo` start, and of no other group: both names are theirs. */
export const isPocket = (installation: string, group: string | undefined): boolean =>
  installation === INSTALLATION && group === GROUP;

/** True if a run may come to the pocket of this Longshore. */
export const hasPocket = ({ groupsFile, installation }: Pick<Longshore, "groupsFile" | "installation">): boolean =>
  isPocket(installation, GROUP) && clusterOf(groupsFile, GROUP) !== undefined;

/** The place of the run's last attempt. */
export function placeOf(
  { run, attempts }: RunRecord,
  { groupsFile, installation }: Pick<Longshore, "groupsFile" | "installation">,
  config: string | undefined,
): Place {
  const last = attempts.findLast(({ claimNo }) => claimNo > 0);
  const group = last?.group ?? run.group;
  const inPocket = isPocket(installation, group);
  return {
    run: run.id,
    where: configWords(config),
    group,
    namespace: last?.notes.namespace,
    job: last?.uid === undefined || isGone(last) ? undefined : last.name,
    kubectl: inPocket ? undefined : kubectlFor(clusterOf(groupsFile, group), groupsFile),
    hasLog: inPocket && last !== undefined && hasLog(join(pocketFolder(dirname(groupsFile)), "pods"), last.name),
  };
}

/** A group of several namespaces is a group for each: "prod-a/batch". */
function clusterOf(file: string, group = ""): GroupOfFile["cluster"] | undefined {
  try {
    const { groups } = readConfig(GroupsFile, { file, env: {} });
    return Object.entries(groups).find(([name]) => name === group.split("/")[0])?.[1].cluster;
  } catch (error) {
    if (error instanceof ConfigProblems) return undefined; // the launcher tells it; a hint needs less
    throw error;
  }
}

function kubectlFor(cluster: GroupOfFile["cluster"] | undefined, groupsFile: string): string {
  const { kubeconfig, context } = cluster ?? {};
  const file = kubeconfig === undefined ? undefined : resolve(dirname(groupsFile), kubeconfig);
  if (file === undefined || !existsSync(file)) return "kubectl";
  return ["kubectl", "--kubeconfig", quoted(file), ...(context === undefined ? [] : ["--context", quoted(context)])].join(" ");
}

/** The pocket names a pod's folder by the pod, and a Job's pod by the Job and five letters. */
function hasLog(pods: string, job: string): boolean {
  const folder = existsSync(pods) ? readdirSync(pods).find((it) => it.startsWith(`${job}-`)) : undefined;
  return folder !== undefined && existsSync(join(pods, folder, CONTAINER, "log"));
}

/** The hint of a diagnosis, for whoever stands before this Longshore. */
export function hintAt(
  place: Place,
  { code, hint }: { readonly code: string; readonly hint: string },
  /** The rest of the same screen: the hint then says only what is new. */
  shown: Shown = {},
): string {
  const told = place.kubectl === undefined ? pocketHint(place, code, hint, shown) : clusterHint(place, code, hint, shown);
  return filled(place, told);
}

export interface Shown {
  readonly log?: Printed | undefined;
  /** True on the page of `runs show`. */
  readonly isOnPage?: boolean;
}

interface Printed {
  readonly state: string;
  readonly tail: string;
}

export const isSilent = (log: Printed | undefined): boolean => log?.state === "complete" && log.tail === "";

/** A screen shows at most this many lines of a log. */
export const LOG_LINES_MOST = 20;

/** True if the screen shows all that the program has printed. */
export const isShownWhole = (log: Printed | undefined): boolean =>
  log?.state === "complete" && log.tail !== "" && log.tail.trimEnd().split("\n").length <= LOG_LINES_MOST;

function clusterHint({ kubectl = "" }: Place, code: string, hint: string, { log, isOnPage = false }: Shown): string {
  if (code === "ExitCode" && isSilent(log)) return SILENT;
  if (code === "ExitCode" && isShownWhole(log)) return SHOWN;
  const isShown = isOnPage || (log !== undefined && log.tail !== "");
  const fresh = isShown ? hint.replace(/; `longshore runs show [^`]+` names both/, "") : hint;
  return fresh.replaceAll(/`kubectl /g, `\`${kubectl} `);
}

function pocketHint(place: Place, code: string, hint: string, { log, isOnPage = false }: Shown): string {
  const own = ownHint(code);
  if (own !== undefined) return isOnPage ? own.replace("Look at `longshore runs show <run>`: it tells", "See below") : own;
  if (!isAboutLog(hint)) return hint;
  if (isSilent(log)) return `${SILENT} ${TRY}`;
  if (log !== undefined && log.tail !== "") return TRY;
  return isOnPage ? `${place.hasLog ? `Read what it printed: \`${LOGS}\`. ` : ""}${TRY}` : asked(place);
}

export const SILENT = "It printed nothing.";
const SHOWN = "What it printed may say why; all of it stands here.";
const TRY = "Try its command in a terminal: it ran on this machine.";

const LOGS = "longshore runs logs <run>";

const asked = ({ hasLog }: Place): string => (hasLog ? READ_LOG : READ_LOG.replace(`, and \`${LOGS}\` all`, ""));

/** Every `longshore` command in the hint asks this Longshore, and no other. */
function filled({ where, ...values }: Place, hint: string): string {
  return withConfig(filledHint(hint, values), where);
}

/** Says whom the run needs, in words for the reader. */
export function actorAt({ kubectl }: Place, blame: string): string {
  const others: Readonly<Record<string, string>> = { cluster: "the cluster's people", platform: "whoever runs Longshore" };
  const who = blame === "request" || kubectl === undefined ? "you" : (others[blame] ?? "whoever runs Longshore");
  return `needs ${who}`;
}

/** The command that prints the whole log of the run's last Job; `undefined` if there is none, or if the hint says it already. */
export function restOf({ run, where, kubectl, namespace, job, hasLog }: Place, hint = ""): string | undefined {
  const inCluster = job === undefined ? undefined : `${kubectl} -n ${namespace ?? ""} logs job/${job}`;
  const inPocket = hasLog ? `longshore runs logs ${run}${where}` : undefined;
  const command = kubectl === undefined ? inPocket : inCluster;
  return command === undefined || hint.includes(command) ? undefined : command;
}

/** The command that prints the log of a program that runs, as it goes on. */
export function followLog({ run, where, kubectl, namespace, job }: Place): string {
  if (kubectl === undefined || job === undefined) return `longshore runs logs ${run} --follow${where}`;
  return `${kubectl} -n ${namespace ?? ""} logs --follow job/${job}`;
}

/** The commands that show more of the run's Jobs. `selector` selects the Jobs and pods of the run. */
export function moreAt({ kubectl, namespace, job }: Place, namespaces: readonly string[], selector: string): readonly string[] {
  if (kubectl === undefined) return [];
  return jobCommands(kubectl, { namespace, job }, namespaces, selector);
}
