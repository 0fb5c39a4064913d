/** `longshore runs`: what ran, how it went, and what to do about it. */
import type { Outgoing } from "@longshore/broker/port.ts";
import { isTerminal, OUTCOMES } from "@longshore/contract/event.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { runLabel } from "@longshore/domain/run/identity.ts";
import { LABELS } from "@longshore/domain/run/marks.ts";
import { RUN_STATES, type RunRecord } from "@longshore/domain/run/record.ts";
import { sha256 } from "@longshore/launcher/keys.ts";
import type { RunFilter, RunRow, StoryEvent } from "@longshore/ledger/port.ts";
import {
  command as declared,
  CONFIG,
  family,
  iso,
  json,
  JSON_OPTION,
  say,
  tell,
  screenIn,
  type Surroundings,
  Usage,
} from "../command.ts";
import type { Values as ValuesOf } from "../command.ts";
import { exitCodeOf, follow } from "../following.ts";
import { actorAt, hintAt, moreAt, type Place, placeOf } from "../place.ts";
import { findLongshore } from "../which-longshore.ts";
import { brokerOf, commandOf, ledgerOf, sendTo } from "./publish.ts";
import { type Column, paragraph, row, table, whole } from "../screen/rows.ts";
import { painted, type Screen, toned } from "../screen/screen.ts";
import { plain } from "../screen/text.ts";
import { span, timeText } from "../screen/times.ts";
import { diagnosisLines, logLines, storyTable } from "../terminal.ts";

/** A tombstone is no run yet. */
const STATES = RUN_STATES.filter((it) => it !== "tombstone");

const REASON = { type: "string", value: "TEXT", about: "why, for those who read the run's story" } as const;

const OPTIONS = {
  state: { type: "string", value: "STATE", words: STATES, about: "only runs in this state" },
  outcome: { type: "string", value: "OUTCOME", words: OUTCOMES, about: "only runs that ended like this" },
  most: { type: "string", value: "N", about: "how many, newest first, up to 1000 (default: 20)" },
  reason: REASON,
  from: { type: "string", value: "WHERE", about: "failed (the step that failed; the default), start, or a step's name" },
  with: { type: "string", multiple: true, value: "FIELD=VALUE", about: "change this of the request; may be repeated" },
  yes: { type: "boolean", about: "give the run up" },
  json: JSON_OPTION,
  config: CONFIG,
} as const;

type Values = ValuesOf<typeof OPTIONS>;

/** A verb on one run. */
function verb(
  name: string,
  act: (run: RunId, values: Values, surroundings: Surroundings) => Promise<number>,
  of: { readonly summary: string; readonly usage?: string; readonly options?: Partial<typeof OPTIONS>; readonly more: string },
) {
  const { summary, usage = "", options, more } = of;
  return declared({
    name: `runs ${name}`,
    summary,
    usage: [`RUN ${usage}`],
    options: { ...options, config: CONFIG } as typeof OPTIONS,
    words: ["a run's id"],
    more,
    async run(values, [id = ""], surroundings) {
      const run = RunId.safeParse(id);
      if (!run.success) throw new Usage(`runs ${name} needs a run's id: ${run.error.issues[0]?.message ?? "this is none"}`);
      return await act(run.data, values, surroundings);
    },
  });
}

