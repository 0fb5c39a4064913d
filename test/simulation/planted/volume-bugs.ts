/**
 * The planted bugs about volumes of runs.
 *
 * The failure this prevents: a simulation that would not notice a volume that stays for ever, or one that is deleted under a pod.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const VOLUMES: readonly PlantedBug[] = [
  {
    name: "◆ a volume needs no owner, since its run deletes it",
    edits: [edit("packages/domain/pod/volumes.ts", "  ownerReferences: [ownerOf({ name: input.name, uid })],\n", "")],
    breaks: ["Volumes: each has an owner"],
    only: ["volumes"],
    seeds: [2],
  },
  {
    name: "◆ a run that has ended needs its volumes no more",
    edits: [edit("services/launcher/loops/sweep.ts", "if (!isClear || !mayJudge", "if (!mayJudge")],
    breaks: ["Volumes: an anchor goes after"],
    only: ["volumes"],
    seeds: [2],
  },
  {
    name: "◆ an anchor that is not there is gone, though a create of it may still land",
    edits: [
      edit("services/launcher/loops/sweep.ts", "if (!isClear || !mayJudge", "if (!mayJudge"),
      edit("packages/domain/anchor/of-run.ts", 'if (input.kind === "gone" && !isClear(draft, anchor)) return [];', ""),
      edit("services/launcher/loops/sweep.ts", 'if (got.kind === "found" && (', 'if (isClear && got.kind === "found" && ('),
      edit("packages/domain/anchor/lifecycle.ts", "begunAtMs < anchor.fenceUntilMs ?", "begunAtMs < 0 ?"),
    ],
    breaks: ["Volumes: each has an owner"],
    only: ["volumes"],
    seeds: [131],
  },
  {
    name: "the name of a claim says which volume it is, whatever the anchor",
    edits: [
      edit(
        "packages/domain/run/identity.ts",
        "JSON.stringify([`longshore.dev/${what}-name`, anchorUid, content])",
        "JSON.stringify([`longshore.dev/${what}-name`, anchorUid.slice(0, 0), content])",
      ),
    ],
    breaks: ["Volumes: a pod mounts only"],
    only: ["volumes"],
    seeds: [2],
  },
  {
    name: "◆ an anchor whose volumes do not fit is given up, whoever else is creating under it",
    edits: [
      edit(
        "packages/domain/anchor/of-run.ts",
        "if (owned.some((it) => AT_WORK.includes(it.state) || isOpen(it))) return [];",
        "if (owned.length === 0 && AT_WORK.length === 0) return [];",
      ),
    ],
    breaks: ["Volumes: the steps of one life"],
    only: ["roomInBetween"],
    seeds: [7],
  },
  {
    name: "the pods of a run's earlier life are over when it is restarted",
    edits: [
      edit(
        "services/launcher/jobs/anchor.ts",
        "if (generation === 1) return undefined;",
        "if (generation > 0) return undefined;",
      ),
    ],
    breaks: ["Volumes: two generations"],
    only: ["restartedTooSoon"],
    seeds: [55, 562],
  },
  {
    name: "◆ the pods that a step's program made are its own business",
    edits: [
      edit(
        "packages/domain/attempt/moves/move.ts",
        "const mayHaveChildren = hasToken &&",
        "const mayHaveChildren = attempt.claimNo < 0 && hasToken &&",
      ),
    ],
    breaks: ["Children: a step ends after"],
    only: ["volumes"],
    seeds: [4],
  },
];
