/**
 * `longshore runs logs`: what a run's program prints, from its pod while there is one, else what was recorded of it. A cluster that
 * cannot be reached from here is read by its watcher, as for the console.
 *
 * The failure this prevents: a person who looks at a run that hangs, and sees that it hangs.
 */
import { openBroker } from "@longshore/broker/brokers.ts";
import { openLogReader } from "@longshore/console/live-logs.ts";
import type { LogTail, SliceTold } from "@longshore/contract/messages/fact.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { CONTAINER } from "@longshore/domain/run/marks.ts";
import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import { podToPrint } from "@longshore/domain/watch/pod-to-print.ts";
import { seePod } from "@longshore/domain/watch/seen.ts";
import { readUsableGroups } from "@longshore/kubernetes/groups.ts";
import type { Cluster } from "@longshore/kubernetes/clusters.ts";
import type { StoryEvent } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { linked } from "@longshore/runtime/loop.ts";
import { during, type Surroundings, Usage } from "../../command.ts";
import type { ReadOutput } from "../../output.ts";
import { plain } from "../../screen/text.ts";
import { findLongshore, type Longshore } from "../../which-longshore.ts";

export interface LogsAsked {
  readonly run: RunId;
  readonly step: string | undefined;
  readonly slice: number | undefined;
  readonly follows: boolean;
  readonly config: string | undefined;
}

/** The run as the ledger has it now. Throws if there is none. */
interface Kept {
  readonly record: () => Promise<RunRecord>;
  readonly story: () => Promise<readonly StoryEvent[]>;
}

const LOOK_MS = 1_000;
/** The last lines travel beside the news of the end. */
const END_WITHIN_MS = 2_000;

export async function printLogs(kept: Kept, asked: LogsAsked, surroundings: Surroundings): Promise<number> {
  const { run, slice, follows, config } = asked;
  const { signal, screen, out } = surroundings;
  const print = (line: string) => out(`${screen === undefined ? line : plain(line)}\n`);
  const longshore = await findLongshore({ config }, surroundings);
  const { groupsFile, logKeys } = longshore;
  await using groups = await readUsableGroups(groupsFile, { credential: "watch", clock });

  let printed: string | undefined; // the name of the attempt whose log was printed last
  for (;;) {
    const record = await kept.record();
    const attempt = attemptIn(record, asked);
    const isOver = record.run.state === "ended";
    if (attempt !== undefined && attempt.name !== printed) {
      if (printed !== undefined) surroundings.note?.(`${attempt.step}, attempt ${attempt.n}:`);
      const cluster = groups.clusters.find(({ name }) => name === attempt.group);
      const direct = await fromPod(cluster, attempt, { slice, follows, print }, surroundings);
      const asksWatcher = direct === "unreached" && follows && slice === undefined && attempt.outcome === undefined;
      const isPrinted =
        asksWatcher && logKeys !== undefined
          ? await fromWatcher(kept, attempt, { ...longshore, logKeys, print }, surroundings)
          : direct === "printed";
      if (isPrinted) printed = attempt.name;
      else if (attempt.outcome !== undefined) {
        fromStory(await kept.story(), attempt, { slice, print }, surroundings);
        printed = attempt.name;
      }
    }
    if (signal.aborted) return 130;
    if (!follows || isOver) break;
    await during(surroundings, "waiting for the run's program", () => clock.sleep(LOOK_MS, signal));
  }
  if (printed === undefined) throw new Failure("refuse", "NoLog", `no program of ${run} has run yet; --follow waits for it`);
  return 0;
}

/** For a run that is followed. A groups file that cannot be read is `doctor`'s matter: the run is followed all the same. */
export const outputOf =
  (groupsFile: string): ReadOutput =>
  async (attempt, print, signal) => {
    await using groups = await readUsableGroups(groupsFile, { credential: "watch", clock });
    const cluster = groups.clusters.find(({ name }) => name === attempt.group);
    return (await fromPod(cluster, attempt, { slice: undefined, follows: true, print }, { signal })) === "printed";
  };

/** The newest attempt that may have a pod. */
function attemptIn({ run, attempts }: RunRecord, { step, slice }: LogsAsked): Attempt | undefined {
  const steps = run.plan.steps.map(({ name }) => name);
  if (step !== undefined && !steps.some((it) => it === step))
    throw new Usage(`${run.id} has no step "${step}"; it has ${steps.join(", ")}`);
  const found = attempts.filter((it) => it.uid !== undefined && (step === undefined || it.step === step)).at(-1);
  const planned = run.plan.steps.find(({ name }) => name === (found?.step ?? step ?? steps[0]));
  if (slice !== undefined && planned !== undefined && planned.slices === undefined)
    throw new Usage(`the step "${planned.name}" of ${run.id} has no slices`);
  return found;
}

