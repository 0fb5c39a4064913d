/** Repeats and reordered events go in; each event comes out once and in order, within bounds. */
import type { ReceivedEvent } from "@longshore/contract/messages/envelope.ts";
import fc from "fast-check";
import t from "tap";
import { type Heard, type Story, story } from "./story.ts";

function event(sequence: number, run = "a", installation = "main"): ReceivedEvent {
  return {
    id: `${installation}/${run}/${sequence}`,
    source: `/longshore/${installation}/runs/${run}`,
    subject: run,
    type: "run.stalled",
    sequence,
    generation: 1,
    group: undefined,
    tenant: "default",
    time: undefined,
    traceparent: undefined,
    correlationId: undefined,
    data: {},
  };
}
const refused = (id: string): ReceivedEvent => ({
  ...event(1),
  id,
  source: "/longshore/main",
  type: "command.refused",
  sequence: undefined,
});

/** For runs whose first event must be number 1. */
const whole = { lastApplied: () => 0 };

/** The verdict on each event: "told 1 2", "told 3 without a 1-2", "repeat" or "early 1". */
const heard = (told: Story, ...events: readonly ReceivedEvent[]): readonly string[] => events.map((it) => verdict(told.hear(it)));

function verdict(result: Heard): string {
  if (result.kind === "repeat") return "repeat";
  if (result.kind === "early") return `early ${result.waitsFor}`;
  const { events, missed } = result;
  const without = missed === undefined ? "" : ` without ${missed.run} ${missed.from}-${missed.to}`;
  return `told ${events.map(({ sequence }) => sequence).join(" ")}${without}`;
}

t.test("tells events that come in order at once", async (t) => {
  t.same(heard(story(), event(1), event(2)), ["told 1", "told 2"]);
});

t.test("drops an event that comes again, early or told", async (t) => {
  t.same(heard(story(), event(1), event(1), event(3), event(3), event(2), event(3)), [
    "told 1",
    "repeat",
    "early 2",
    "repeat",
    "told 2 3",
    "repeat",
  ]);
});

t.test("holds an early event, and tells it with the event that it waited for", async (t) => {
  t.same(heard(story(whole), event(3), event(2), event(5), event(1)), ["early 1", "early 1", "early 1", "told 1 2 3"]);
});

t.test("keeps runs apart, and installations", async (t) => {
  t.same(heard(story(whole), event(1, "a"), event(2, "b"), event(1, "a", "other"), event(1, "b")), [
    "told 1",
    "early 1",
    "told 1",
    "told 1 2",
  ]);
});

t.test("goes on where the application left off", async (t) => {
  t.same(heard(story({ lastApplied: (run) => (run === "a" ? 4 : 0) }), event(4), event(5)), ["repeat", "told 5"]);
});

t.test("begins with the first event that it hears of a run, if nobody says where", async (t) => {
  t.same(heard(story(), event(5), event(7), event(1, "b"), event(6), event(4)), [
    "told 5",
    "early 6",
    "told 1",
    "told 6 7",
    "repeat",
  ]);
  const started = (run: string) => (run === "b" ? 0 : undefined);
  t.same(heard(story({ lastApplied: started }), event(5), event(2, "b")), ["told 5", "early 1"]);
});

t.test("a run whose events are missing stops no other run, and goes on without them if too many wait", async (t) => {
  const told = story({ ...whole, heldMax: 2 });
  t.same(heard(told, event(3), event(5), event(1, "b"), event(2, "b")), ["early 1", "early 1", "told 1", "told 2"]);
  t.same(heard(told, event(2, "c"), event(1), event(4), event(6)), ["told 3 without a 1-2", "repeat", "told 4 5", "told 6"]);
  t.same(heard(told, event(1, "c")), ["told 1 2"]);
});

