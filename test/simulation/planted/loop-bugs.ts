/**
 * The planted bugs about the loops: messages, outbox, facts, adopting, and timers.
 *
 * The failure this prevents: a simulation that would not notice a loop that acts too early or forgets what it was told.
 */
import { edit, type PlantedBug } from "./bug.ts";

export const LOOPS: readonly PlantedBug[] = [
  {
    name: "a message is acknowledged before what it says is committed",
    edits: [
      edit(
        "services/launcher/intake/receive.ts",
        "const outcome =",
        'if (queue === "commands") await delivery.ack();\n    const outcome =',
      ),
      edit(
        "services/launcher/intake/receive.ts",
        "return await delivery.ack();",
        'return queue === "commands" ? undefined : await delivery.ack();',
      ),
      edit("services/launcher/intake/receive.ts", "return await delivery.quarantine(outcome.problems);", "return undefined;"),
      edit("services/launcher/intake/receive.ts", "await delivery.requeue();", ""),
    ],
    breaks: ["G1"],
    only: ["ledgerTroubles"],
  },
  {
    name: "no fence: an ended attempt's name is free at once",
    edits: [
      edit(
        "packages/domain/run/record.ts",
        "isOpen(attempt) && attempt.fenceUntilMs !== undefined && nowMs < attempt.fenceUntilMs;",
        "isOpen(attempt) && attempt.fenceUntilMs !== undefined && nowMs < attempt.fenceUntilMs - 600_000;",
      ),
      edit(
        "packages/domain/attempt/moves/looks.ts",
        "begunAtMs >= attempt.fenceUntilMs)",
        "begunAtMs >= attempt.fenceUntilMs - 600_000)",
      ),
    ],
    breaks: ["G3", "G10"],
    only: ["answeredTwice"],
  },
  {
    name: "the hold is released before the outcome is recorded",
    edits: [
      edit(
        "services/launcher/intake/observe.ts",
        "const recorded = await parts.recording(",
        'if (read.fact.type === "job.ended") await parts.clusters.get(group)?.writes.releaseJob(name, uid, "longshore.dev/unrecorded", { ttlSeconds: 0 }, new AbortController().signal);\n    const recorded = await parts.recording(',
      ),
    ],
    breaks: ["G4"],
    only: ["volumes"],
  },
  {
    name: "the outbox is read from a cursor",
    edits: [
      edit("services/launcher/loops/relay.ts", "let heldUntilMs = 0;", "let heldUntilMs = 0;\n  let cursorMs = 0;"),
      edit(
        "services/launcher/loops/relay.ts",
        "if (inFlight.has(event.run)) continue;",
        "if (inFlight.has(event.run) || event.atMs < cursorMs) continue;\n        cursorMs = event.atMs;",
      ),
    ],
    breaks: ["Liveness", "G6"],
    only: ["crashesAtLines"],
  },
  {
    name: "a Job is adopted for its labels, without its proof",
    edits: [
      edit(
        "services/launcher/jobs/look.ts",
        "return parts.keys.isProof(job.proof, { run: run.id, step: attempt.step, attempt: attempt.n }, { group, namespaceUid });",
        "return job.mark?.run === run.id || job.name === attempt.name;",
      ),
    ],
    breaks: ["G2", "G3", "G5", "G10", "Liveness"],
    only: ["forgeries"],
  },
  {
    name: "an occupant is adopted as if it were the Job",
    edits: [edit("services/launcher/jobs/look.ts", 'if (job.mark?.occupant === true) return { kind: "occupant", job };', "")],
    breaks: ["Liveness", "G3", "G5", "G10"],
    only: ["cancelAtLaunch"],
    seeds: [2227, 7581],
  },
  {
    name: "what the watch calls DELETED is gone",
    edits: [
      edit(
        "services/watcher/watch-group.ts",
        'const found = name === undefined ? "missing" : await lookAt(cluster, name, signal);',
        'const found = name === undefined || known.vanished ? "missing" : await lookAt(cluster, name, signal);',
      ),
      edit(
        "packages/domain/attempt/input.ts",
        'case "job.deleted":\n      return { kind: "deleting", vanished: true, ...of };',
        'case "job.deleted":\n      return { kind: "lookedDeleted", evidence: { started: "unknown" }, ...of };',
      ),
    ],
    breaks: ["G5", "G10"],
    seeds: [184, 250],
  },
  {
    name: "a fact about another Job of the same name is believed",
    edits: [
      edit(
        "packages/domain/attempt/moves/sightings.ts",
        'if (uid === attempt.uid) return endedBlind(attempt) ? "other" : "own";',
        'if (attempt.uid !== undefined) return "own";',
      ),
    ],
    breaks: ["G3", "G4", "G5", "G10", "Liveness"],
    only: ["twoLate"],
  },
  {
    name: "a cancel is forgotten while its attempt is claimed",
    edits: [
      edit(
        "packages/domain/run/advance.ts",
        'for (const { step, n, outcome } of draft.attempts)\n    if (outcome === undefined) applyToAttempt(draft, step, n, { kind: "cancel", diagnosis });',
        'for (const { step, n, outcome, state } of draft.attempts)\n    if (outcome === undefined && state !== "claimed") applyToAttempt(draft, step, n, { kind: "cancel", diagnosis });',
      ),
    ],
    breaks: ["G10"],
    only: ["doubtfulWrites"],
  },
  {
    name: "the timer of a start acts without a look",
    edits: [
      edit(
        "services/launcher/loops/expire.ts",
        "for (const input of inputsOf(cluster.name, seen)) now = await record(input);",
        "",
      ),
    ],
    breaks: ["G5", "G4", "Timers"],
    seeds: [3],
  },
];