/** "none": there is no pod whose log can be read. "unreached": the cluster did not say. */
async function fromPod(
  cluster: Pick<Cluster, "read" | "logLines"> | undefined,
  { uid, started }: Attempt,
  { slice, follows, print }: Printing & { readonly follows: boolean },
  { signal, note }: Pick<Surroundings, "signal" | "note">,
): Promise<"printed" | "none" | "unreached"> {
  if (uid === undefined) return "none";
  const listed = await cluster?.read.podsOf(uid, signal);
  if (cluster === undefined || listed?.kind !== "listed") return "unreached";
  const pod = podToPrint(
    listed.items.flatMap((it) => seePod(it) ?? []),
    slice,
  );
  if (pod === undefined) return "none";
  if (slice === undefined && pod.index !== undefined) note?.(`slice ${pod.index}; --slice prints another:`);
  let lines = 0;
  try {
    for await (const line of cluster.logLines({ pod: pod.name, container: CONTAINER, follows }, signal)) {
      print(line);
      lines++;
    }
    if (lines === 0) note?.(started === "no" ? "It never ran, and has printed nothing." : "It has printed nothing.");
    return "printed";
  } catch (error) {
    if (signal.aborted) return "printed";
    if (lines > 0 || !isTransient(error)) throw error;
    return "none"; // its container has not started, or its pod was just removed
  }
}

/** Returns false if nothing was printed until the program's end was recorded. */
async function fromWatcher(
  { record }: Pick<Kept, "record">,
  { name, group, uid }: Attempt,
  {
    broker: at,
    installation,
    logKeys: key,
    print,
  }: Pick<Longshore, "broker" | "installation"> & Pick<Printing, "print"> & { readonly logKeys: string },
  { signal, note }: Surroundings,
): Promise<boolean> {
  if (group === undefined || uid === undefined) return false;
  await using broker = await openBroker({ ...at, log: silentLog, clock });
  const own = linked(signal);
  const isEnded = async () => (await record()).attempts.find((it) => it.name === name)?.outcome !== undefined;
  const watching = (async () => {
    while (!own.signal.aborted && !(await isEnded())) await clock.sleep(LOOK_MS, own.signal);
    await clock.sleep(END_WITHIN_MS, own.signal);
    own.abort();
  })();
  let isPrinted = false;
  let isTold = false;
  try {
    const read = openLogReader({ broker, clock, installation, key, source: "/longshore/cli" });
    for await (const news of read({ group, job: uid }, own.signal)) {
      if (news.kind === "lines") for (const line of news.text.replace(/\n$/, "").split("\n")) print(line);
      else if (news.kind === "gap") note?.(GAP);
      else if (!isTold) note?.(`No watcher of ${group} sends its log yet.`);
      isTold ||= news.kind === "nobody";
      isPrinted ||= news.kind === "lines";
    }
  } finally {
    own.abort();
    await watching;
    own.release();
  }
  return isPrinted;
}

const GAP = "Some lines are missing here: more was printed than a watcher sends, or a connection broke.";

interface Printing {
  readonly slice: number | undefined;
  readonly print: (line: string) => void;
}

interface Told {
  readonly step?: string;
  readonly attempt?: number;
  readonly log?: LogTail;
  readonly slices?: { readonly told?: readonly SliceTold[] };
}

/** What the events have of an attempt's log: its last lines at most. */
function fromStory(story: readonly StoryEvent[], { step, n }: Attempt, { slice, print }: Printing, { note }: Surroundings): void {
  const told = story.map(({ data }) => data as Told);
  const logIn = (it: Told): LogTail | undefined =>
    slice === undefined ? it.log : it.slices?.told?.find(({ index }) => index === slice)?.log;
  const own = told.findLast((it) => logIn(it) !== undefined && (it.step ?? step) === step && (it.attempt ?? n) === n);
  const log = own && logIn(own);
  if (log === undefined) return note?.("Its pod is gone, and nothing that it printed was recorded.");
  if (log.state === "truncated") note?.("Its pod is gone. These are the last lines, which were recorded:");
  for (const line of log.tail.replace(/\n$/, "").split("\n")) print(line);
}

/** The value of `--slice`. */
export function sliceOf(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new Usage(`a slice is a number from 0: "${text}" is none`);
  return Number(text);
}