/** A story whose waits last a second at most, and the verdicts at a time. */
function timed() {
  let nowMs = 0;
  const told = story({ ...whole, waitMaxMs: 1_000, now: () => nowMs });
  const then = <T>(ms: number, work: () => T): T => {
    nowMs = ms;
    return work();
  };
  return {
    at: (ms: number, it: ReceivedEvent) => then(ms, () => verdict(told.hear(it))),
    late: (ms: number) => then(ms, () => told.overdue().map(verdict)),
  };
}

t.test("a run that waits too long goes on without what it misses, and says so, while the others wait on", async (t) => {
  const { at, late } = timed();
  at(0, event(1));
  at(100, event(4));
  at(900, event(5));
  at(500, event(2, "b"));
  t.same(late(1_099), []);
  t.same(late(1_100), ["told 4 5 without a 2-3"]);
  t.same(late(1_499), [], "each wait is told once");
  t.equal(at(1_499, event(2)), "repeat", "what was given up is not told out of order");
  t.equal(at(1_499, event(6)), "told 6");
  t.same(late(1_500), ["told 2 without b 1-1"]);
});

t.test("a wait is counted from the event that is missing now", async (t) => {
  const { at, late } = timed();
  at(0, event(2));
  at(0, event(4));
  t.equal(at(900, event(1)), "told 1 2");
  t.same(late(1_899), []);
  t.same(late(1_900), ["told 4 without a 3-3"]);
});

t.test("forgets the run that it heard of least recently, but none whose events it holds", async (t) => {
  const told = story({ runsMax: 1, lastApplied: (run) => (run === "a" ? 1 : 0) });
  t.same(heard(told, event(3, "a"), event(1, "b"), event(1, "c")), ["early 2", "told 1", "told 1"]);
  t.same(heard(told, event(2, "a"), event(1, "b")), ["told 2 3", "told 1"], "c went when a was heard, and b before");
});

t.test("tells an event that belongs to no run once, as far as it remembers", async (t) => {
  t.same(heard(story({ noticesMax: 1 }), refused("1"), refused("1"), refused("2"), refused("1")), [
    "told ",
    "repeat",
    "told ",
    "told ",
  ]);
});

const deliveries = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 1, max: 12 })), { maxLength: 80 });
type Deliveries = readonly (readonly [run: string, sequence: number])[];

function toldOf(run: string, some: Deliveries, told: Story): readonly number[] {
  return some
    .flatMap(([of, sequence]) => {
      const result = told.hear(event(sequence, of));
      return result.kind === "told" ? result.events : [];
    })
    .flatMap(({ subject, sequence }) => (subject === run && sequence !== undefined ? [sequence] : []));
}

t.test("any order and repetition of any runs' events tells each once and in order", async (t) => {
  const all = ["a", "b", "c"].flatMap((run) => Array.from({ length: 12 }, (_, at) => [run, at + 1] as const));
  fc.assert(
    fc.property(deliveries, (some) =>
      ["a", "b", "c"].every((run) => {
        const sequences = toldOf(run, [...some, ...all], story(whole));
        return sequences.length === 12 && sequences.every((sequence, at) => sequence === at + 1);
      }),
    ),
  );
  t.pass("100 deliveries");
});

t.test("whatever is missing, no event is told twice or after a later one, and no more wait than may", async (t) => {
  fc.assert(
    fc.property(deliveries, fc.integer({ min: 0, max: 4 }), fc.boolean(), (some, heldMax, isWhole) => {
      const told = story({ heldMax, ...(isWhole && whole) });
      let held = 0;
      const last = new Map<string, number>();
      for (const [run, sequence] of some) {
        const result = told.hear(event(sequence, run));
        if (result.kind !== "repeat") held++;
        for (const { subject = "", sequence: at = 0 } of result.kind === "told" ? result.events : []) {
          if (at <= (last.get(subject) ?? 0)) return false;
          last.set(subject, at);
          held--;
        }
        if (held > heldMax) return false;
      }
      return true;
    }),
  );
  t.pass("100 deliveries");
});
