/** `longshore doctor`: asks every part how it is, in one page. Exit 1 if anything has failed. */
import { brokerAt, openBroker } from "@longshore/broker/brokers.ts";
import { NAMES } from "@longshore/broker/settings.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { isUnserved } from "@longshore/domain/group/group.ts";
import { NO_LAUNCHER, toServeSentence, UNHELD } from "@longshore/domain/group/told.ts";
import { unwatched } from "@longshore/domain/group/unwatched.ts";
import { openWatchAccess } from "@longshore/kubernetes/access/watch-access.ts";
import { readDefinitions } from "@longshore/launcher/definitions/files.ts";
import { type Finding as LedgerFinding, findingsOn, some, unsent } from "@longshore/ledger/findings.ts";
import { otherKey } from "@longshore/ledger/key-mark.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import {
  command,
  CONFIG,
  configWords,
  during,
  json,
  JSON_OPTION,
  say,
  screenIn,
  type Surroundings,
  withConfig,
} from "../../command.ts";
import { paragraph, row } from "../../screen/rows.ts";
import { type Screen, toned } from "../../screen/screen.ts";
import { span } from "../../screen/times.ts";
import { watcherIn, watchersGroups } from "./as-watcher.ts";
import { groups } from "./groups.ts";
import { runsThatWait } from "./runs.ts";
import { sinks } from "./sinks.ts";
import { runsLauncher, toStartSentence } from "../group/group.ts";
import { findLongshore, type Longshore } from "../../which-longshore.ts";

/** One line of the page. `isOfGroup`: the ledger's line about a group, told beside its cluster's. */
export interface Finding extends LedgerFinding {
  readonly isOfGroup?: true;
}

export const doctor = command({
  name: "doctor",
  summary: "ask broker, ledger, clocks and groups how they are",
  usage: ["[--json] [--config FILE]", "--watcher [--json] [--config FILE]"],
  options: {
    watcher: { type: "boolean", about: "ask as the watcher does, with its settings alone: --config then names its file" },
    json: JSON_OPTION,
    config: CONFIG,
  },
  more: `
  longshore doctor --config config/launcher.yaml
  longshore doctor --watcher --config config/watcher.yaml

Exit 0: nothing failed; there may be warnings. Exit 1: something failed, and its line says what to do.`,
  async run({ config, json: asJson = false, watcher = false }, _, surroundings) {
    const examined = watcher
      ? examinedOf(watcherIn(config, surroundings), ASKED_BY_WATCHER)
      : await examinedAt(config, surroundings);
    // The other commands take a launcher's file, and no watcher's.
    const where = watcher ? "" : configWords(config);
    const findings: Finding[] = [];
    const screen = screenIn(surroundings);
    if (!asJson) say(surroundings, row(HEADER, SHAPE, screen));
    const held: Finding[] = [];
    for (const [whom, examine] of examined) {
      const told = await during(surroundings, `asking ${whom}`, () => examine(surroundings.signal, config));
      held.push(...told.filter(({ isOfGroup }) => isOfGroup));
      const rest = told.filter(({ isOfGroup }) => !isOfGroup);
      const found =
        whom === THE_CLUSTERS ? [...held, ...rest].toSorted((a, b) => (a.part < b.part ? -1 : a.part > b.part ? 1 : 0)) : rest;
      for (const { todo, isOfGroup: _, ...rest } of found) {
        const finding = todo === undefined ? rest : { ...rest, todo: withConfig(todo, where) };
        if (!asJson) say(surroundings, linesOf(finding, findings.at(-1)?.part, screen));
        findings.push(finding);
      }
    }
    const count = (state: Finding["state"]): number => findings.filter((it) => it.state === state).length;
    const [warnings, failures] = [count("WARN"), count("FAIL")];
    const told = [...(failures > 0 ? [some(failures, "failure")] : []), ...(warnings > 0 ? [some(warnings, "warning")] : [])];
    const sum = told.length === 0 ? "all well" : told.join(", ");
    const worst = failures > 0 ? "fail" : warnings > 0 ? "warn" : "ok";
    if (asJson) surroundings.out(json({ warnings, failures, findings }));
    else say(surroundings, paragraph(sum, { tone: toned(worst).tone }, screen));
    return failures > 0 ? 1 : 0;
  },
});

