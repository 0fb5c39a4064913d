/**
 * Finds what is wrong in the history of one installation: by the rules that all histories share, and by rules for the journals
 * of real processes. None of the five journals is kept by a service of ours.
 *
 *   what the test sent ─┐   what passed the broker ─┐   the ledger's rows ─┐   the API servers' audit logs, and a watch of the
 *   and was confirmed   ┴───────────────────────────┴──────────────────────┴── test's own over their Jobs and pods
 *
 * The failure this prevents: a test that passes because its last event was the right one, although a second Job ran, a hold was
 * left behind, or a false end was told.
 */
import { judge, type Rule } from "../../judge/rules.ts";
import { type History, isMade, isOurs, jobsOf } from "./journals.ts";
import { viewOf } from "./view.ts";

/** The simulation needs none of these rules: it waits until no surplus Job is left, keeps no facts, and sees every Job. */
const RULES: Readonly<Record<string, Rule<History>>> = {
  "G3: no surplus Job stays": surplus,
  "G4: of every end there is a fact": untold,
  "The test's own watch misses no Job": unseen,
};

/** Returns each fault in words, after the rule that it breaks. Tests want an empty list. */
export const faultsOfHistory = (history: History): readonly string[] =>
  judge(history, viewOf(history), RULES).map(({ invariant, message }) => `${invariant}: ${message}`);

function surplus({ ledger, clusters }: History): readonly string[] {
  const jobs = clusters.flatMap((it) => it.jobs).filter(({ occupant, goneMs }) => !occupant && goneMs === undefined);
  return ledger.attempts
    .filter(({ name, uid }) => uid !== undefined && jobs.some((it) => it.name === name && it.uid !== uid))
    .map(({ name, run }) => `a surplus Job ${name} of ${run} is still there`);
}

/** Finds ended Jobs of which no fact told, and which the launcher did not read by itself either. */
function untold(history: History): readonly string[] {
  const { ledger, clusters, passed, factsPassed } = history;
  if (!factsPassed) return [];
  const told = new Set(passed.flatMap(({ type, data }) => (type === "job.ended" ? [uidOf(data)] : [])));
  return ledger.attempts.flatMap((attempt) => {
    const cluster = clusters.find(({ group }) => group === attempt.group);
    const job = jobsOf(history, attempt).find(({ uid }) => uid === attempt.uid);
    if (cluster === undefined || job === undefined || (job.completeMs ?? job.failedMs) === undefined || told.has(job.uid))
      return [];
    return cluster.asked.some((it) => it.verb === "get" && it.name === job.name && isOurs(cluster, it.user))
      ? []
      : [`the Job ${job.name} of ${attempt.run} ended, and no fact told so`];
  });
}

const uidOf = ({ about }: Readonly<Record<string, unknown>>): unknown =>
  typeof about === "object" && about !== null && "uid" in about ? about.uid : undefined;

/** If the test's own watch missed a Job, the other rules judged an incomplete history. */
function unseen({ clusters }: History): readonly string[] {
  return clusters.flatMap(({ restored, asked, jobs, group }) => {
    const made = restored ? new Map<string, readonly object[]>() : Map.groupBy(asked.filter(isMade), ({ name }) => name);
    return [...made].flatMap(([name, creates]) => {
      const seen = jobs.filter((it) => it.name === name).length;
      return seen < creates.length ? [`of ${creates.length} Jobs ${name} that were created in ${group} it saw ${seen}`] : [];
    });
  });
}
