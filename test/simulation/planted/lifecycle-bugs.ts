/**
 * The planted bugs about an attempt's lifecycle: creates in doubt, looks, parking, and the step's next attempt.
 *
 * The failure this prevents: a simulation that would not notice two Jobs of one attempt, or an end that was never seen.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const LIFECYCLE: readonly PlantedBug[] = [
  {
    name: "◆ unanswered claims are counted, so any answer lowers the count",
    edits: [
      edit(
        "packages/domain/attempt/moves/answers.ts",
        "if (claimNo === undefined || !attempt.unanswered.includes(claimNo)) return attempt;\n  const heard = { ...attempt, unanswered: attempt.unanswered.filter((it) => it !== claimNo) };",
        "if (claimNo === undefined || attempt.unanswered.length === 0) return attempt;\n  const heard = { ...attempt, unanswered: attempt.unanswered.slice(1) };",
      ),
    ],
    breaks: ["G3", "G5", "G10"],
    only: ["answeredTwice"],
    firstSeed: 47,
  },
  {
    name: "◆ a fence that has passed shows that nothing has landed",
    edits: [
      edit(
        "services/launcher/loops/launch.ts",
        'const seen = await look(parts, cluster, work, signal);\n  if (seen.kind === "ours") {',
        'const seen = { kind: "missing" } as Awaited<ReturnType<typeof look>>;\n  if (seen.kind === "ours") {',
      ),
    ],
    breaks: ["G3", "G10"],
    only: ["unseenUntilTheFence"],
  },
  {
    name: "◆ a look that began before the fence had passed counts as one after it",
    edits: [
      edit(
        "packages/domain/attempt/moves/looks.ts",
        "(attempt.fenceUntilMs !== undefined && begunAtMs >= attempt.fenceUntilMs)",
        "attempt.fenceUntilMs !== undefined",
      ),
      edit(
        "services/launcher/loops/close.ts",
        "if (!isFenced(attempt, nowMs))",
        "if (!isFenced(attempt, await parts.ledger.now()))",
      ),
    ],
    breaks: ["G3", "G10"],
    only: ["lastSeconds"],
  },
  {
    name: "◆ the watcher's view of the pods says that a deleted Job's are gone",
    edits: [
      edit(
        "packages/domain/watch/facts.ts",
        'fact = { type: "job.deleting", data: { about: known.about } }',
        'fact = { type: what === "drained" ? "job.deleted" : "job.deleting", data: { about: known.about } }',
      ),
      edit(
        "packages/domain/attempt/input.ts",
        'case "job.deleted":\n      return { kind: "deleting", vanished: true, ...of };',
        'case "job.deleted":\n      return { kind: "lookedDeleted", evidence: { started: "unknown" }, ...of };',
      ),
    ],
    breaks: ["G5", "G10"],
    only: ["podsUnseen"],
  },
  {
    name: "◆ a look lists the pods first and gets the Job then",
    edits: [
      edit(
        "services/launcher/jobs/look.ts",
        'const got = await cluster.reads.getJob(work.attempt.name, signal);\n  if (got.kind === "missing") return got;',
        'const first = work.attempt.uid === undefined ? undefined : await cluster.reads.podsOf(work.attempt.uid, signal);\n  const got = await cluster.reads.getJob(work.attempt.name, signal);\n  if (got.kind === "missing") return got;',
      ),
      edit(
        "services/launcher/jobs/look.ts",
        "const listed = await cluster.reads.podsOf(job.uid, signal);",
        "const listed = first ?? (await cluster.reads.podsOf(job.uid, signal));",
      ),
    ],
    breaks: ["G5", "G10"],
    only: ["orphanedMeanwhile"],
  },
  {
    name: "◆ a stray is released although a create of its name may still land",
    edits: [edit("services/launcher/loops/sweep.ts", "if (fenced) return;", "")],
    breaks: ["G3", "G10"],
    only: ["twoLate"],
    seeds: [108],
  },
  {
    name: "◆ a refusal ends an attempt although an older create is on the wire",
    edits: [
      edit(
        "packages/domain/attempt/moves/answers.ts",
        "if (isOpen(heard)) return closing(heard, cause, diagnosis, context);",
        "",
      ),
    ],
    breaks: ["G5", "G3", "G10"],
    only: ["answeredTwice"],
    firstSeed: 56,
  },
  {
    name: "◆ a refusal for now frees the slot although an older create is on the wire",
    edits: [
      edit(
        "packages/domain/attempt/moves/answers.ts",
        "if (!isOpen(heard))\n    return backToWaiting(",
        "if (heard.uid === undefined)\n    return backToWaiting(",
      ),
    ],
    breaks: ["Liveness", "G3", "G10"],
    only: ["unseenUntilTheFence"],
    seeds: [330, 56],
  },
  {
    name: "◆ waiting too long ends an attempt although a create is on the wire",
    edits: [
      edit(
        "packages/domain/attempt/moves/decisions.ts",
        'isOpen(attempt)\n    ? closing(attempt, "waitExpired", diagnosis, context)\n    : end(',
        'isOpen(attempt) && attempt.uid !== undefined\n    ? closing(attempt, "waitExpired", diagnosis, context)\n    : end(',
      ),
    ],
    breaks: ["G5", "G3", "G10"],
    only: ["lateCreate"],
    seeds: [718],
  },
  {
    name: "◆ only running pods are unfinished",
    edits: [
      edit(
        "packages/domain/watch/seen.ts",
        'pod.phase !== "Succeeded" && pod.phase !== "Failed";',
        'pod.phase === "Running" && pod.deletionAt === undefined;',
      ),
    ],
    breaks: ["G5", "G10"],
    only: ["slowLooks"],
    seeds: [110, 195],
  },
  {
    name: "◆ an ended attempt is parked without a look, since its Job has a hold",
    edits: [
      edit(
        "packages/domain/attempt/moves/move.ts",
        "waitsFor: undefined,\n    dueMs: nowMs,",
        "waitsFor: undefined,\n    dueMs: isFenced(attempt, nowMs) ? attempt.fenceUntilMs : nowMs,\n    notes: { ...attempt.notes, keptAtMs: nowMs },",
      ),
    ],
    breaks: ["G3: two attempts"],
    only: ["goneBeforeItsEnd"],
  },
  {
    name: "◆ a retry waits for the attempt before it, and for no earlier one",
    edits: [edit("packages/domain/run/steps.ts", "it.n < n &&", "it.n === n - 1 &&")],
    breaks: ["G3: two attempts"],
    only: ["goneBeforeTheThird"],
  },
  {
    name: "◆ nobody notices that a parked attempt lost its hold after its end",
    edits: [
      edit("packages/domain/attempt/lifecycle.ts", "seen.vanishedLate", "nothingNew"),
      edit("services/launcher/loops/tally.ts", "if (attempt.parked && !isListed)", "if (false)"),
      edit("services/launcher/loops/tally.ts", "if (!job.awaited) await", "if (false) await"),
    ],
    breaks: ["G3: two attempts"],
    only: ["strippedBeforeTheRetry"],
  },
  {
    name: "◆ a run that was given up is done as soon as its Job's deletion was accepted",
    edits: [edit("services/launcher/loops/release.ts", " && !(await stillRuns(parts, cluster, { uid }, signal))", "")],
    breaks: ["G3: two attempts"],
    only: ["restartedSoon"],
  },
];
