/**
 * Follows one run in the terminal: the story so far, then what happens, then what a person needs at the end.
 *
 * The failures this prevents: an empty screen, since all that there is to tell happened before; an end that is waited for
 * although it was long ago; and a following that never ends, since the broker lost one event. So every line is read from the
 * ledger, and the broker's events only say when to look.
 */
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { readEvent, type ReceivedEvent } from "@longshore/contract/messages/envelope.ts";
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { isTransient, type Problem } from "@longshore/contract/problems/problem.ts";
import { limitsFor } from "@longshore/domain/run/plan.ts";
import { type Attempt, finishedAtMs, type RunRecord } from "@longshore/domain/run/record.ts";
import type { Ledger, StoryEvent } from "@longshore/ledger/port.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { wakeUp } from "@longshore/runtime/loop.ts";
import { adviceOn, againOf } from "./advice.ts";
import { say, screenIn, type Surroundings } from "./command.ts";
import { openOutput, type ReadOutput } from "./output.ts";
import { followLog, type Place } from "./place.ts";
import { paragraph, whole } from "./screen/rows.ts";
import { toned } from "./screen/screen.ts";
import { span } from "./screen/times.ts";
import { printed } from "./screen/text.ts";
import { afterEnd, isWithoutCommand, logLines, NO_COMMAND, storyTable, wordOf } from "./terminal.ts";

export interface Followed {
  readonly broker: Pick<Broker, "follow">;
  readonly ledger: Pick<Ledger, "find" | "story" | "now" | "groups">;
  readonly run: RunId;
  /** The id of the command that is about to be sent: its refusal ends the following, and nobody else's does. */
  readonly command?: string;
  /** Where the run is, for the hint and the commands that are printed at the end. */
  readonly place: (record: RunRecord) => Place;
  /** The screen has said already that nothing runs. */
  readonly isWarned?: boolean;
  /** Absent: what the run's programs print is told at the end alone. */
  readonly readOutput?: ReadOutput;
}

export interface Following extends Disposable {
  /** The run as it was when the following began. */
  readonly found: Awaited<ReturnType<Ledger["find"]>>;
  /** Prints the story so far. Returns the event that ended it, if the run is over. */
  readonly soFar: () => Promise<string | undefined>;
  /** Prints what happens. Returns the event that ended the story, "command.refused", or "stopped" if nobody waits any more. */
  readonly toEnd: () => Promise<string>;
  /** True once the run has an event that this following saw: a launcher has taken the command. */
  readonly isTaken: () => boolean;
  /** Prints no story, only why the command is refused. */
  readonly toRefusal: () => Promise<string>;
}

interface Ended {
  readonly diagnosis?: Diagnosis;
  readonly step?: string;
  readonly attempt?: number;
}

interface StepEnded {
  readonly step?: string;
  readonly attempt?: number;
  readonly log?: LogTail;
}

/** The exit code for a run's end. */
export const exitCodeOf = (end: string): number => (end === "run.succeeded" ? 0 : end === "stopped" ? 130 : 1);

const PAGE = 500;
const LOOK_AGAIN_MS = 5_000;
/** A launcher that runs takes a request sooner than this, and the second look comes later. */
const UNTAKEN_MS = 4_000;
/** A ledger that is slow for a moment ends no following: whoever waits would take that for a failed run. */
const FAILURES_MOST = 3;
const AGAIN_MS = 1_000;

