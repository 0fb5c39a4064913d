/** `longshore doctor`: asks every part how it is, in one page. Exit 1 if anything has failed. */
import { brokerAt, openBroker } from "@longshore/broker/brokers.ts";
import { NAMES } from "@longshore/broker/settings.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { isUnserved } from "@longshore/domain/group/group.ts";
import { openWatchAccess } from "@longshore/kubernetes/access/watch-access.ts";
import { unwatched } from "@longshore/launcher/groups/unwatched.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { openSeal } from "@longshore/runtime/seal.ts";
import { command, CONFIG, json, JSON_OPTION } from "../command.ts";
import { groups } from "./doctor-groups.ts";
import { UNHELD } from "./group.ts";
import { findLongshore, type Longshore } from "../which-longshore.ts";
import { span } from "../terminal.ts";

/** One line of the page. `todo`: the reader's next step. */
export interface Finding {
  readonly part: string;
  readonly state: "ok" | "WARN" | "FAIL";
  readonly says: string;
  readonly todo?: string;
}

export const doctor = command({
  name: "doctor",
  summary: "ask broker, ledger, clocks and groups how they are",
  usage: ["[--json] [--config FILE]"],
  options: { json: JSON_OPTION, config: CONFIG },
  more: `
Exit 0: nothing failed; there may be warnings. Exit 1: something failed, and its line says what to do.`,
  async run({ config, json: asJson = false }, _, surroundings) {
    const longshore = await findLongshore({ config }, surroundings);
    const findings: Finding[] = [];
    for (const examine of [brokerAndClock, ledgerAndHolds, announcements, groups]) {
      for (const finding of await examine(longshore, surroundings.signal)) {
        if (!asJson) surroundings.out(lineOf(finding, findings.at(-1)?.part));
        findings.push(finding);
      }
    }
    const count = (state: Finding["state"]): number => findings.filter((it) => it.state === state).length;
    const [warnings, failures] = [count("WARN"), count("FAIL")];
    const sum =
      failures + warnings === 0 ? "all well" : `${warnings} warnings, ${failures} failures${failures > 0 ? " (exit 1)" : ""}`;
    surroundings.out(asJson ? json({ warnings, failures, findings }) : `${sum}\n`);
    return failures > 0 ? 1 : 0;
  },
});

function lineOf({ part, state, says, todo }: Finding, before: string | undefined): string {
  const name = part === before ? "" : part;
  return `${name.padEnd(10)} ${state.padEnd(4)} ${says}\n${todo === undefined ? "" : `${" ".repeat(16)}› ${todo}\n`}`;
}

/** The line for a part that cannot even be opened. */
const failed = (part: string, error: unknown): readonly Finding[] => {
  if (!(error instanceof Failure)) throw error;
  return [{ part, state: "FAIL", says: error.message }];
};

async function brokerAndClock({ broker: where }: Longshore, signal: AbortSignal): Promise<readonly Finding[]> {
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
              says: `${waiting.quarantine} messages in quarantine: nobody could read them`,
              todo: `look at them in the broker: ${brokerAt(where.url).quarantine({ ...NAMES, ...where.names })}`,
            },
          ];
    return [
      {
        part: "broker",
        state: "ok",
        says: `${product}, user ${user}; waiting: ${waiting.commands} commands, ${waiting.facts} facts`,
      },
      ...quarantined,
      ...skew,
    ];
  } catch (error) {
    return failed("broker", error);
  }
}

function clock(whose: string, skewMs: number): Finding {
  const says = `${whose} ${skewMs >= 0 ? "+" : ""}${Math.round(skewMs)} ms`;
  return Math.abs(skewMs) < 5_000
    ? { part: "clock", state: "ok", says }
    : { part: "clock", state: "WARN", says, todo: "set the clocks (NTP): durations in events will be wrong" };
}

const HOURGLASS_MS = 60_000;

async function ledgerAndHolds({ ledgerUrl, installation }: Longshore): Promise<readonly Finding[]> {
  const jobName = (): never => {
    throw new Error("doctor begins no attempts");
  };
  try {
    await using ledger = await openLedger({ url: ledgerUrl, installation, jobName, migrate: false, log: silentLog });
    const before = systemClock.now();
    const now = await ledger.now();
    const [{ product, schema }, counts, states] = [await ledger.describe(), await ledger.counts(), await ledger.groups()];
    const late = (counts.outboxOldestMs ?? 0) > HOURGLASS_MS;
    return [
      { part: "ledger", state: "ok", says: `${product}, schema ${schema}, outbox ${counts.outbox}` },
      clock("ledger", now - (before + systemClock.now()) / 2),
      ...(late
        ? [
            {
              part: "ledger",
              state: "FAIL",
              says: `the oldest unpublished event waits for ${span(counts.outboxOldestMs ?? 0)}`,
              todo: "is a launcher running, and does the broker take its events?",
            } as const,
          ]
        : []),
      counts.overdue === 0
        ? {
            part: "runs",
            state: "ok",
            says: `${counts.runs.active} active, ${counts.runs.cancelling} cancelling, ${counts.runs.ended} ended; 0 overdue`,
          }
        : {
            part: "runs",
            state: "FAIL",
            says: `${counts.overdue} attempts are overdue: nobody acted on them in time`,
            todo: "is a launcher running, and does it reach the groups below?",
          },
      ...states.flatMap(({ name, watchedAtMs, slotsUsed, paused, settings, servedAtMs }): Finding[] => {
        const watched = watchedAtMs === undefined ? "never watched" : `watched ${span(Math.max(0, now - watchedAtMs))} ago`;
        const trouble = unwatched({ name, watchedAtMs }, now);
        const says = `${trouble ? `${trouble.code}: ` : ""}${watched}; ${slotsUsed} of ${settings.limits.jobs} slots in use${paused ? "; paused" : ""}`;
        const unserved = isUnserved({ servedAtMs }, now);
        return [
          ...(settings.hold ? [] : [{ part: name, state: "WARN", says: UNHELD } as const]),
          ...(unserved && slotsUsed > 0
            ? [
                {
                  part: name,
                  state: "FAIL",
                  says: `no launcher has it in its groups file, and ${slotsUsed} Jobs are there`,
                  todo: "put it back, or give its runs up: longshore runs abandon",
                } as const,
              ]
            : []),
          trouble
            ? { part: name, state: "WARN", says, todo: `${trouble.hint} Without one, ends are noticed late` }
            : { part: name, state: "ok", says },
        ];
      }),
    ];
  } catch (error) {
    return failed("ledger", error);
  }
}

/** Tells whether the launcher's announcements can be sealed, and which key the watchers need. */
async function announcements({ groupsFile, sealKeys, installation }: Longshore): Promise<readonly Finding[]> {
  if (sealKeys === undefined) return [];
  const part = "announce";
  try {
    const found = await (await openWatchAccess(groupsFile, systemClock)).look();
    const { key, keys } = openSeal(sealKeys, installation);
    const others = keys.length > 1 ? ` (${keys.slice(1).join(", ")} opens too)` : "";
    return [{ part, state: "ok", says: `${found.length} groups to watchers with the seal key ${key}${others}` }];
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    return error.problems.map((says) => ({ part, state: "FAIL", says, todo: "mend it: this launcher would not start" }));
  }
}
