/** `longshore runs`: what ran, how it went, and what to do about it. */
import type { Outgoing } from "@longshore/broker/port.ts";
import { withoutBlanks } from "@longshore/contract/messages/diagnosis.ts";
import { OUTCOMES } from "@longshore/contract/messages/event.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { diagnosisFor } from "@longshore/domain/run/story.ts";
import { finishedAtMs, type RunRecord } from "@longshore/domain/run/record.ts";
import type { RunFilter, RunRow, StoryEvent } from "@longshore/ledger/port.ts";
import { holdersBefore } from "../../advice.ts";
import { commandOf } from "../../checked-command.ts";
import {
  command as declared, CONFIG, configWords, family, iso, json, JSON_OPTION, say, tell, screenIn, type Surroundings, Usage,
} from "../../command.ts"; // biome-ignore format: a list of names
import type { Values as ValuesOf } from "../../command.ts";
import { exitCodeOf, follow } from "../../following.ts";
import { pagesOf } from "../../pages-of.ts";
import { placeOf } from "../../place.ts";
import { type Sending, sendingIn } from "../../sending.ts";
import { GOES_ON, watch } from "../../watching.ts";
import { findLongshore } from "../../which-longshore.ts";
import { columnsFor, emptyAmong } from "./columns.ts";
import { correctionOf, refuseWithoutFailure } from "./corrections.ts";
import { outputOf, printLogs, sliceOf } from "./logs.ts";
import { freeVolumes } from "./free.ts";
import { SECRET, secretValuesOf } from "../secret-files.ts";
import { newestOfRun, pageOf, selectorOf, statusOfRecord, STORY_MOST } from "./page.ts";
import { brokerOf, ledgerOf, sendTo } from "../publish.ts";
import { filterFor, noRuns, statusOf, STATUS_WORDS } from "../../status.ts";
import { table } from "../../screen/rows.ts";
import { timeText } from "../../screen/times.ts";
import { headOf } from "../../terminal.ts";

const REASON = { type: "string", value: "TEXT", about: "why, for those who read the run's story" } as const;

const OPTIONS = {
  state: { type: "string", value: "STATE", words: STATUS_WORDS, about: "only runs in this state" },
  outcome: { type: "string", value: "OUTCOME", words: OUTCOMES, about: "only runs that ended like this" },
  most: { type: "string", value: "N", about: "how many, newest first, up to 1000 (default: 20)" },
  reason: REASON,
  from: { type: "string", value: "WHERE", about: "failed (the step that failed; the default), start, or a step's name" },
  with: { type: "string", multiple: true, value: "FIELD=VALUE", about: "change this of the request; may be repeated" },
  secret: SECRET,
  yes: { type: "boolean", about: "give the run up" },
  step: { type: "string", value: "STEP", about: "of a pipeline: this step's log (default: the newest that ran)" },
  slice: { type: "string", value: "N", about: "of a step with slices: this one, from 0 (default: the first that failed)" },
  follow: { type: "boolean", about: "go on printing until the run ends" },
  json: JSON_OPTION,
  config: CONFIG,
} as const;

const AFTER = `AFTER, "+12 s" beside a line of the story: so long after the line above it.`;

type Values = ValuesOf<typeof OPTIONS>;

/** A verb on one run. */
function verb(
  name: string,
  act: (run: RunId, values: Values, surroundings: Surroundings, sending: Sending) => Promise<number>,
  of: { readonly summary: string; readonly usage?: string; readonly options?: Partial<typeof OPTIONS>; readonly more: string },
) {
  const { summary, usage = "", options, more } = of;
  return declared({
    name: `runs ${name}`,
    summary,
    usage: [`RUN ${usage}`],
    options: { ...options, config: CONFIG } as typeof OPTIONS,
    words: ["a run's id"],
    namedBy: { list: "runs list", field: "run" },
    more,
    async run(values, [id = ""], surroundings) {
      const showing = `longshore runs show ${id}${configWords(values.config)}`;
      using sending = sendingIn(READING.includes(name) ? { signal: surroundings.signal } : surroundings, {
        no: `stopped before the ${name} was sent: the run stays as it was.`,
        perhaps: `stopped while the ${name} was sent: \`${showing}\` says whether a launcher has it.`,
      });
      const run = await runMeant(name, id, values, surroundings);
      return await act(run, values, surroundings, sending);
    },
  });
}

