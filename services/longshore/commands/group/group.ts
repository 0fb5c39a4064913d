/**
 * `longshore group`: shows the container groups, and whether they take new work.
 *
 * The failure this prevents: a cluster has to be emptied before its nodes go, and nobody can say whether it is empty.
 */
import { Duration, durationMs } from "@longshore/contract/units.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { leftWords, NO_LAUNCHER, type ToldGroup, toldOf, UNHELD } from "@longshore/domain/group/told.ts";
import type { Counts, GroupState, Ledger } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import {
  command,
  CONFIG,
  configWords,
  family,
  iso,
  json,
  JSON_OPTION,
  type Options,
  say,
  tell,
  screenIn,
  type Surroundings,
  Usage,
  withConfig,
} from "../../command.ts";
import { type Column, paragraph, table } from "../../screen/rows.ts";
import { type Screen, toned } from "../../screen/screen.ts";
import { span } from "../../screen/times.ts";
import { findLongshore, type Longshore } from "../../which-longshore.ts";
import { openReasons, type Reason, reasonOf } from "./left-behind.ts";
import { ledgerOf } from "../publish.ts";

interface Asked {
  readonly ledger: Ledger;
  readonly name: string;
  readonly timeoutMs: number;
  readonly isMeant: boolean;
  readonly config: string | undefined;
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
    namedBy: { list: "group list", field: "name" },
    more,
    async run({ config, timeout, yes = false }, [group = ""], surroundings) {
      const timeoutMs = timeoutOf(timeout);
      await using ledger = await ledgerOf(config, surroundings);
      return await act({ ledger, name: group, timeoutMs, isMeant: yes, config, surroundings });
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
JOBS is how many of the group's slots are taken. IN LINE is how many of these Jobs wait to be created, because the group takes so many a second. A run that waits for a group, for example for a paused one, is in neither number: \`longshore runs list --state active\` shows it. WATCHED says whether a watcher sees the group, and if not, when one last did.

A group that was taken out of the groups file stays in this list, as UNSERVED. So does every group while no launcher runs. No launcher acts on the runs of such a group: start one, put the group back, or give them up with \`longshore runs abandon\`.`,
      async run({ config, json: asJson = false }, _, surroundings) {
        const longshore = await findLongshore({ config }, surroundings);
        await using ledger = await ledgerOf(config, surroundings);
        return await list({ ledger, longshore, asJson, config }, surroundings);
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
Of what stays it names up to five runs, and why: a stalled one, or one whose Job keeps its hold for a while.

Exit 0: the group is empty. Exit 1: a Job is left when the time has passed. The group stays paused in both cases.`,
    }),
    accept: verb("accept", accept, {
      summary: "trust the namespace that a group has now, after its old one was deleted or renamed; runs there end as lost",
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

interface Listed {
  readonly ledger: Ledger;
  readonly longshore: Longshore;
  readonly asJson: boolean;
  readonly config: string | undefined;
}

async function list({ ledger, longshore, asJson, config }: Listed, surroundings: Surroundings): Promise<number> {
  const [groups, nowMs, counts] = [await ledger.groups(), await ledger.now(), await ledger.counts()];
  const hasLauncher = runsLauncher(counts, longshore);
  const seen = groups.map((it) => seenAs(it, { nowMs, hasLauncher, where: configWords(config) }, longshore));
  const screen = screenIn(surroundings);
  if (asJson) surroundings.out(json({ groups: seen.map(recordOf) }));
  else if (groups.length === 0) surroundings.out("no groups\n");
  else {
    say(
      surroundings,
      table(seen, COLUMNS, screen, (it) => notesOf(it, screen)),
    );
    // Launchers write down what watchers report: while none runs, each group looks as the last one left it.
    if (!hasLauncher) {
      tell(surroundings, `${NO_LAUNCHER}, so nobody acts on these groups or hears of them.`);
      say(surroundings, paragraph(toStartSentence(config), { mark: "› " }, screen));
    }
  }
  return 0;
}

/** The launcher within a Longshore that `up` runs takes its first lease a moment after the start. */
export const runsLauncher = ({ hasLauncher }: Pick<Counts, "hasLauncher">, { settings }: Pick<Longshore, "settings">): boolean =>
  hasLauncher || settings === undefined;

export const toStartSentence = (config: string | undefined): string =>
  `start one: npm run launcher -- --config ${config === undefined ? "FILE" : quoted(config)}; if one was started, its log says why it stopped`;

interface Now {
  readonly nowMs: number;
  readonly hasLauncher: boolean;
  /** The words behind each printed command. */
  readonly where: string;
}

/** A group at one moment. */
type Seen = GroupState & Now & ToldGroup;

const seenAs = (group: GroupState, now: Now, longshore: Longshore): Seen => ({
  ...group,
  ...now,
  ...toldOf(group, { ...now, toServe: longshore.toServe?.[group.name] }),
});

function recordOf(group: Seen): object {
  const { name, namespace, word, paused, slotsUsed, inLine, health, diagnosis, full, watchedAtMs, settings, left, trouble } =
    group;
  return {
    name, namespace, state: word, health, diagnosis: diagnosis ?? null, paused, served: !left,
    jobs: slotsUsed, inLine, limits: settings.limits, images: settings.policy.images ?? null, hold: settings.hold,
    watchedAt: iso(watchedAtMs), unwatched: trouble ?? null,
    noRoom: full === undefined ? null : { until: iso(full.untilMs), diagnosis: full.diagnosis },
  }; // biome-ignore format: as in the list
}

const COLUMNS: readonly Column<Seen>[] = [
  { head: "STATE", cell: ({ word }) => toned(word.toUpperCase()) },
  { head: "GROUP", yields: true, cell: ({ name }) => name },
  { head: "NAMESPACE", goes: 1, cell: ({ namespace }) => namespace },
  { head: "JOBS", cell: ({ slotsUsed, settings }) => `${slotsUsed} of ${settings.limits.jobs}` },
  { head: "IN LINE", goes: 2, cell: ({ inLine }) => (inLine > 0 ? `${inLine} of them` : "-") },
  { head: "WATCHED", cell: watchedWords },
]; // biome-ignore format: a table is read down its columns

/** A watcher is heard of once a minute while nothing happens, so a plain "50 s ago" would look like trouble. */
function watchedWords({ watchedAtMs, nowMs, left, trouble }: Seen): string {
  if (watchedAtMs === undefined) return "never";
  if (trouble === undefined && !left) return "yes";
  return `last ${span(Math.max(0, nowMs - watchedAtMs))} ago`;
}

function notesOf({ remarks, pause, settings, left, where }: Seen, screen: Screen): readonly string[] {
  const { hold, limits, policy } = settings;
  const note = (text: string, mark = "") => paragraph(text, { indent: 11, mark }, screen);
  // The column STATE says "paused" already.
  const hasMore = left || pause?.actor !== undefined || pause?.reason !== undefined;
  const told = remarks.filter(({ about }) => about !== "paused" || hasMore);
  return [
    ...told.flatMap(({ says, todo }) => [...note(says), ...(todo === undefined ? [] : note(withConfig(todo, where), "› "))]),
    ...(limits.createsPerSecond === undefined ? [] : note(`at most ${limits.createsPerSecond} creates a second`)),
    ...(policy.images === undefined ? [] : note(`images: ${policy.images.join(", ")}`)),
    ...(hold === false ? note(UNHELD) : []),
  ];
}

async function pause(asked: Asked): Promise<number> {
  const { name, paused, slotsUsed } = await find(asked);
  await asked.ledger.setGroup(name, { paused: true });
  const goesOn =
    slotsUsed === 0 ? "nothing runs there" : slotsUsed === 1 ? "1 Job there goes on" : `${slotsUsed} Jobs there go on`;
  tell(asked.surroundings, `${name} ${paused ? "was paused already" : "is paused"}; ${goesOn}, and ${await unbegunIn(asked)}`);
  const resume = `longshore group resume ${name}${configWords(asked.config)}`;
  say(asked.surroundings, paragraph(`\`${resume}\` lets it take runs again.`, {}, screenIn(asked.surroundings)));
  return 0;
}