/** They are asked last. */
const THE_CLUSTERS = "the clusters";
const EXAMINED = [
  ["the broker", brokerAndClock],
  ["the ledger", ledgerAndHolds],
  ["the definitions", definitions],
  ["the sinks", sinks],
  ["the groups file", announcements],
  [THE_CLUSTERS, groups],
] as const;

const ASKED_BY_WATCHER = [
  ["the broker", brokerAndClock],
  [THE_CLUSTERS, watchersGroups],
] as const;

type Examine<L> = (longshore: L, signal: AbortSignal, config?: string) => Promise<readonly Finding[]>;

const examinedOf = <L>(longshore: L, parts: readonly (readonly [whom: string, Examine<L>])[]) =>
  parts.map(([whom, examine]) => [whom, (signal: AbortSignal, config?: string) => examine(longshore, signal, config)] as const);

const examinedAt = async (config: string | undefined, surroundings: Surroundings) =>
  examinedOf(await findLongshore({ config }, surroundings), EXAMINED);

const SHAPE = { widths: [14, 5] };
const HEADER = ["PART", "STATE", "FOUND"].map((text) => ({ text, tone: "faint" }) as const);

function linesOf({ part, state, says, todo }: Finding, before: string | undefined, screen: Screen): readonly string[] {
  return [
    ...row([part === before ? "" : part, toned(state), says], SHAPE, screen),
    ...(todo === undefined ? [] : paragraph(todo, { indent: 23, mark: "› " }, screen)),
  ];
}

/** The line for a part that cannot even be opened. */
function failed(part: string, error: unknown, { settings }: Pick<Longshore, "settings">): readonly Finding[] {
  if (!(error instanceof Failure)) throw error;
  const todo = settings === undefined ? undefined : `its settings are the part "${part}:" of ${settings}, or variables`;
  return [{ part, state: "FAIL", says: error.message, ...(todo !== undefined && { todo }) }];
}

async function brokerAndClock(
  { broker: where, settings }: Pick<Longshore, "broker" | "settings">,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  try {
    await using broker = await openBroker({ ...where, log: silentLog, clock: systemClock });
    const { product, user, waiting, clockSkewMs } = await broker.inspect(signal);
    const skew: Finding[] = clockSkewMs === undefined ? [] : [clock("broker", clockSkewMs)];
    const quarantined: Finding[] =
      waiting.quarantine === 0
        ? []
        : [
            {
              part: "broker",
              state: "WARN",
              says: `${some(waiting.quarantine, "message")} in quarantine: nobody could read them`,
              todo: `look at them in the broker: ${brokerAt(where.url).quarantine({ ...NAMES, ...where.names })}`,
            },
          ];
    return [
      {
        part: "broker",
        state: "ok",
        says: `${product}, user ${user}; waiting: ${some(waiting.commands, "command")}, ${some(waiting.facts, "fact")}`,
      },
      ...quarantined,
      ...skew,
    ];
  } catch (error) {
    return failed("broker", error, { settings });
  }
}

function clock(whose: string, skewMs: number): Finding {
  const part = `${whose}'s clock`;
  const says = `${Math.abs(Math.round(skewMs))} ms ${skewMs >= 0 ? "ahead of" : "behind"} this machine's`;
  return Math.abs(skewMs) < 5_000
    ? { part, state: "ok", says }
    : { part, state: "WARN", says, todo: "set the clocks (NTP): durations in events will be wrong" };
}

async function ledgerAndHolds(longshore: Longshore, _: AbortSignal, config?: string): Promise<readonly Finding[]> {
  const { ledgerUrl, installation } = longshore;
  const jobName = (): never => {
    throw new Error("doctor begins no attempts");
  };
  try {
    await using ledger = await openLedger({ url: ledgerUrl, installation, jobName, migrate: false, log: silentLog });
    const before = systemClock.now();
    const now = await ledger.now();
    const [{ product, schema, keyMark }, counts, states] = [
      await ledger.describe(),
      await ledger.counts(),
      await ledger.groups(),
    ];
    const hasLauncher = runsLauncher(counts, longshore);
    return [
      { part: "ledger", state: "ok", says: `${product}, schema ${schema}; ${unsent(counts)}` },
      ...(keyMark === undefined || longshore.keyMark === undefined || keyMark === longshore.keyMark
        ? []
        : failed("ledger", otherKey(), longshore)),
      clock("ledger", now - (before + systemClock.now()) / 2),
      ...(hasLauncher ? [] : [noLauncher(config)]),
      ...findingsOn(counts, span),
      ...(await runsThatWait(ledger, longshore, config)),
      ...states
        .flatMap((it) => ofGroup(it, { nowMs: now, hasLauncher }, longshore))
        .map((it) => ({ ...it, isOfGroup: true }) as const),
    ];
  } catch (error) {
    if (error instanceof Failure && error.code === "LedgerNew") return [{ part: "ledger", state: "WARN", says: error.message }];
    return failed("ledger", error, longshore);
  }
}

