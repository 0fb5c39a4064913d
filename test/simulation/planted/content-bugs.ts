/**
 * The planted bugs about what a step is given, and about the ends of its slices.
 *
 * The failure this prevents: a simulation that would not notice a changed value, or a step that ends with too many failed slices.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const VALUES: readonly PlantedBug[] = [
  {
    name: "◆ the kubelet expands $( and nothing else of a value",
    edits: [
      edit("packages/contract/expressions/template.ts", 'value.replaceAll("$", "$$$$")', 'value.replaceAll("$(", "$$$$(")'),
    ],
    breaks: ["A program gets"],
    only: ["crashes"],
    seeds: [1, 2],
  },
];

export const SLICES: readonly PlantedBug[] = [
  {
    name: "◆ a step with too many failed slices has as many as may fail",
    edits: [
      edit(
        "packages/domain/attempt/moves/sightings.ts",
        'slices?.reason === "FailedIndexes" && indexesIn(slices.failed).length <= failedMax',
        "slices?.reason !== undefined",
      ),
    ],
    breaks: ["G4", "G5"],
    only: ["slices"],
    seeds: [54, 86],
  },
  {
    name: "no slice may fail, whatever the request says",
    edits: [
      edit(
        "packages/domain/attempt/moves/sightings.ts",
        'slices?.reason === "FailedIndexes" && indexesIn(slices.failed).length <= failedMax',
        "slices === undefined",
      ),
    ],
    breaks: ["G4", "G5"],
    only: ["slices"],
    seeds: [31, 34],
  },
];