/** The verbs that only read. */
const READING = ["show", "follow", "logs"];
/** Nothing takes these back, so they want the whole id. */
const FINAL = ["abandon", "free"];
const NAMED_MOST = 5;

/**
 * Finds the run by its id, by the beginning of its id, or by the short form that `runs list` prints ("abc…xyz").
 *
 * The failure this prevents: a script cancels `orders/1`, which is not there yet, and hits `orders/10`. So outside a terminal,
 * only verbs that read take a beginning.
 */
async function runMeant(verb: string, id: string, { config }: Values, surroundings: Surroundings): Promise<RunId> {
  const [begins = "", ends] = id.split("…", 2);
  const run = RunId.safeParse(begins + (ends ?? ""));
  if (!run.success) throw new Usage(`runs ${verb} needs a run's id: ${run.error.issues[0]?.message ?? "this is none"}`);
  const isPerson = screenIn(surroundings).columns !== undefined;
  if (FINAL.includes(verb) || (ends === undefined && !isPerson && !READING.includes(verb))) return run.data;
  await using ledger = await ledgerOf(config, surroundings);
  if (ends === undefined && (await ledger.find(run.data)) !== undefined) return run.data;
  const alike = (await ledger.list({ like: { begins, ends: ends ?? "" }, most: NAMED_MOST + 1 })).map((it) => it.id);
  const [first, second] = alike;
  if (first === undefined) {
    if (ends !== undefined) throw runUnknown(id, config);
    const [meant, other] = await ledger.list({ like: { begins: "", ends: run.data }, most: 2 });
    if (meant !== undefined && other === undefined) throw runUnknown(id, config, meant.id);
    return run.data; // the verb says that there is none
  }
  if (second === undefined) return first;
  const named = alike.slice(0, NAMED_MOST).join(", ");
  const more = alike.length > NAMED_MOST ? " and more" : "";
  throw new Failure("refuse", "RunAmbiguous", `several runs are meant by ${id}: ${named}${more}; write more of the id`);
}

export const runs = family({
  name: "runs",
  summary: "list, show, follow, cancel, restart, free and give up runs",
  more: `
RUN is a run's id, or the short form that \`runs list\` prints ("orders/20…1/export"). The beginning of an id will do if no other run begins so; outside a terminal, only for \`show\` and \`follow\`.

  longshore runs list --state stalled
  longshore runs show orders/8812/export`,
  verbs: {
    list: declared({
      name: "runs list",
      summary: "show the newest runs",
      usage: ["[--state STATE] [--outcome OUTCOME] [--most N] [--json]"],
      options: { state: OPTIONS.state, outcome: OPTIONS.outcome, most: OPTIONS.most, json: OPTIONS.json, config: CONFIG },
      more: `
  longshore runs list --state stalled
  longshore runs list --outcome failed --most 100 --json`,
      run: async (values, _, surroundings) => await list(values, surroundings),
    }),
    show: verb("show", show, {
      summary: "show one run: its state, the reason, the next step, and its story",
      usage: "[--json]",
      options: { json: OPTIONS.json },
      more: `
${AFTER}`,
    }),
    follow: verb("follow", followRun, {
      summary: "print a run's story so far, then what happens, until it ends",
      more: `
${AFTER}

Exit 0: the run succeeded. Exit 1: it did not. Exit 130: nobody waits any more (Ctrl-C).`,
    }),
    logs: verb("logs", logs, {
      summary: "print what a run's program has printed",
      usage: "[--step STEP] [--slice N] [--follow]",
      options: { step: OPTIONS.step, slice: OPTIONS.slice, follow: OPTIONS.follow },
      more: `
It is read from the cluster while the pod is there, with the watcher's credential of the groups file. With \`--follow\`, a cluster that does not answer here is read by its watcher, if the settings name a \`logKeyFile\`, as for the web console: the last 1,000 lines and those that come, at most 64 KiB a second. When the pod is gone, the last lines are printed that the run's events have (16 KiB; of a step with slices, 2 KiB of at most 8 of them, the failed ones first).

Exit 0: it was printed. Exit 1: there is nothing to print yet. Exit 130: nobody waits any more (Ctrl-C).`,
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
      summary: "restart a run that has ended, and wait for its new end",
      usage: "[--from failed|start|STEP] [--with FIELD=VALUE ...] [options]",
      options: { from: OPTIONS.from, with: OPTIONS.with, secret: SECRET, follow: OPTIONS.follow },
      more: `
It waits until the run has ended again, and prints the story meanwhile, with or without --follow. Ctrl-C ends only the waiting: the run goes on.

  longshore runs restart orders/8812/export --with resources.limits.memory=2Gi
  longshore runs restart orders/8812/export --with env.MODE=slow --with deadline=2h

--with takes the fields image, env.NAME, deadline, and resources.limits.X and resources.requests.X with cpu, memory or ephemeral-storage for X. Of a pipeline it takes them under the step's name: steps.NAME.image, steps.NAME.env.NAME and so on. parameters.NAME takes any JSON, or a text. --secret gives all secretValues of the run again, from files. The rest of a request stays as it was.

Exit 0: the run succeeded. Exit 1: it did not, or the restart was refused. Exit 130: nobody waits any more (Ctrl-C).`,
    }),
    free: verb("free", free, {
      summary: "delete the volumes that an ended run kept, so that others have their room",
      more: `
The volumes go with what is in them, and so do the run's Jobs and pods in the cluster; its story and its log stay. After that only a restart \`--from start\` is possible. \`runs show\` says what a run keeps, and until when it does so by itself.`,
    }),
    abandon: verb("abandon", abandon, {
      summary: "end a run as lost, whatever its Job does, since its cluster is gone for good",
      usage: "--yes [--reason TEXT]",
      options: { yes: OPTIONS.yes, reason: REASON },
      more: `
For a run whose cluster is gone for good, or whose namespace was made anew. The run ends as lost at once, whatever its Job does. The Job may still run; if its cluster answers again, the Job is deleted on sight. Only operators may abandon a run: the launcher's setting \`operators\` names their broker users.`,
    }),
  },
});

