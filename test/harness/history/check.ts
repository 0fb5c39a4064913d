/**
 * What happened to one installation, as five journals tell it that none of our services keeps, and what is wrong with it: the
 * rules that all histories share, and those that only journals of real processes can be asked.
 *
 *   what the test sent ─┐   what passed the broker ─┐   the ledger's rows ─┐   the API servers' audit logs, and a watch of the
 *   and was confirmed   ┴───────────────────────────┴──────────────────────┴── test's own over their Jobs and pods
 *
 * The failure this prevents: calling a test passed because its last event was the wanted one, while a second Job ran, a hold
 * was left behind, or an end was told that never was.
 */
import { judge, type Rule } from "../../judge/rules.ts";
import { type History, isMade, isOurs, jobsOf } from "./journals.ts";
import { viewOf } from "./view.ts";

/** The simulation waits until nothing is astir, which these would be; its world misses nothing, and keeps no facts. */
const RULES: Readonly<Record<string, Rule<History>>> = {
  "G3: no surplus Job stays": surplus,
  "G4: of every end there is a fact": untold,
  "The test's own watch misses no Job": unseen,
};

/** Each fault in words, after the rule it breaks; an empty list is wanted. */
export const faultsOfHistory = (history: History): readonly string[] =>
  judge(history, viewOf(history), RULES).map(({ invariant, message }) => `${invariant}: ${message}`);

function surplus({ ledger, clusters }: History): readonly string[] {
  const jobs = clusters.flatMap((it) => it.jobs).filter(({ occupant, goneMs }) => !occupant && goneMs === undefined);
  return ledger.attempts
    .filter(({ name, uid }) => uid !== undefined && jobs.some((it) => it.name === name && it.uid !== uid))
    .map(({ name, run }) => `a surplus Job ${name} of ${run} is still there`);
}

/** Or the launcher looked for itself. */
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

/** A judge who missed something says so, instead of acquitting. */
function unseen({ clusters }: History): readonly string[] {
  return clusters.flatMap(({ restored, asked, jobs, group }) => {
    const made = restored ? new Map<string, readonly object[]>() : Map.groupBy(asked.filter(isMade), ({ name }) => name);
    return [...made].flatMap(([name, creates]) => {
      const seen = jobs.filter((it) => it.name === name).length;
      return seen < creates.length ? [`of ${creates.length} Jobs ${name} that were created in ${group} it saw ${seen}`] : [];
    });
  });
}
