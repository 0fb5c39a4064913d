/** `longshore runs`: what ran, how it went, and what to do about it. */
import { parseArgs } from "node:util";
import type { Outgoing } from "@longshore/broker/port.ts";
import { isTerminal, OUTCOMES } from "@longshore/contract/event.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { RUN_STATES } from "@longshore/domain/run/record.ts";
import type { Ledger, RunFilter, StoryEvent } from "@longshore/ledger/port.ts";
import { asUsage, type Command, type Surroundings, Usage } from "../command.ts";
import { exitCodeOf, follow } from "../following.ts";
import { brokerOf, commandOf, ledgerOf } from "./publish.ts";
import { logLines, plain, span, storyLine } from "../terminal.ts";

/** A tombstone is no run yet. */
const STATES = RUN_STATES.filter((it) => it !== "tombstone");

const HELP = `longshore runs: what ran, and how it went.

  longshore runs list [--state ${STATES.join("|")}] [--outcome ${OUTCOMES.join("|")}] [--most N]
  longshore runs show RUN
  longshore runs follow RUN
  longshore runs cancel RUN [--reason TEXT]
  longshore runs restart RUN [--from failed|start|STEP] [--with FIELD=VALUE ...]
  longshore runs abandon RUN --yes [--reason TEXT]

  --config FILE   a launcher's config file (default: the Longshore that \`longshore up\` runs from this folder)

  longshore runs restart orders/8812/export --with resources.limits.memory=2Gi

follow prints the story so far, then what happens, until the run ends. "+12 s" beside a line: so long lasted the state before it.

abandon: for a run whose cluster is gone for good, or whose namespace was made anew. The run ends as lost at once, whatever its
Job does. The Job may still run; if its cluster answers again, the Job is deleted on sight. Only operators may abandon a run: the
launcher's setting \`operators\` names their broker users.
`;

export const runs: Command = {
  summary: "list, show, follow, cancel, restart and give up runs",
  help: HELP,
  async run(args, surroundings) {
    const { values, positionals } = options(args);
    const [verb, id, more] = positionals;
    const over = verb === "list" ? id : more;
    if (over !== undefined) throw new Usage(`runs ${verb} takes no "${over}"`);
    if (verb === "list") return await list(values, surroundings);
    if (verb === undefined || !Object.hasOwn(VERBS, verb))
      throw new Usage(`runs needs one of list, ${Object.keys(VERBS).join(", ")}${verb === undefined ? "" : `; not "${verb}"`}`);
    const run = RunId.safeParse(id);
    if (!run.success)
      throw new Usage(
        `runs ${verb} needs a run's id${id === undefined ? "" : `: ${run.error.issues[0]?.message ?? "this is none"}`}`,
      );
    return await VERBS[verb as keyof typeof VERBS](run.data, values, surroundings);
  },
};

type Values = ReturnType<typeof options>["values"];

function options(args: readonly string[]) {
  const text = { type: "string" } as const;
  return asUsage(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: text,
        state: text,
        outcome: text,
        most: text,
        reason: text,
        from: text,
        yes: { type: "boolean" },
        with: { ...text, multiple: true },
      },
    }),
  );
}

const VERBS = { show, follow: followRun, cancel, restart, abandon };

async function list(values: Values, surroundings: Surroundings): Promise<number> {
  const most = values.most === undefined ? 20 : Number(values.most);
  if (!Number.isInteger(most) || most < 1 || most > 1000) throw new Usage("--most is a number from 1 to 1000");
  const state = oneOf("--state", values.state, STATES);
  const outcome = oneOf("--outcome", values.outcome, OUTCOMES);
  const filter: RunFilter = { most, ...(state !== undefined && { state }), ...(outcome !== undefined && { outcome }) };
  await using ledger = await ledgerOf(values.config, surroundings);
  const rows = await ledger.list(filter);
  if (rows.length === 0) surroundings.out("no runs\n");
  for (const { id, state, outcome, group, acceptedAtMs, endedAtMs } of rows) {
    const took = endedAtMs === undefined ? "" : span(endedAtMs - acceptedAtMs);
    surroundings.out(
      `${(outcome ?? state).toUpperCase().padEnd(10)} ${id.padEnd(44)} ${(group ?? "-").padEnd(16)} ${new Date(acceptedAtMs).toISOString().slice(0, 19)}Z  ${took}\n`,
    );
  }
  return 0;
}