const MOST = 1000;

async function list(values: Values, surroundings: Surroundings): Promise<number> {
  const most = values.most === undefined ? 20 : Number(values.most);
  if (!Number.isInteger(most) || most < 1 || most > MOST) throw new Usage(`--most is a number from 1 to ${MOST}`);
  const outcome = OUTCOMES.find((it) => it === values.outcome);
  const asked = values.state === undefined ? {} : filterFor(values.state);
  if (outcome !== undefined && asked.outcome !== undefined && asked.outcome !== outcome)
    throw new Usage(`--state ${asked.outcome} and --outcome ${outcome} contradict each other`);
  const filter: RunFilter = { most, ...asked, ...(outcome !== undefined && { outcome }) };
  await using ledger = await ledgerOf(values.config, surroundings);
  const rows = await ledger.list(filter);
  if (values.json === true) {
    surroundings.out(json({ runs: rows.map(recordOf) }));
    return 0;
  }
  if (rows.length === 0) tell(surroundings, noRuns(outcome ?? values.state, (await ledger.list({ most: MOST })).length, MOST));
  else {
    const screen = screenIn(surroundings);
    const empty = await emptyAmong(rows, ledger, await findLongshore({ config: values.config }, surroundings));
    say(surroundings, table(rows, columnsFor(screen, await ledger.now(), empty), screen));
  }
  return 0;
}

function recordOf(row: Omit<RunRow, "cursor">): object {
  const { id, tenant, state, outcome, group, definition, acceptedAtMs, begunAtMs, endedAtMs, finishedAtMs } = row;
  const { word, reason, code, exitCode } = statusOf(row);
  return {
    run: id, tenant, state, outcome: outcome ?? null, status: word, reason: reason ?? null, code: code ?? null, exitCode: exitCode ?? null,
    group: group ?? null, definition: definition ?? null, acceptedAt: iso(acceptedAtMs), begunAt: iso(begunAtMs), endedAt: iso(endedAtMs), finishedAt: iso(finishedAtMs),
  }; // biome-ignore format: as in the list
}

