/**
 * `longshore group`: shows the container groups, and whether they take new work.
 *
 * The failure this prevents: a cluster has to be emptied before its nodes go, and nobody can say whether it is empty.
 */
import { WEAKER } from "@longshore/contract/event.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { isUnserved } from "@longshore/domain/group/group.ts";
import { unwatched } from "@longshore/launcher/groups/unwatched.ts";
import type { GroupState, Ledger } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { command, CONFIG, family, iso, json, JSON_OPTION, type Options, type Surroundings, Usage } from "../command.ts";
import { plain, span } from "../terminal.ts";
import { ledgerOf } from "./publish.ts";

interface Asked {
  readonly ledger: Ledger;
  readonly name: string;
  readonly timeoutMs: number;
  readonly isMeant: boolean;
  readonly surroundings: Surroundings;
}

const OPTIONS = {
  timeout: {
    type: "string",
    value: "TIME",
    about: "how long to wait, such as 90s, 30m or 2h (default: until the group is empty)",
  },
  yes: { type: "boolean", about: "give up what would be given up" },
  config: CONFIG,
} as const;

/** A verb on one group. */
function verb(
  name: string,
  act: (asked: Asked) => Promise<number>,
  of: { readonly summary: string; readonly options?: Partial<typeof OPTIONS>; readonly more: string },
) {
  const { summary, options = {}, more } = of;
  const optional = Object.entries(options as Options).map(([it, { value }]) => `[--${it}${value ? ` ${value}` : ""}]`);
  return command({
    name: `group ${name}`,
    summary,
    usage: [["NAME", ...optional].join(" ")],
    options: { ...options, config: CONFIG } as typeof OPTIONS,
    words: ["a group's name"],
    more,
    async run({ config, timeout, yes = false }, [group = ""], surroundings) {
      const timeoutMs = timeoutOf(timeout);
      await using ledger = await ledgerOf(config, surroundings);
      return await act({ ledger, name: group, timeoutMs, isMeant: yes, surroundings });
    },
  });
}

