/**
 * Judges the lines of concurrency keys: by the Jobs that the clusters had, by the stories, and by the ledger's tables at the
 * moment of each placing.
 *
 * The bug this prevents: a limit that holds in each launcher's own count, or until a run's first retry. Afterwards every run has
 * run at some time, and nobody could tell whether its turn had come.
 */
import { isTerminal } from "@longshore/contract/messages/event.ts";
import type { ModelRun, Tables } from "@longshore/ledger/testing/model-tables.ts";
import type { Concurrency } from "@longshore/domain/run/record.ts";
import { at } from "../../judge/view.ts";
import type { World } from "../world/world.ts";

/** Of a generation of a run, the time for which it counts. */
interface Span {
  readonly run: string;
  readonly key: string;
  readonly limit: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

const isKeyed = ({ record }: ModelRun): boolean => record.run.plan.concurrency !== undefined;

const keyOf = ({ record: { run } }: ModelRun): string => JSON.stringify([run.tenant, run.plan.concurrency?.key]);

/** From the time that `beginOf` returns for a generation to the end that its story tells. */
function spansOf({ ledger }: World, beginOf: (run: ModelRun, generation: number) => number | undefined): readonly Span[] {
  return [...ledger.tables.runs.values()].filter(isKeyed).flatMap((run) => {
    const { run: { id, generation, plan } } = run.record; // biome-ignore format: one value
    return Array.from({ length: generation }, (_, index) => index + 1).flatMap((n): readonly Span[] => {
      const fromMs = beginOf(run, n);
      const end = run.story.find((it) => it.generation === n && isTerminal(it.type));
      const untilMs = end?.atMs ?? Number.POSITIVE_INFINITY;
      const limit = plan.concurrency?.limit ?? 0;
      return fromMs === undefined || fromMs >= untilMs ? [] : [{ run: id, key: keyOf(run), limit, fromMs, untilMs }];
    });
  });
}

/** A run is at work from its first Job to its end: between two steps and before a retry, too. */
export function tooMany(world: World): readonly string[] {
  const jobs = Map.groupBy(world.history.jobs.values(), ({ name }) => name);
  const spans = spansOf(world, ({ record: { attempts } }, generation) => {
    const own = attempts.filter((it) => it.generation === generation).flatMap(({ name }) => jobs.get(name) ?? []);
    const made = own.filter(({ origin, occupant }) => origin === "ours" && !occupant).map(({ createdMs }) => createdMs);
    return made.length === 0 ? undefined : Math.min(...made);
  });
  return spans.flatMap(({ key, fromMs }) => {
    const beside = spans.filter((it) => it.key === key && it.fromMs <= fromMs && fromMs < it.untilMs);
    return beside.length > Math.max(...beside.map(({ limit }) => limit))
      ? [`at ${at(fromMs)} ${beside.map(({ run, limit }) => `${run} (${limit})`).join(", ")} were at work`]
      : [];
  });
}

/** `letIn`: the generations that had been let in before. Those that are now are added. */
export function outOfTurn(tables: Tables, letIn: Set<string>, nowMs: number): readonly string[] {
  const active = [...tables.runs.values()].filter((it) => isKeyed(it) && it.record.run.state === "active");
  const waiting = active.filter((it) => !goesOn(it) && fromMs(it) <= nowMs);
  return active.filter(goesOn).flatMap((it) => {
    const { id, generation } = it.record.run;
    const name = `${id} ${generation}`;
    if (letIn.has(name)) return [];
    letIn.add(name);
    const passed = waiting.find((other) => keyOf(other) === keyOf(it) && comesBefore(other, it));
    return passed === undefined ? [] : [`at ${at(nowMs)} ${id} was let in past ${passed.record.run.id}`];
  });
}

const goesOn = ({ record: { run, attempts } }: ModelRun): boolean =>
  attempts.some((it) => it.generation === run.generation && (it.notes.letIn === true || it.claimNo > 0 || it.state === "ready"));

const fromMs = ({ record: { run } }: ModelRun): number => run.plan.notBeforeMs ?? run.acceptedAtMs;

function comesBefore(a: ModelRun, b: ModelRun): boolean {
  const [urgent, other] = [a.record.run.plan.priority, b.record.run.plan.priority];
  return urgent > other || (urgent === other && a.key < b.key);
}

export function takenOrRefused(world: World): readonly string[] {
  const begins = ["run.accepted", "run.restarted"];
  const spans = spansOf(
    world,
    ({ story }, generation) => story.find((it) => it.generation === generation && begins.includes(it.type))?.atMs,
  );
  const keyOfName = (name: string): string => JSON.stringify(["default", name]);
  const unfinished = (key: string, isBeside: (it: Span) => boolean): number =>
    spans.filter((it) => it.key === key && isBeside(it)).length;
  const taken = [...world.ledger.tables.runs.values()].flatMap((run) => {
    const { id, acceptedAtMs, plan: { concurrency } } = run.record.run; // biome-ignore format: one value
    if (concurrency?.then !== "refuse") return [];
    const before = unfinished(keyOf(run), (it) => it.fromMs < acceptedAtMs && it.untilMs > acceptedAtMs);
    return before < concurrency.limit ? [] : [`${id} was taken at ${at(acceptedAtMs)} beside ${before} others`];
  });
  const refused = refusals(world).flatMap(({ run, atMs, concurrency: { key, limit } }) => {
    const there = unfinished(keyOfName(key), (it) => it.fromMs <= atMs && it.untilMs >= atMs);
    return there >= limit ? [] : [`${run} was refused at ${at(atMs)} beside ${there} others, and ${limit} are allowed`];
  });
  return [...taken, ...refused];
}

interface Refused {
  readonly run: string;
  readonly atMs: number;
  readonly concurrency: Concurrency;
}

function refusals({ ledger, upstream }: World): readonly Refused[] {
  return [...ledger.tables.notices.values()].flatMap(({ notice: { atMs, data } }) => {
    const { command, problems = [] } = data as {
      readonly command?: string;
      readonly problems?: readonly { readonly code: string }[];
    };
    const asked = upstream.confirmed.find(({ id }) => id === command);
    if (asked === undefined || !problems.some(({ code }) => code === "ConcurrencyLimit")) return [];
    const { data: request } = JSON.parse(Buffer.from(asked.body).toString()) as {
      readonly data: { readonly concurrency: Concurrency };
    };
    return [{ run: asked.run, atMs, concurrency: request.concurrency }];
  });
}