/** Resolves when the events are bound: call it before publishing, or the first look comes late. */
export async function follow(
  { broker, ledger, run, command, place, isWarned = false, readOutput }: Followed,
  surroundings: Pick<Surroundings, "out" | "screen" | "progress" | "signal">,
): Promise<Following> {
  const { signal, progress } = surroundings;
  const screen = screenIn(surroundings);
  const linesOf = storyTable(screen);
  const startedMs = clock.now();
  const heard = listen(await broker.follow("#", { inFlightMax: 64, signal }), run, command);
  const found = await ledger.find(run);
  let simple = found?.record.run.plan.simple ?? true;
  let advised: string | undefined;
  let needsSomebody = false;
  const output = readOutput && openOutput(readOutput, printedBy, { clock, signal });
  let last: Pick<StoryEvent, "sequence"> & Partial<StoryEvent> = { sequence: found?.record.run.seq ?? 0 };

  async function* news(): AsyncGenerator<StoryEvent> {
    const before = last.sequence;
    for (;;) {
      const page = await ledger.story(run, last.sequence, PAGE);
      if (page.length === 0) break;
      for (const event of page) yield await told(event);
    }
    if (last.sequence > before) await advise();
  }

  /** Says once what a run that waits or is stuck needs: it may wait for hours for the person who looks at this screen. */
  async function advise(): Promise<void> {
    const { type, data } = last;
    const record = (await ledger.find(run))?.record;
    if (type === undefined || record === undefined || record.run.seq !== last.sequence) return;
    const { hint, needsNobody = false } = adviceOn(record, { type, data: data as StoryEvent["data"] }, place(record)) ?? {};
    needsSomebody = hint !== undefined && !needsNobody && (type === "run.waiting" || type === "run.stalled");
    if (hint === undefined || needsNobody || hint === advised) return;
    advised = hint;
    say(surroundings, paragraph(hint, { indent: 6, mark: "Hint: " }, screen));
  }

  async function told(event: StoryEvent): Promise<StoryEvent> {
    const { steps } = event.data as { readonly steps?: readonly string[] };
    if (event.type === "run.accepted" && steps !== undefined) simple = steps.length === 1 && steps[0] === "main";
    const record = isTerminal(event.type) ? (await ledger.find(run))?.record : undefined;
    const finishedMs = record?.run.generation === event.generation ? finishedAtMs(record) : undefined;
    say(surroundings, linesOf(event, { sinceMs: last.atMs, simple, finishedMs }));
    last = event;
    return event;
  }

  function printedBy(line: string, { step }: Attempt): void {
    say(surroundings, [whole(printed(simple ? line : `${step}: ${line}`), 4)]);
  }

  /** Shows what programs print that run now, or says where that can be read. */
  async function look(): Promise<void> {
    const record = output && (await ledger.find(run))?.record;
    if (output === undefined || record === undefined) return;
    output.look(record);
    if (!output.isHidden(record, await ledger.now())) return;
    const command = followLog(place(record));
    say(surroundings, paragraph(`what it prints: \`${command}\``, { indent: 6, tone: "faint" }, screen));
  }

  async function ends({ type, data }: StoryEvent): Promise<string> {
    const found = await ledger.find(run);
    if (found === undefined) return type;
    const [{ record, request }, said] = [found, data as Ended];
    const of = record.attempts.findLast(({ step, n }) => step === (said.step ?? step) && n === (said.attempt ?? n));
    const isShown = (await output?.isWhole(of)) ?? false;
    const at = place(record);
    const again = againOf(record, at, said.diagnosis, await ledger.groups());
    const isEmpty = !isWarned && type === "run.succeeded" && at.kubectl === undefined && isWithoutCommand(request);
    if (isEmpty) say(surroundings, paragraph(`Nothing ran: ${NO_COMMAND}`, { indent: 2, tone: "warn" }, screen));
    say(surroundings, afterEnd(said, again, screen, at, isShown));
    return type;
  }

  /** The pod of a step may go with the run's volumes, or end, before what it printed could be read from it. */
  async function endOfStep(event: StoryEvent): Promise<void> {
    const { step, attempt, log } = event.data as StepEnded;
    const record = log === undefined || log.tail === "" ? undefined : (await ledger.find(run))?.record;
    if (record === undefined || step === undefined) return;
    if (await output?.isWhole(record.attempts.find((it) => it.step === step && it.n === attempt))) return;
    const rest = `longshore runs logs ${run} --step ${step}${place(record).where}`;
    say(surroundings, logLines(log, screen, { hint: undefined, rest }));
  }

  async function soFar(): Promise<string | undefined> {
    last = { sequence: 0 };
    let newest: StoryEvent | undefined;
    for await (const event of news()) newest = event;
    if (newest === undefined) return undefined;
    if (isTerminal(newest.type)) return await ends(newest);
    const lasts = span((await ledger.now()) - newest.atMs);
    say(surroundings, paragraph(`${wordOf(newest.type)} for ${lasts} so far`, { indent: 6, tone: "faint" }, screen));
    return undefined;
  }

  /** Other content under the run's id is refused, and the story of the run that has the id is not its sender's. */
  async function until(isTold: boolean): Promise<string> {
    let end: StoryEvent | undefined;
    for (let failures = 0; ; ) {
      try {
        if (isTold && end === undefined)
          for await (const event of news()) {
            if (event.type === "run.step.succeeded") await endOfStep(event);
            if (!isTerminal(event.type)) continue;
            end = event;
            break;
          }
        if (end !== undefined) return await ends(end);
        if (isTold) await look();
        failures = 0;
      } catch (error) {
        if (!isTransient(error) || signal.aborted || ++failures > FAILURES_MOST) throw error;
        await heard.more(AGAIN_MS, signal);
        continue;
      }
      const state = heard.state();
      if (state === "stopped" || signal.aborted) return "stopped";
      if (state !== "following") {
        say(surroundings, paragraph("refused", toned("refused"), screen));
        for (const { path, message } of state.problems)
          say(surroundings, paragraph(`${asTyped(path) || "the message"}: ${asTyped(message)}`, { indent: 2 }, screen));
        return "command.refused";
      }
      await waited();
    }
  }

  /** In a terminal, counts how long the run has been in its state: else a pull of minutes looks like a program that hangs. */
  async function waited(): Promise<void> {
    const more = () => heard.more(LOOK_AGAIN_MS, signal);
    if (progress === undefined) return void (await more());
    const { type, atMs } = last;
    const sinceMs = atMs === undefined ? startedMs : clock.now() - Math.max(0, (await ledger.now()) - atMs);
    const isLong = clock.now() - startedMs >= UNTAKEN_MS;
    const untaken = isLong ? "the broker has it, and no launcher has taken it yet" : "waiting for a launcher to take it";
    const next = await nextTry();
    if (next !== undefined) return void (await progress.during(next.what, more, { sinceMs, ...next, onlyInTerminal: true }));
    const needs = needsSomebody ? "it needs somebody: see the hint above" : "not ended yet";
    const what = type === undefined ? untaken : `${wordOf(type)}, ${needs}`;
    await progress.during(what, more, { sinceMs, onlyInTerminal: true });
  }

  /** Between two tries: which one comes next, and when. */
  async function nextTry(): Promise<{ readonly what: string; readonly untilMs: number } | undefined> {
    const { nextAttemptAt, step } = (last.data ?? {}) as { readonly nextAttemptAt?: string; readonly step?: string };
    const record = nextAttemptAt === undefined ? undefined : (await ledger.find(run))?.record;
    const planned = record?.run.plan.steps.find(({ name }) => name === step);
    if (nextAttemptAt === undefined || record === undefined || planned === undefined) return undefined;
    const tries = 1 + limitsFor(record.run.plan, planned.name).retriesMax;
    const untilMs = clock.now() + Date.parse(nextAttemptAt) - (await ledger.now());
    return { what: `attempt ${1 + (record.run.steps[planned.name]?.retries ?? 0)} of ${tries}`, untilMs };
  }

  return {
    found,
    soFar,
    toEnd: () => until(true),
    toRefusal: () => until(false),
    isTaken: () => last.type !== undefined,
    [Symbol.dispose]: () => output?.[Symbol.dispose](),
  };
}

