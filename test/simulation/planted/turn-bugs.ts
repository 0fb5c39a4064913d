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
    seeds: [82],
  },
  {
    name: "who was accepted first is placed first, whatever the priority",
    edits: [edit("packages/domain/group/place-attempts.ts", "b.priority - a.priority || a.accepted", "a.accepted")],
    breaks: ["A slot"],
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
    seeds: [30],
  },
];