export const runs = family({
  name: "runs",
  summary: "list, show, follow, cancel, restart and give up runs",
  verbs: {
    list: declared({
      name: "runs list",
      summary: "show the newest runs",
      usage: ["[--state STATE] [--outcome OUTCOME] [--most N] [--json]"],
      options: { state: OPTIONS.state, outcome: OPTIONS.outcome, most: OPTIONS.most, json: OPTIONS.json, config: CONFIG },
      run: async (values, _, surroundings) => await list(values, surroundings),
    }),
    show: verb("show", show, {
      summary: "show one run: its state, the reason, the next step, and its story",
      usage: "[--json]",
      options: { json: OPTIONS.json },
      more: "",
    }),
    follow: verb("follow", followRun, {
      summary: "print a run's story so far, then what happens, until it ends",
      more: `
"+12 s" beside a line: so long lasted the state before it.

Exit 0: the run succeeded. Exit 1: it did not. Exit 130: nobody waits any more (Ctrl-C).`,
    }),
    cancel: verb("cancel", cancel, {
      summary: "cancel a run, and wait for its end",
      usage: "[--reason TEXT]",
      options: { reason: REASON },
      more: `
It waits until the run's pods are gone. Ctrl-C ends only the waiting: the run is cancelled all the same.

Exit 0: the run has ended. Exit 1: there is nothing to cancel, or it was refused. Exit 130: nobody waits any more (Ctrl-C).`,
    }),
    restart: verb("restart", restart, {
      summary: "run a run that ended again, and wait for its end",
      usage: "[--from failed|start|STEP] [--with FIELD=VALUE ...]",
      options: { from: OPTIONS.from, with: OPTIONS.with },
      more: `
It waits until the run has ended again, and prints the story meanwhile. Ctrl-C ends only the waiting: the run goes on.

  longshore runs restart orders/8812/export --with resources.limits.memory=2Gi

Exit 0: the run succeeded. Exit 1: it did not, or the restart was refused. Exit 130: nobody waits any more (Ctrl-C).`,
    }),
    abandon: verb("abandon", abandon, {
      summary: "give up a run that nobody can end any more",
      usage: "--yes [--reason TEXT]",
      options: { yes: OPTIONS.yes, reason: REASON },
      more: `
For a run whose cluster is gone for good, or whose namespace was made anew. The run ends as lost at once, whatever its Job does. The Job may still run; if its cluster answers again, the Job is deleted on sight. Only operators may abandon a run: the launcher's setting \`operators\` names their broker users.`,
    }),
  },
});

async function list(values: Values, surroundings: Surroundings): Promise<number> {
  const most = values.most === undefined ? 20 : Number(values.most);
  if (!Number.isInteger(most) || most < 1 || most > 1000) throw new Usage("--most is a number from 1 to 1000");
  const state = STATES.find((it) => it === values.state);
  const outcome = OUTCOMES.find((it) => it === values.outcome);
  const filter: RunFilter = { most, ...(state !== undefined && { state }), ...(outcome !== undefined && { outcome }) };
  await using ledger = await ledgerOf(values.config, surroundings);
  const rows = await ledger.list(filter);
  if (values.json === true) {
    surroundings.out(json({ runs: rows.map(recordOf) }));
    return 0;
  }
  if (rows.length === 0) surroundings.out("no runs\n");
  else say(surroundings, table(rows, COLUMNS, screenIn(surroundings)));
  return 0;
}

const COLUMNS: readonly Column<RunRow>[] = [
  { head: "STATE", cell: ({ outcome, state }) => toned((outcome ?? state).toUpperCase()) },
  { head: "RUN", yields: true, cell: ({ id }) => id },
  { head: "GROUP", goes: 1, cell: ({ group }) => group ?? "-" },
  { head: "ACCEPTED", goes: 2, cell: ({ acceptedAtMs }) => timeText(acceptedAtMs) },
  { head: "TOOK", cell: ({ acceptedAtMs, endedAtMs }) => (endedAtMs === undefined ? "" : span(endedAtMs - acceptedAtMs)) },
];

const recordOf = ({ id, tenant, state, outcome, group, acceptedAtMs, endedAtMs }: Omit<RunRow, "cursor">): object => ({
  run: id, tenant, state, outcome: outcome ?? null, group: group ?? null, acceptedAt: iso(acceptedAtMs), endedAt: iso(endedAtMs),
}); // biome-ignore format: as in the list

async function show(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  await using ledger = await ledgerOf(values.config, surroundings);
  const [found, story] = [await ledger.find(run), await ledger.story(run, 0, 1000)];
  if (found === undefined) throw runUnknown(run);
  if (values.json === true) surroundings.out(json(bookOf(found.record, story)));
  else {
    const place = placeOf(found.record, await findLongshore({ config: values.config }, surroundings), values.config);
    say(surroundings, pageOf(found.record, story, place, screenIn(surroundings)));
  }
  return 0;
}