/** Commands and facts that wait at the broker look well there: only the launcher knows that it should have taken them. */
const noLauncher = (config: string | undefined): Finding => ({
  part: "launcher",
  state: "FAIL",
  says: `${NO_LAUNCHER}: nobody takes commands and facts, or publishes events`,
  todo: toStartSentence(config),
});

/** Returns the ledger's knowledge of a group. */
function ofGroup(
  group: GroupState,
  { nowMs, hasLauncher }: { readonly nowMs: number; readonly hasLauncher: boolean },
  longshore: Longshore,
): readonly Finding[] {
  const { name: part, watchedAtMs, slotsUsed, paused, settings } = group;
  const weaker: readonly Finding[] = settings.hold ? [] : [{ part, state: "WARN", says: UNHELD }];
  if (hasLauncher && isUnserved(group, nowMs)) {
    const says = `no launcher has it in its groups file, and ${slotsUsed === 0 ? "nothing is left" : `${some(slotsUsed, "Job")} ${slotsUsed === 1 ? "is" : "are"}`} there`;
    const todo = toServeSentence(part, longshore.toServe?.[part]);
    return [...weaker, slotsUsed > 0 ? { part, state: "FAIL", says, todo } : { part, state: "ok", says }];
  }
  const heard = hasLauncher ? "" : ", as far as a launcher heard";
  const watched = watchedAtMs === undefined ? "never watched" : `watched ${span(Math.max(0, nowMs - watchedAtMs))} ago`;
  // Launchers write down what watchers report: while none runs, a watcher that is well looks dead.
  const trouble = hasLauncher ? unwatched(group, nowMs) : undefined;
  const says = `${trouble ? `${trouble.code}: ` : ""}${watched}${heard}; ${slotsUsed} of ${settings.limits.jobs} slots in use${paused ? "; paused" : ""}`;
  const todo = trouble === undefined ? undefined : `${trouble.hint} Without one, ends are noticed late`;
  return [...weaker, { part, state: trouble ? "WARN" : "ok", says, ...(todo !== undefined && { todo }) }];
}

/** Reads the files as the launcher does: what it did not take, the person who changed them hears here, too. */
async function definitions({ definitionsDir }: Longshore): Promise<readonly Finding[]> {
  if (definitionsDir === undefined) return [];
  const { definitions: found, problems } = await readDefinitions(definitionsDir);
  const part = "definitions";
  const todo = "mend it: until then the definitions stay as they were, and a launcher that starts is refused";
  if (problems.length > 0) return problems.map((says) => ({ part, state: "FAIL", says, todo }));
  return [{ part, state: "ok", says: `${found.length} in ${shortPath(definitionsDir)}` }];
}

/** A whole path cannot be folded, and would stand beside its column in a narrow terminal. */
const shortPath = (path: string): string => `…/${path.split("/").slice(-2).join("/")}`;

/** Tells whether the launcher's announcements can be sealed, and which key the watchers need. */
async function announcements({ groupsFile, sealKeys, installation }: Longshore): Promise<readonly Finding[]> {
  if (sealKeys === undefined) return [];
  const part = "announce";
  try {
    const found = await (await openWatchAccess(groupsFile, { clock: systemClock })).look();
    const { key, keys } = openSeal(sealKeys, installation);
    const others = keys.length > 1 ? ` (${keys.slice(1).join(", ")} opens too)` : "";
    return [{ part, state: "ok", says: `${found.length} groups to watchers with the seal key ${key}${others}` }];
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    return error.problems.map((says) => ({ part, state: "FAIL", says, todo: "mend it: this launcher would not start" }));
  }
}