const COUNTED_MOST = 1000;

/** A run that waits has no group yet, so that those for other groups are among them. */
async function unbegunIn({ ledger }: Pick<Asked, "ledger">): Promise<string> {
  const runs = await ledger.list({
    state: "active",
    newest: ["run.accepted", "run.restarted", "run.waiting"],
    most: COUNTED_MOST,
  });
  const count = runs.length === COUNTED_MOST ? `${COUNTED_MOST} or more` : String(runs.length);
  return runs.length === 0 ? "no run waits" : runs.length === 1 ? "1 run waits for a group" : `${count} runs wait for a group`;
}

async function resume(asked: Asked): Promise<number> {
  const { name, paused } = await find(asked);
  await asked.ledger.setGroup(name, { paused: false });
  tell(asked.surroundings, `${name} ${paused ? "takes runs again" : "was not paused"}`);
  return 0;
}

const LOOK_MS = 1_000;

async function drain(asked: Asked): Promise<number> {
  const { ledger, surroundings, timeoutMs, config } = asked;
  const { signal } = surroundings;
  const { name } = await find(asked);
  await ledger.setGroup(name, { paused: true });
  const untilMs = clock.now() + timeoutMs;
  const newReasons = openReasons();
  for (let said = ""; ; ) {
    const found = await leftIn(ledger, name, { config, nowMs: await ledger.now() });
    if (found === undefined) {
      tell(surroundings, `${name} is empty, and stays paused: longshore group resume ${name}${configWords(config)}`);
      return 0;
    }
    const { left, reasons } = found;
    const isOver = signal.aborted || clock.now() >= untilMs;
    if (left !== said) tell(surroundings, `${name} is paused; ${left}`);
    for (const it of newReasons(reasons, said === "" || isOver ? "running" : "stuck alone"))
      say(surroundings, paragraph(it, { indent: 2 }, screenIn(surroundings)));
    said = left;
    if (isOver) {
      tell(surroundings, `${name} is not empty: ${left}. It stays paused`);
      return signal.aborted ? 130 : 1;
    }
    await clock.sleep(Math.min(LOOK_MS, Math.max(0, untilMs - clock.now())), signal);
  }
}

