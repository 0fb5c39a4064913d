/**
 * What a run's program prints, as server-sent events: from a watcher while the program runs, and the end of it from the ledger once
 * the run's step has ended.
 *
 * The failure this prevents: a person who looks at a run that hangs, and sees that it hangs. And an end that is missing, since the
 * pod was removed before its last lines were read: what the ledger recorded closes each log.
 */
import { RunId, StepName } from "@longshore/contract/ids.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import { linked, wakeUp } from "@longshore/runtime/loop.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { EVENT_STREAM, refusals } from "../answers.ts";
import type { Parts } from "../parts.ts";
import { noSuchRun } from "../problem.ts";
import { reachWith } from "../sign-in/person.ts";
import { AWAY_LOOK_MS, LOOK_MS } from "../stream.ts";
import { type Reader, sendEvents } from "./sent-events.ts";

/** The last lines travel beside the news of the end. If they do not come, the ledger's have to do. */
const END_WITHIN_MS = 2_000;
/** While the broker is away, it is tried again after this time. */
const AGAIN_MS = 5_000;

const Asked = z.object({ run: RunId, step: StepName.optional() });
type Asked = z.output<typeof Asked>;

export function log(plain: FastifyInstance, options: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const heard = {
    summary: "Hear what a run's program prints.",
    querystring: Asked,
    response: { 200: EVENT_STREAM, ...refusals(401, 403, 404, 422, 503) },
  };
  server.get("/v1/log", { config: { for: "log", isStream: true }, schema: heard }, async (request, reply) => {
    const { run } = request.query;
    const isOpen = (): Promise<boolean> => options.pages.isReached(run, reachWith(request, options, "log"));
    if (!(await isOpen())) throw noSuchRun(run);
    await sendEvents(options, { request, reply, isOpen }, (reader) => tell(options, request.query, reader));
  });
}

async function tell(options: Parts, { run, step }: Asked, reader: Reader): Promise<void> {
  const { live, clock, pages } = options;
  const changed = wakeUp(clock);
  const off = live.on(run, changed.wake);
  let reading: Reading | undefined;
  let shown: string | undefined; // the name of the attempt whose log was begun last
  let ended: string | undefined; // of the one whose end was told
  try {
    while (await reader.goesOn()) {
      const record = (await pages.find(run))?.record;
      if (record === undefined) return;
      const attempt = attemptToShow(record, step);
      if (attempt !== undefined && attempt.name !== shown) {
        await reading?.end(0);
        reading = undefined;
        shown = attempt.name;
        begin(reader, attempt);
      }
      if (attempt !== undefined && attempt.outcome === undefined) reading ??= follow(options, attempt, reader);
      if (attempt?.outcome !== undefined && ended !== attempt.name) {
        await reading?.end(END_WITHIN_MS);
        reading = undefined;
        ended = attempt.name;
        send(reader, "tail", attempt.outcome.evidence?.log ?? { state: "unavailable", lines: 0, tail: "" });
      }
      if (isOver(record, step)) return send(reader, "end", {});
      await changed.wait(live.isHeard() ? LOOK_MS : AWAY_LOOK_MS, reader.gone);
    }
  } finally {
    off();
    await reading?.end(0);
  }
}

/** What runs now, else what ran last. */
function attemptToShow({ run, attempts }: RunRecord, step: string | undefined): Attempt | undefined {
  const begun = attempts.filter(
    (it) => it.uid !== undefined && it.generation === run.generation && (step === undefined || it.step === step),
  );
  return begun.findLast(({ outcome }) => outcome === undefined) ?? begun.at(-1);
}

const isOver = ({ run }: RunRecord, step: string | undefined): boolean =>
  run.state === "ended" || (step !== undefined && run.steps[step]?.state === "ended");

interface Reading {
  /** Waits so long for the log's end, and then reads no more. */
  end(withinMs: number): Promise<void>;
}

/** Sends what the program prints, until it has ended. */
function follow(options: Parts, attempt: Attempt, reader: Reader): Reading {
  const { clock } = options;
  const own = linked(reader.gone);
  const ended = (async () => {
    while (!own.signal.aborted && (await readOnce(options, attempt, reader, own.signal)) === "again") {
      await clock.sleep(AGAIN_MS, own.signal);
      if (!own.signal.aborted) begin(reader, attempt); // its last lines come once more
    }
  })();
  return {
    end: async (withinMs) => {
      const callOff = clock.alarm(withinMs, () => own.abort());
      await ended;
      callOff();
      own.release();
    },
  };
}

async function readOnce(
  { readLog, log }: Parts,
  { group, uid }: Attempt,
  reader: Reader,
  signal: AbortSignal,
): Promise<"ended" | "again"> {
  try {
    if (readLog === undefined || group === undefined || uid === undefined) send(reader, "nobody", {});
    else for await (const { kind, ...news } of readLog({ group, job: uid }, signal)) send(reader, kind, news);
    return "ended";
  } catch (error) {
    if (!isTransient(error)) log.error("a log could not be read", { group, error });
    send(reader, "nobody", {});
    return isTransient(error) ? "again" : "ended";
  }
}

const begin = (reader: Reader, { step, n }: Attempt): void => send(reader, "attempt", { step, attempt: n });

const send = (reader: Reader, event: string, data: object): void => reader.send({ event, data: JSON.stringify(data) });