export const group = family({
  name: "group",
  summary: "list, pause, resume and drain groups, and accept that one moved",
  more: `
A group is a namespace of a cluster, by the name that the groups file gives it.`,
  verbs: {
    list: command({
      name: "group list",
      summary: "show how the groups are, and whether they take new runs",
      usage: ["[--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      more: `
A group that was taken out of the groups file stays in this list until none of its runs is active. No launcher acts on those runs: put the group back, or give them up with \`longshore runs abandon\`.`,
      async run({ config, json: asJson = false }, _, surroundings) {
        await using ledger = await ledgerOf(config, surroundings);
        return await list(ledger, asJson, surroundings);
      },
    }),
    pause: verb("pause", pause, {
      summary: "launch nothing new in a group",
      more: `
Running Jobs go on. Runs that were only in line go to another of their groups, or wait. The group stays paused until \`longshore group resume\`, even after restarts.`,
    }),
    resume: verb("resume", resume, { summary: "launch in a paused group again", more: "" }),
    drain: verb("drain", drain, {
      summary: "pause a group, and wait until no Job of ours is left there",
      options: { timeout: OPTIONS.timeout },
      more: `
Exit 0: the group is empty. Exit 1: a Job is left when the time has passed. The group stays paused in both cases.`,
    }),
    accept: verb("accept", accept, {
      summary: "trust the namespace that a moved group has now",
      options: { yes: OPTIONS.yes },
      more: `
For a group with the diagnosis GroupMoved: its namespace was deleted and made again, the groups file names another one, or another cluster answers. The namespace that the next probe finds is then trusted. Runs in the old namespace end as lost, whatever their Jobs do; if the old namespace still exists, delete its Jobs by hand. Without --yes, accept only says what would be given up.`,
    }),
  },
});

function timeoutOf(given: string | undefined): number {
  if (given === undefined) return Number.POSITIVE_INFINITY;
  const duration = Duration.safeParse(given);
  const ms = duration.success ? durationMs(duration.data) : undefined;
  if (ms === undefined) throw new Usage(`--timeout is a duration such as 90s, 30m or 2h; not "${given}"`);
  return ms;
}

async function find({ ledger, name }: Asked): Promise<GroupState> {
  const groups = await ledger.groups();
  const found = groups.find((it) => it.name === name);
  if (found !== undefined) return found;
  const known = groups.map((it) => it.name).join(", ");
  throw new Failure("refuse", "NoGroup", `there is no group "${name}"; there ${known === "" ? "are none" : `is ${known}`}`);
}

async function list(ledger: Ledger, asJson: boolean, { out }: Surroundings): Promise<number> {
  const [groups, nowMs] = [await ledger.groups(), await ledger.now()];
  if (asJson) out(json({ groups: groups.map((it) => recordOf(it, nowMs)) }));
  else if (groups.length === 0) out("no groups\n");
  else for (const it of groups) out(plain(`${linesOf(it, nowMs).join("\n")}\n`));
  return 0;
}

function recordOf(group: GroupState, nowMs: number): object {
  const { name, namespace, paused, slotsUsed, inLine, health, diagnosis, noRoom, watchedAtMs, settings } = group;
  const served = !isUnserved(group, nowMs);
  return {
    name, namespace, health, diagnosis: diagnosis ?? null, paused, served,
    jobs: slotsUsed, inLine, limits: settings.limits, images: settings.policy.images ?? null, hold: settings.hold,
    watchedAt: iso(watchedAtMs), unwatched: (served && unwatched(group, nowMs)) || null,
    noRoom: noRoom !== undefined && noRoom.untilMs > nowMs ? { until: iso(noRoom.untilMs), diagnosis: noRoom.diagnosis } : null,
  }; // biome-ignore format: as in the list
}

/** Names the promises that are weaker in a group without holds, in the words of its events. */
export const UNHELD = `hold: false, so ${Object.keys(WEAKER).join(" and ")} are weaker. ${Object.values(WEAKER).join(" ")}`;

function linesOf(group: GroupState, nowMs: number): readonly string[] {
  const { name, namespace, paused, slotsUsed, inLine, health, diagnosis, noRoom, settings } = group;
  const { hold, limits, policy } = settings;
  const state = isUnserved(group, nowMs) ? "UNSERVED" : paused ? "PAUSED" : health.toUpperCase();
  const watched =
    group.watchedAtMs === undefined ? "never watched" : `watched ${span(Math.max(0, nowMs - group.watchedAtMs))} ago`;
  // If no launcher serves a group, nobody is expected to watch it.
  const trouble = state === "UNSERVED" ? undefined : unwatched(group, nowMs);
  const line = inLine > 0 ? `, ${inLine} of them in line` : "";
  return [
    `${state.padEnd(10)} ${name.padEnd(20)} ${namespace.padEnd(16)} ${slotsUsed} of ${limits.jobs} Jobs${line}; ${watched}`,
    ...(state === "UNSERVED" ? ["           no launcher has it in its groups file: nothing there is acted on"] : []),
    ...(paused && state !== "PAUSED" ? ["           paused"] : []),
    ...(health === "unhealthy" && diagnosis
      ? [`           ${diagnosis.code}: ${diagnosis.sentence}`, `           › ${diagnosis.hint.replaceAll("<group>", name)}`]
      : []),
    ...(trouble ? [`           ${trouble.code}: ${trouble.sentence}`, `           › ${trouble.hint}`] : []),
    ...(noRoom !== undefined && noRoom.untilMs > nowMs ? [`           no room: ${noRoom.diagnosis.sentence}`] : []),
    ...(limits.createsPerSecond === undefined ? [] : [`           at most ${limits.createsPerSecond} creates a second`]),
    ...(policy.images === undefined ? [] : [`           images: ${policy.images.join(", ")}`]),
    ...(hold === false ? [`           ${UNHELD}`] : []),
  ];
}

async function pause(asked: Asked): Promise<number> {
  const { name, paused, slotsUsed } = await find(asked);
  await asked.ledger.setGroup(name, { paused: true });
  const goesOn = slotsUsed === 0 ? "nothing runs there" : `${slotsUsed} Jobs there go on`;
  asked.surroundings.out(`${name} ${paused ? "was paused already" : "is paused"}; ${goesOn}\n`);
  return 0;
}

async function resume(asked: Asked): Promise<number> {
  const { name, paused } = await find(asked);
  await asked.ledger.setGroup(name, { paused: false });
  asked.surroundings.out(`${name} ${paused ? "takes runs again" : "was not paused"}\n`);
  return 0;
}

const LOOK_MS = 1_000;

async function drain(asked: Asked): Promise<number> {
  const { ledger, surroundings, timeoutMs } = asked;
  const { out, signal } = surroundings;
  const { name } = await find(asked);
  await ledger.setGroup(name, { paused: true });
  const untilMs = clock.now() + timeoutMs;
  for (let said = ""; ; ) {
    const left = await leftIn(ledger, name);
    if (left === undefined) {
      out(`${name} is empty, and stays paused: longshore group resume ${name}\n`);
      return 0;
    }
    if (left !== said) out(`${name} is paused; ${left}\n`);
    said = left;
    if (signal.aborted || clock.now() >= untilMs) {
      out(`${name} is not empty: ${left}. It stays paused\n`);
      return signal.aborted ? 130 : 1;
    }
    await clock.sleep(Math.min(LOOK_MS, Math.max(0, untilMs - clock.now())), signal);
  }
}

/** Tells what would be given up and asks for --yes, because runs that are given up cannot be taken back. */
async function accept(asked: Asked): Promise<number> {
  const { ledger, isMeant, surroundings } = asked;
  const { name, namespace, diagnosis, namespaceUid } = await find(asked);
  const notMoved = new Failure("refuse", "NotMoved", `${name} did not move, so there is nothing to accept: longshore group list`);
  if (diagnosis?.code !== "GroupMoved") throw notMoved;
  const ofOld = namespaceUid === undefined ? "" : `, in place of the one with the UID ${namespaceUid}`;
  const left = await standingIn(ledger, name);
  const givenUp =
    left.length === 0
      ? "nothing stood in the old one"
      : `everything in the old one is given up (${left.join(", ")}): its unfinished runs end as lost, and you have to delete its Jobs by hand`;
  const deed = `the namespace ${namespace} that ${name} finds now is trusted${ofOld}; ${givenUp}`;
  if (!isMeant) throw new Usage(`accept: ${deed}. Say --yes if that is meant`);
  surroundings.out(`${deed}\n`);
  const accepted = await ledger.acceptGroup(name);
  if (accepted.kind === "notMoved") throw notMoved;
  surroundings.out(
    `${name} is accepted; ${accepted.lost} runs ended as lost. It takes runs again once a launcher has reached it\n`,
  );
  return 0;
}

/** Tells how many attempts are in line for the group, or are or may be in its cluster; undefined if there are none. */
async function leftIn(ledger: Ledger, name: GroupState["name"]): Promise<string | undefined> {
  const { inLine = 0 } = (await ledger.groups()).find((it) => it.name === name) ?? {};
  const parts = [...(inLine > 0 ? [`${inLine} in line`] : []), ...(await standingIn(ledger, name))];
  return parts.length === 0 ? undefined : parts.join(", ");
}

async function standingIn(ledger: Ledger, name: GroupState["name"]): Promise<readonly string[]> {
  const standing = await ledger.standing(name);
  const words = { claimed: "being created", live: "running", closing: "being deleted", ended: "to be released" } as const;
  return Object.entries(words).flatMap(([state, what]) => {
    const n = standing.filter(({ attempt }) => attempt.state === state).length;
    return n === 0 ? [] : [`${n} ${what}`];
  });
}