async function show(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  await using ledger = await ledgerOf(values.config, surroundings);
  const [found, story] = [await ledger.find(run), await ledger.story(run, 0, STORY_MOST)];
  if (found === undefined) throw await notThere(run, values, surroundings);
  if (values.json === true) surroundings.out(json(bookOf(found.record, story)));
  else {
    const place = placeOf(found.record, await findLongshore({ config: values.config }, surroundings), values.config);
    const around = { place, groups: await ledger.groups(), holders: await holdersBefore(ledger, found.record) };
    say(surroundings, pageOf(found, story, around, screenIn(surroundings)));
  }
  return 0;
}

/** The run for programs. Without its request, whose variables may be secrets. */
function bookOf(record: RunRecord, story: readonly StoryEvent[]): object {
  const { run, attempts } = record;
  return {
    ...recordOf({
      ...run,
      definition: run.plan.definition?.name,
      begunAtMs: begunAtMs(run, story),
      finishedAtMs: finishedAtMs(record),
      newest: newestOfRun(run, story),
    }),
    source: run.source,
    selector: selectorOf(run.id),
    attempts: attempts.map((it) => {
      const { step, n, state, group, name, notes, claimNo, started, outcome } = it;
      const { namespace } = notes;
      const diagnosis =
        outcome?.diagnosis && withoutBlanks(diagnosisFor(it, outcome.diagnosis), { run: run.id, group, namespace, job: name });
      const job = claimNo > 0 ? { namespace: namespace ?? null, name } : null;
      return {
        step,
        attempt: n,
        state,
        group: group ?? null,
        started,
        result: outcome?.result ?? null,
        diagnosis: diagnosis ?? null,
        job,
      };
    }),
    story: story.map(({ sequence, atMs, type, data }) => ({ sequence, time: iso(atMs), type, data })),
  };
}

const begunAtMs = ({ acceptedAtMs }: RunRecord["run"], story: readonly StoryEvent[]): number =>
  story.findLast(({ type }) => type === "run.restarted")?.atMs ?? acceptedAtMs;

/** `meant`: the one run whose id ends so, as a list shows it. */
const runUnknown = (run: string, config: string | undefined, meant?: string): Failure =>
  new Failure(
    "refuse",
    "RunUnknown",
    meant !== undefined
      ? `no run has the id ${run}; did you mean ${meant}?`
      : `no run has the id ${run}; \`longshore runs list${configWords(config)}\` shows what there is. A request that no launcher has taken yet is not among them`,
  );

/** A request that was refused made no run: whoever asks for it hears why. */
async function notThere(run: RunId, { config }: Values, surroundings: Surroundings): Promise<Failure> {
  await using pages = await pagesOf(await findLongshore({ config }, surroundings));
  const refused = await pages.refusal(run);
  if (refused === undefined) return runUnknown(run, config);
  const why = refused.problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("\n");
  return new Failure(
    "refuse",
    "RunUnknown",
    `no run has the id ${run}: a request for it was refused, ${timeText(refused.atMs)}\n${why}`,
  );
}

