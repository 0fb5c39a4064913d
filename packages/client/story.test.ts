/** Repeats and reordered events go in; each event comes out once and in order, within bounds. */
import type { ReceivedEvent } from "@longshore/contract/envelope.ts";
import fc from "fast-check";
import t from "tap";
import { type Story, story } from "./story.ts";

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

/** The verdict on each event: "told 1 2", "repeat" or "early 1". */
function heard(told: Story, ...events: readonly ReceivedEvent[]): readonly string[] {
  return events.map((it) => {
    const result = told.hear(it);
    if (result.kind === "told") return `told ${result.events.map(({ sequence }) => sequence).join(" ")}`;
    return result.kind === "repeat" ? "repeat" : `${result.kind} ${result.waitsFor}`;
  });
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
  t.same(heard(story(), event(3), event(2), event(5), event(1)), ["early 1", "early 1", "early 1", "told 1 2 3"]);
});

t.test("keeps runs apart, and installations", async (t) => {
  t.same(heard(story(), event(1, "a"), event(2, "b"), event(1, "a", "other"), event(1, "b")), [
    "told 1",
    "early 1",
    "told 1",
    "told 1 2",
  ]);
});

t.test("goes on where the application left off", async (t) => {
  t.same(heard(story({ lastApplied: (run) => (run === "a" ? 4 : 0) }), event(4), event(5)), ["repeat", "told 5"]);
});

t.test("gives back an event that it has no room for, and has room again afterwards", async (t) => {
  const told = story({ heldMax: 2 });
  t.same(heard(told, event(2), event(3), event(4), event(2, "b")), ["early 1", "early 1", "full 1", "full 1"]);
  t.same(heard(told, event(1), event(2, "b"), event(3, "b")), ["told 1 2 3", "early 1", "early 1"]);
});

t.test("forgets the run that it heard of least recently, with the events that it held of it", async (t) => {
  const told = story({ runsMax: 2, heldMax: 1, lastApplied: (run) => (run === "a" ? 1 : 0) });
  t.same(heard(told, event(3, "a"), event(1, "b"), event(1, "c")), ["early 2", "told 1", "told 1"]);
  t.same(heard(told, event(1, "a"), event(3, "a"), event(2, "a")), ["repeat", "early 2", "told 2 3"]);
});

t.test("tells an event that belongs to no run once, as far as it remembers", async (t) => {
  t.same(heard(story({ noticesMax: 1 }), refused("1"), refused("1"), refused("2"), refused("1")), [
    "told ",
    "repeat",
    "told ",
    "told ",
  ]);
});

t.test("any order and repetition of any runs' events tells each once and in order", async (t) => {
  const deliveries = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 1, max: 12 })), { maxLength: 80 });
  fc.assert(
    fc.property(deliveries, fc.integer({ min: 0, max: 4 }), (some, heldMax) => {
      const told = story({ heldMax });
      const whole = ["a", "b", "c"].flatMap((run) => Array.from({ length: 12 }, (_, at) => [run, at + 1] as const));
      const out = [...some, ...whole].flatMap(([run, sequence]) => {
        const result = told.hear(event(sequence, run));
        return result.kind === "told" ? result.events : [];
      });
      return ["a", "b", "c"].every((run) => {
        const sequences = out.filter(({ subject }) => subject === run).map(({ sequence }) => sequence);
        return sequences.length === 12 && sequences.every((sequence, at) => sequence === at + 1);
      });
    }),
  );
  t.pass("100 deliveries");
});