/** A misspelt filter must not look like an empty list. */
function oneOf<T extends string>(option: string, given: string | undefined, words: readonly T[]): T | undefined {
  if (given === undefined) return undefined;
  const found = words.find((it) => it === given);
  if (found === undefined) throw new Usage(`${option} is one of ${words.join(", ")}; not "${given}"`);
  return found;
}

async function show(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  await using ledger = await ledgerOf(values.config, surroundings);
  const [found, story] = [await ledger.find(run), await ledger.story(run, 0, 1000)];
  if (found === undefined) throw runUnknown(run);
  surroundings.out(pageOf(found.record, story));
  return 0;
}

/** One screen: the run's state, the reason, the next step, and the story. */
function pageOf(
  { run, attempts }: NonNullable<Awaited<ReturnType<Ledger["find"]>>>["record"],
  story: readonly StoryEvent[],
): string {
  const end = story.findLast(({ type }) => isTerminal(type));
  const { diagnosis, seconds, log } = (end?.data ?? {}) as {
    diagnosis?: { code: string; sentence: string; hint: string; blame: string; evidence: string[] };
    seconds?: Record<string, number>;
    log?: { state: string; lines: number; tail: string };
  };
  const last = attempts.at(-1);
  const where = last?.notes.considered?.map(({ group, why }) => `${group}: ${why}`).join("  ");
  const WHO: Readonly<Record<string, string>> = {
    request: "you (request)",
    cluster: "the cluster's people",
    platform: "whoever runs Longshore",
  };
  const head = `${run.id}    ${(run.outcome ?? run.state).toUpperCase()}${diagnosis ? `   ${diagnosis.code}   to act: ${WHO[diagnosis.blame] ?? ""}` : ""}`;
  const phases = Object.entries(seconds ?? {}).map(([phase, value]) => `${phase} ${span(value * 1000)}`);
  const lines = [
    head,
    ...(diagnosis
      ? [`  ${diagnosis.sentence}`, `  Hint: ${diagnosis.hint}`, ...diagnosis.evidence.map((it) => `  seen: ${it}`)]
      : []),
    `  from     ${run.tenant} (${run.source})`,
    `  group    ${run.group ?? "-"}${where ? `    ${where}` : ""}`,
    ...(phases.length > 0 ? [`  time     ${phases.join(" | ")}`] : []),
    ...story.map((event, index) => storyLine(event, story[index - 1]?.atMs, run.plan.simple)),
    ...logLines(log),
    ...(last !== undefined && last.claimNo > 0 ? [`  kubectl -n ${last.notes.namespace ?? ""} describe job ${last.name}`] : []),
    ...(run.outcome === "failed" ? [`  longshore runs restart ${run.id}`] : []),
  ];
  return `${lines.map(plain).join("\n")}\n`;
}

const runUnknown = (run: RunId): Failure =>
  new Failure("refuse", "RunUnknown", `no run has the id ${run}; \`longshore runs list\` shows what there is`);

/** Follows the run from now on, with the broker that a command is sent to. */
async function following(run: RunId, { config }: Values, surroundings: Surroundings, command?: Outgoing) {
  await using parts = new AsyncDisposableStack();
  const broker = parts.use(await brokerOf(config, surroundings));
  const ledger = parts.use(await ledgerOf(config, surroundings));
  const followed = await follow({ broker, ledger, run, config, ...(command && { command: command.id }) }, surroundings);
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
  await followed.broker.publish("commands", command, surroundings.signal);
  surroundings.out(`asked to cancel ${run}; it is cancelled when its pods are gone\n`);
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
  await followed.broker.publish("commands", command, surroundings.signal);
  const end = await followed.toEnd();
  return end === "run.lost" ? 0 : end === "command.refused" ? 1 : exitCodeOf(end);
}

async function restart(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  const from = (values.from ?? "failed") as "failed";
  const command = commandOf("run.restart", { run, from, ...(values.with && { with: correctionOf(values.with) }) });
  await using followed = await following(run, values, surroundings, command);
  await followed.broker.publish("commands", command, surroundings.signal);
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