/** The run for programs. Without its request, whose variables may be secrets. */
function bookOf({ run, attempts }: RunRecord, story: readonly StoryEvent[]): object {
  const { id, tenant, source, state, outcome, group, acceptedAtMs, endedAtMs } = run;
  return {
    ...recordOf({ id, tenant, state, outcome, group, acceptedAtMs, endedAtMs }),
    source,
    selector: selectorOf(run.id),
    attempts: attempts.map(({ step, n, state, group, name, notes, claimNo, started, outcome }) => ({
      step, attempt: n, state, group: group ?? null, started, result: outcome?.result ?? null, diagnosis: outcome?.diagnosis ?? null,
      job: claimNo > 0 ? { namespace: notes.namespace ?? null, name } : null,
    })), // biome-ignore format: as in the story
    story: story.map(({ sequence, atMs, type, data }) => ({ sequence, time: iso(atMs), type, data })),
  };
}

/** Selects every Job and pod of a run. */
const selectorOf = (run: RunId): string => `${LABELS.run}=${runLabel(run, sha256)}`;

/** The namespaces in which the run may have Jobs. */
const namespacesOf = ({ attempts }: RunRecord): readonly string[] => [
  ...new Set(attempts.flatMap(({ notes: { namespace }, claimNo }) => (claimNo > 0 && namespace ? [namespace] : []))),
];

/** One screen: the run's state, the reason, the next step, and the story. */
function pageOf(record: RunRecord, story: readonly StoryEvent[], place: Place, screen: Screen): readonly string[] {
  const { run, attempts } = record;
  const end = story.findLast(({ type }) => isTerminal(type));
  const { diagnosis, seconds, log } = (end?.data ?? {}) as {
    diagnosis?: { code: string; sentence: string; hint: string; blame: string; evidence: string[] };
    seconds?: Record<string, number>;
    log?: { state: string; lines: number; tail: string };
  };
  const last = attempts.at(-1);
  const where = last?.notes.considered?.map(({ group, why }) => `${group}: ${why}`).join("  ");
  const phases = Object.entries(seconds ?? {}).map(([phase, value]) => `${phase} ${span(value * 1000)}`);
  const about = (name: string, text: string) => row([{ text: name, tone: "faint" }, text], { widths: [7], indent: 2 }, screen);
  const lineOf = storyTable(screen);
  return [
    ...headOf(run, diagnosis && { code: diagnosis.code, actor: actorAt(place, diagnosis.blame) }, screen),
    ...(diagnosis
      ? [
          ...diagnosisLines({ ...diagnosis, hint: hintAt(place, diagnosis) }, screen),
          ...diagnosis.evidence.flatMap((it) => paragraph(it, { indent: 2, mark: "seen: " }, screen)),
        ]
      : []),
    ...about("from", `${run.tenant} (${run.source})`),
    ...about("group", `${run.group ?? "-"}${where ? `    ${where}` : ""}`),
    ...(phases.length > 0 ? about("time", phases.join(" | ")) : []),
    ...story.flatMap((event, index) => lineOf(event, story[index - 1]?.atMs, run.plan.simple)),
    ...logLines(log, screen),
    ...moreAt(place, namespacesOf(record), selectorOf(run.id)).map((it) => whole(it, 2)),
    ...(run.outcome === "failed" ? [whole(`longshore runs restart ${run.id}${place.where}`, 2)] : []),
  ];
}

/** The id and how the run is. If an id is too long for that, the rest stands beneath it. */
function headOf(
  { id, outcome, state }: RunRecord["run"],
  diagnosis: { readonly code: string; readonly actor: string } | undefined,
  screen: Screen,
): readonly string[] {
  const how = toned((outcome ?? state).toUpperCase());
  const why = diagnosis === undefined ? "" : `   ${diagnosis.code}   to act: ${diagnosis.actor}`;
  const { columns = Number.POSITIVE_INFINITY } = screen;
  const isShort = id.length + 4 + how.text.length + why.length <= columns;
  const rest = painted(how.text, how.tone, screen) + plain(why);
  const name = painted(id, "strong", screen);
  return isShort ? [`${name}    ${rest}`] : [name, `    ${rest}`];
}

