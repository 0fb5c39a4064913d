/**
 * The planted bugs about a group's health, and about which cluster answers.
 *
 * The failure this prevents: a simulation that would not notice work that goes to another cluster, or a group that is given up in vain.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const GROUPS: readonly PlantedBug[] = [
  {
    name: "◆ what answered before an outage answers after it",
    edits: [
      edit(
        "packages/domain/group/view.ts",
        'case "terminating":\n      return true;',
        'case "terminating":\n      return true;\n    case "away":\n      return view.namespaceUid !== undefined;',
      ),
    ],
    breaks: ["Nothing is created", "G3", "G5", "G10"],
    only: ["astrayAfterOutage"],
    seeds: [20, 392],
  },
  {
    name: "◆ the ledger's word on a group is an answer of its cluster",
    edits: [
      edit(
        "packages/domain/group/view.ts",
        'case "terminating":\n      return true;',
        'case "terminating":\n      return true;\n    case "unverified":\n      return view.namespaceUid !== undefined;',
      ),
      edit("packages/domain/group/view.ts", 'view.state !== "unverified" && !("overruled" in view)', '!("overruled" in view)'),
    ],
    breaks: ["Nothing is created", "G3", "G5", "G10"],
    only: ["startedAstray"],
    seeds: [534, 334],
  },
  {
    name: "a namespace is known by its name",
    edits: [edit("packages/domain/group/health.ts", "if (uid !== namespaceUid) {", "if (uid === undefined) {")],
    breaks: ["Nothing is created", "G3", "G5", "G10"],
    only: ["startedAstray"],
    seeds: [151],
  },
  {
    name: "a probe that is not answered gives its group up",
    edits: [edit("packages/domain/group/health.ts", "healthy: doubt, ", "healthy: gone, ")],
    breaks: ["A group's health"],
    only: ["readsLost"],
    seeds: [73, 102],
  },
  {
    name: "a group that answers reads is well, whatever it answered to a create",
    edits: [
      edit(
        "packages/domain/group/health.ts",
        "if (refusals !== undefined && nowMs < refusals.untilMs)",
        "if (refusals !== undefined && nowMs < 0)",
      ),
    ],
    breaks: ["A group's health"],
    only: ["createsRefused"],
    seeds: [217, 171],
  },
  {
    name: "refused writes rest for 10 s, however often",
    edits: [edit("packages/domain/group/health.ts", "const times = (view.refusals?.times ?? 0) + 1;", "const times = 1;")],
    breaks: ["A group's health"],
    only: ["createsRefused"],
    seeds: [217, 254],
  },
  {
    name: "of two launchers that disagree the last one has the word",
    edits: [edit("packages/domain/group/recorded-health.ts", "needs: turns ? needed(health, recorded) : []", "needs: []")],
    breaks: ["A group's health"],
    only: ["oneCutOff"],
    seeds: [8, 254],
  },
];
