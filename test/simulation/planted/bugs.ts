/**
 * Bugs that somebody could well have written, as changes to the production code. The simulation must catch each of them.
 *
 * The bug this prevents: a simulation whose models are so kind that it passes anything.
 */
import { edit, type PlantedBug } from "./bug.ts";
import { TURNS } from "./turn-bugs.ts";
import { VOLUMES } from "./volume-bugs.ts";

const LIFECYCLE: readonly PlantedBug[] = [
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
    seeds: [947, 3201],
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
    seeds: [3],
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
    seeds: [302],
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
    seeds: [360, 84],
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
    seeds: [735],
  },
  {
    name: "◆ a stray is released although a create of its name may still land",
    edits: [edit("services/launcher/loops/sweep.ts", "if (fenced) return;", "")],
    breaks: ["G3", "G10"],
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
    seeds: [741],
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
    seeds: [293, 60],
  },
  {
    name: "◆ a retry waits for the attempt before it, and for no earlier one",
    edits: [edit("packages/domain/run/steps.ts", "it.n < n &&", "it.n === n - 1 &&")],
    breaks: ["G3: two attempts"],
    seeds: [477, 743],
  },
  {
    name: "◆ nobody notices that a parked attempt lost its hold after its end",
    edits: [
      edit("packages/domain/attempt/lifecycle.ts", "seen.vanishedLate", "nothingNew"),
      edit("services/launcher/loops/tally.ts", "if (attempt.parked && !isListed)", "if (false)"),
      edit("services/launcher/loops/tally.ts", "if (!job.awaited) await", "if (false) await"),
    ],
    breaks: ["G3: two attempts"],
    seeds: [12, 117],
  },
  {
    name: "◆ a run that was given up is done as soon as its Job's deletion was accepted",
    edits: [edit("services/launcher/loops/release.ts", " && !(await stillRuns(parts, cluster, { uid }, signal))", "")],
    breaks: ["G3: two attempts"],
    seeds: [18, 36],
  },
];

const LOOPS: readonly PlantedBug[] = [
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
    seeds: [17],
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
    seeds: [6],
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
    seeds: [2],
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
    seeds: [5],
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
    seeds: [125],
  },
  {
    name: "an occupant is adopted as if it were the Job",
    edits: [edit("services/launcher/jobs/look.ts", 'if (job.mark?.occupant === true) return { kind: "occupant", job };', "")],
    breaks: ["Liveness", "G3", "G5", "G10"],
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
    seeds: [137],
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
    seeds: [13],
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

const GROUPS: readonly PlantedBug[] = [
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
    seeds: [534, 334],
  },
  {
    name: "a namespace is known by its name",
    edits: [edit("packages/domain/group/health.ts", "if (uid !== namespaceUid) {", "if (uid === undefined) {")],
    breaks: ["Nothing is created", "G3", "G5", "G10"],
    seeds: [151],
  },
  {
    name: "a probe that is not answered gives its group up",
    edits: [edit("packages/domain/group/health.ts", "healthy: doubt, ", "healthy: gone, ")],
    breaks: ["A group's health"],
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
    seeds: [217, 171],
  },
  {
    name: "refused writes rest for 10 s, however often",
    edits: [edit("packages/domain/group/health.ts", "const times = (view.refusals?.times ?? 0) + 1;", "const times = 1;")],
    breaks: ["A group's health"],
    seeds: [217, 254],
  },
  {
    name: "of two launchers that disagree the last one has the word",
    edits: [edit("packages/domain/group/recorded-health.ts", "needs: turns ? needed(health, recorded) : []", "needs: []")],
    breaks: ["A group's health"],
    seeds: [8, 254],
  },
];

const VALUES: readonly PlantedBug[] = [
  {
    name: "◆ the kubelet expands $( and nothing else of a value",
    edits: [
      edit("packages/contract/expressions/template.ts", 'value.replaceAll("$", "$$$$")', 'value.replaceAll("$(", "$$$$(")'),
    ],
    breaks: ["A program gets"],
    seeds: [1, 2],
  },
];

const SLICES: readonly PlantedBug[] = [
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
    seeds: [31, 34],
  },
];

export const PLANTED: readonly PlantedBug[] = [...LIFECYCLE, ...LOOPS, ...TURNS, ...GROUPS, ...VOLUMES, ...VALUES, ...SLICES];