/** Tells what would be given up and asks for --yes, because runs that are given up cannot be taken back. */
async function accept(asked: Asked): Promise<number> {
  const { ledger, isMeant, surroundings, config } = asked;
  const { name, namespace, diagnosis, namespaceUid } = await find(asked);
  const seeList = `longshore group list${configWords(config)}`;
  const notMoved = new Failure("refuse", "NotMoved", `${name} did not move, so there is nothing to accept: ${seeList}`);
  if (diagnosis?.code !== "GroupMoved") throw notMoved;
  const ofOld = namespaceUid === undefined ? "" : `, in place of the one with the UID ${namespaceUid}`;
  const left = await standingIn(ledger, name);
  const givenUp =
    left === ""
      ? "nothing stood in the old one"
      : `everything in the old one is given up (${left}): its unfinished runs end as lost, and you have to delete its Jobs by hand`;
  const deed = `the namespace ${namespace} that ${name} finds now is trusted${ofOld}; ${givenUp}`;
  if (!isMeant) throw new Usage(`accept: ${deed}. Say --yes if that is meant`);
  tell(surroundings, deed);
  const accepted = await ledger.acceptGroup(name);
  if (accepted.kind === "notMoved") throw notMoved;
  tell(
    surroundings,
    `${name} is accepted; ${accepted.lost} ${accepted.lost === 1 ? "run" : "runs"} ended as lost. It takes runs again once a launcher has reached it`,
  );
  return 0;
}

interface Left {
  readonly left: string;
  readonly reasons: readonly Reason[];
}

/** Tells how many attempts are in line for the group, or are or may be in its cluster, and why; undefined if there are none. */
async function leftIn(
  ledger: Ledger,
  name: GroupState["name"],
  at: { readonly nowMs: number; readonly config: string | undefined },
): Promise<Left | undefined> {
  const { inLine = 0 } = (await ledger.groups()).find((it) => it.name === name) ?? {};
  const standing = await ledger.standing(name, (it) => ({ state: it.attempt.state, reason: reasonOf(it, at) }));
  const left = leftWords({ ...counted(standing.map(({ state }) => state)), ready: inLine });
  return left === "" ? undefined : { left, reasons: standing.flatMap(({ reason }) => reason ?? []) };
}

const standingIn = async (ledger: Ledger, name: GroupState["name"]): Promise<string> =>
  leftWords(counted(await ledger.standing(name, ({ attempt }) => attempt.state)));

const counted = (states: readonly string[]): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Array.from(
      Map.groupBy(states, (it) => it),
      ([state, all]) => [state, all.length],
    ),
  );
