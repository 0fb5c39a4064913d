/**
 * The planted bugs about turns: which run gets a slot, and which one its concurrency key lets in.
 *
 * The failure this prevents: a simulation that would not notice a run that passes another one, or one more than a limit allows.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const TURNS: readonly PlantedBug[] = [
  {
    name: "◆ a slot is for whoever is due when it becomes free",
    edits: [
      edit("packages/domain/group/place-attempts.ts", "sum + (openings.get(name) ?? 0)", "sum + 0 * (openings.get(name) ?? 0)"),
    ],
    breaks: ["A slot"],
    only: ["crowd"],
    firstSeed: 136,
  },
  {
    name: "who was accepted first is placed first, whatever the priority",
    edits: [edit("packages/domain/group/place-attempts.ts", "b.priority - a.priority || a.accepted", "a.accepted")],
    breaks: ["A slot"],
    only: ["crowd"],
    seeds: [11],
  },
  {
    name: "a run that may not wait is taken beside as many others as its limit allows",
    edits: [
      edit(
        "packages/domain/run/concurrency.ts",
        'concurrency?.then === "refuse" && unfinished >= concurrency.limit;',
        'concurrency?.then === "refuse" && unfinished > concurrency.limit;',
      ),
    ],
    breaks: ["Concurrency: a run that may not wait"],
    only: ["keys"],
    seeds: [30],
  },
  {
    name: "◆ a concurrency key has room for one more while as many as its limit are at work",
    edits: [edit("packages/domain/run/concurrency.ts", "inside + ahead >= limit", "inside + ahead > limit")],
    breaks: ["Concurrency: no key has more"],
    only: ["keys"],
  },
  {
    name: "a run counts for its concurrency key only while an attempt of it is under way",
    edits: [
      edit(
        "packages/domain/run/concurrency.ts",
        "attempts.some(({ generation, notes }) => generation === run.generation && notes.letIn === true);",
        'attempts.some(({ generation, notes, state }) => generation === run.generation && notes.letIn === true && state !== "ended" && state !== "done");',
      ),
    ],
    breaks: ["Concurrency: no key has more"],
    only: ["keys"],
  },
  {
    name: "◆ a run whose own limit has room for it passes the first in its concurrency key's line",
    edits: [
      edit(
        "packages/domain/run/concurrency.ts",
        "(stopped < 0 ? waiting : waiting.slice(0, stopped))",
        "waiting.filter(({ limit }, ahead) => stopped < 0 || inside + Math.min(ahead, stopped) < limit)",
      ),
    ],
    breaks: ["Concurrency: runs are let in by turn"],
    only: ["keys"],
  },
  {
    name: "the run that joined its concurrency key's line last has the next turn",
    edits: [
      edit(
        "packages/domain/run/concurrency.ts",
        "const waiting = line.filter(({ letIn, fromMs }) => !letIn && fromMs <= nowMs);",
        "const waiting = line.filter(({ letIn, fromMs }) => !letIn && fromMs <= nowMs).toReversed();",
      ),
    ],
    breaks: ["Concurrency: runs are let in by turn"],
    only: ["keys"],
  },
];