/** A refusal speaks of fields; a person who typed `runs restart` knows the option. */
const asTyped = (text: string): string => text.replace(/^\/data\/from$/, "--from").replace('`from: "start"`', "`--from start`");

interface Heard {
  state(): "following" | "stopped" | { readonly problems: readonly Problem[] };
  /** Resolves when something was heard of the run, or after this time. */
  more(ms: number, signal: AbortSignal): Promise<unknown>;
}

function listen(events: AsyncIterable<Delivery>, run: RunId, command: string | undefined): Heard {
  let state: ReturnType<Heard["state"]> = "following";
  const wake = wakeUp(clock);
  let failure: { readonly error: unknown } | undefined;
  void hear().catch((error: unknown) => {
    failure = { error };
    wake.wake();
  });
  return {
    state: () => {
      if (failure !== undefined) throw failure.error;
      return state;
    },
    more: (ms, signal) => wake.wait(ms, signal),
  };

  async function hear(): Promise<void> {
    for await (const delivery of events) {
      await delivery.ack();
      const read = readEvent(delivery.body);
      if (read.kind !== "event") continue;
      const { subject, type, data }: ReceivedEvent = read.event;
      if (subject !== run && data["run"] !== run) continue;
      if (type === "command.refused" && command !== undefined && data["command"] === command)
        state = { problems: data["problems"] as readonly Problem[] };
      wake.wake();
    }
    if (state === "following") state = "stopped";
    wake.wake();
  }
}