/** Follows the run from now on, with the broker that a command is sent to. */
async function following(run: RunId, { config }: Values, surroundings: Surroundings, command?: Outgoing) {
  await using parts = new AsyncDisposableStack();
  const broker = parts.use(await brokerOf(config, surroundings));
  const ledger = parts.use(await ledgerOf(config, surroundings));
  const longshore = await findLongshore({ config }, surroundings);
  const place = (record: RunRecord) => placeOf(record, longshore, config);
  const about = { run, place, readOutput: outputOf(longshore.groupsFile), ...(command && { command: command.id }) };
  const followed = parts.use(await follow({ broker, ledger, ...about }, surroundings));
  const kept = parts.move();
  return { ...followed, broker, ledger, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function followRun(run: RunId, values: Values, surroundings: Surroundings): Promise<number> {
  await using followed = await following(run, values, surroundings);
  if (followed.found === undefined) throw await notThere(run, values, surroundings);
  const { record } = followed.found;
  const story = await followed.ledger.story(run, 0, STORY_MOST);
  say(surroundings, headOf(run, statusOfRecord(record, story), undefined, screenIn(surroundings)));
  const toEnd = async () => (await followed.soFar()) ?? (await followed.toEnd());
  return exitCodeOf(await watch({ run, config: values.config, onStop: () => GOES_ON }, toEnd, surroundings));
}

async function logs(
  run: RunId,
  { step, slice: sliceText, follow: follows = false, config }: Values,
  surroundings: Surroundings,
): Promise<number> {
  const slice = sliceText === undefined ? undefined : sliceOf(sliceText);
  await using ledger = await ledgerOf(config, surroundings);
  const record = async () => {
    const found = await ledger.find(run);
    if (found === undefined) throw runUnknown(run, config);
    return found.record;
  };
  const story = () => ledger.story(run, 0, STORY_MOST);
  return await printLogs({ record, story }, { run, step, slice, follows, config }, surroundings);
}

async function cancel(run: RunId, values: Values, surroundings: Surroundings, sending: Sending): Promise<number> {
  const command = commandOf("run.cancel", { run, ...(values.reason !== undefined && { reason: values.reason }) });
  await using followed = await following(run, values, surroundings, command);
  // Else the cancel would be kept for a run that may never come, and the following would never end.
  if (followed.found === undefined) throw runUnknown(run, values.config);
  const { state, outcome } = followed.found.record.run;
  if (state === "ended")
    throw new Failure("refuse", "AlreadyEnded", `there is nothing to cancel: ${run} has ended already (${outcome ?? "ended"})`);
  await sending.send(() => sendTo(followed.broker, command, surroundings));
  const hasJobs = followed.found.record.attempts.some(({ claimNo }) => claimNo > 0);
  tell(surroundings, `asked to cancel ${run}${hasJobs ? "; it ends when its pods are gone" : ""}`);
  // Any end of the run will do. The command failed only if it was refused, or if following was stopped.
  const onStop = () => ({ says: "stopped waiting; the run is cancelled all the same:", commands: ["follow"] as const });
  const end = await watch({ run, config: values.config, onStop }, followed.toEnd, surroundings);
  return end === "command.refused" || end === "stopped" ? exitCodeOf(end) : 0;
}

/** Asks for --yes, because nothing takes this back: nobody looks for a Job that was given up. */
async function abandon(run: RunId, values: Values, surroundings: Surroundings, sending: Sending): Promise<number> {
  if (values.yes !== true)
    throw new Usage(
      `abandon ends ${run} as lost, whatever its Job does: the Job may still run, and is deleted if its cluster answers. Say --yes if that is meant`,
    );
  const command = commandOf("run.abandon", { run, ...(values.reason !== undefined && { reason: values.reason }) });
  await using followed = await following(run, values, surroundings, command);
  if (followed.found === undefined) throw runUnknown(run, values.config);
  await sending.send(() => sendTo(followed.broker, command, surroundings));
  const onStop = () => ({ says: "stopped waiting; the run is given up all the same:", commands: ["follow"] as const });
  const end = await watch({ run, config: values.config, onStop }, followed.toEnd, surroundings);
  return end === "run.lost" ? 0 : end === "command.refused" ? 1 : exitCodeOf(end);
}

async function free(run: RunId, { config }: Values, surroundings: Surroundings, sending: Sending): Promise<number> {
  await using ledger = await ledgerOf(config, surroundings);
  const found = await ledger.find(run);
  if (found === undefined) throw runUnknown(run, config);
  return await freeVolumes(found.record, config, surroundings, sending);
}

async function restart(run: RunId, values: Values, surroundings: Surroundings, sending: Sending): Promise<number> {
  const from = (values.from ?? "failed") as "failed";
  const given = { ...correctionOf(values.with ?? []), ...(await secretValuesOf(values.secret, surroundings)) };
  const command = commandOf("run.restart", { run, from, ...((values.with ?? values.secret) && { with: given }) });
  await using followed = await following(run, values, surroundings, command);
  if (followed.found !== undefined) refuseWithoutFailure(followed.found.record, values);
  await sending.send(() => sendTo(followed.broker, command, surroundings));
  tell(surroundings, `asked to restart ${run}`);
  const onStop = () => (followed.isTaken() ? GOES_ON : RESTART_UNTAKEN);
  return exitCodeOf(await watch({ run, config: values.config, onStop }, followed.toEnd, surroundings));
}

const RESTART_UNTAKEN = {
  says: "stopped watching. The restart waits at the broker, since no launcher has taken it yet: it needs a launcher that runs. Then this shows it:",
  commands: ["follow"],
} as const;