const runUnknown = (run: RunId): Failure =>
  new Failure("refuse", "RunUnknown", `no run has the id ${run}; \`longshore runs list\` shows what there is`);

/** Follows the run from now on, with the broker that a command is sent to. */
async function following(run: RunId, { config }: Values, surroundings: Surroundings, command?: Outgoing) {
  await using parts = new AsyncDisposableStack();
  const broker = parts.use(await brokerOf(config, surroundings));
  const ledger = parts.use(await ledgerOf(config, surroundings));
  const longshore = await findLongshore({ config }, surroundings);
  const place = (record: RunRecord) => placeOf(record, longshore, config);
  const followed = await follow({ broker, ledger, run, config, place, ...(command && { command: command.id }) }, surroundings);
  const kept = parts.move();
  return { ...followed, broker, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function followRun(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  await using followed = await following(run, values, surroundings);
  if (followed.found === undefined) throw runUnknown(run);
  return exitCodeOf((await followed.soFar()) ?? (await followed.toEnd()));
}

async function cancel(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  const command = commandOf("run.cancel", { run, ...(values.reason !== undefined && { reason: values.reason }) });
  await using followed = await following(run, values, surroundings, command);
  // Else the cancel would be kept for a run that may never come, and the following would never end.
  if (followed.found === undefined) throw runUnknown(run);
  const { state, outcome } = followed.found.record.run;
  if (state === "ended")
    throw new Failure("refuse", "AlreadyEnded", `there is nothing to cancel: ${run} has ended already (${outcome ?? "ended"})`);
  await sendTo(followed.broker, command, surroundings);
  tell(surroundings, `asked to cancel ${run}; it is cancelled when its pods are gone`);
  // Any end of the run will do. The command failed only if it was refused, or if following was stopped.
  const end = await followed.toEnd();
  return end === "command.refused" || end === "stopped" ? exitCodeOf(end) : 0;
}

/** Asks for --yes, because nothing takes this back: nobody looks for a Job that was given up. */
async function abandon(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  if (values.yes !== true)
    throw new Usage(
      `abandon ends ${run} as lost, whatever its Job does: the Job may still run, and is deleted if its cluster answers. Say --yes if that is meant`,
    );
  const command = commandOf("run.abandon", { run, ...(values.reason !== undefined && { reason: values.reason }) });
  await using followed = await following(run, values, surroundings, command);
  if (followed.found === undefined) throw runUnknown(run);
  await sendTo(followed.broker, command, surroundings);
  const end = await followed.toEnd();
  return end === "run.lost" ? 0 : end === "command.refused" ? 1 : exitCodeOf(end);
}

async function restart(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  const from = (values.from ?? "failed") as "failed";
  const command = commandOf("run.restart", { run, from, ...(values.with && { with: correctionOf(values.with) }) });
  await using followed = await following(run, values, surroundings, command);
  await sendTo(followed.broker, command, surroundings);
  return exitCodeOf(await followed.toEnd());
}

/** Turns "resources.limits.memory=2Gi" into { resources: { limits: { memory: "2Gi" } } }. */
function correctionOf(given: readonly string[]): Record<string, never> {
  const root: Record<string, unknown> = Object.create(null);
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw new Usage(`--with ${text}: write FIELD=VALUE, such as resources.limits.memory=2Gi`);
    const path = text.slice(0, at).split(".");
    const last = path.pop() ?? "";
    let into = root;
    for (const name of path) {
      const next: unknown = (into[name] ??= Object.create(null));
      if (typeof next !== "object" || next === null) throw new Usage(`--with ${text}: ${name} was given a value already`);
      into = next as Record<string, unknown>;
    }
    into[last] = text.slice(at + 1);
  }
  return root as Record<string, never>;
}
