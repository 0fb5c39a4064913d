/**
 * Ready attempts: claim, POST, write down what was answered. Claims that ran out are made again; those whose fence has
 * passed are looked at first.
 *
 *   claim (ledger) ──▶ POST (cluster) ──▶ record (ledger)
 *        died here: the claim runs out, the next POST meets 409 and adopts ──┘
 */
import { diagnose } from "@longshore/contract/diagnosis.ts";
import { Failure } from "@longshore/contract/problem.ts";
import type { AttemptInput } from "@longshore/domain/run/input.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import type { Entry, Work } from "@longshore/ledger/port.ts";
import { createOrAdopt } from "./create.ts";
import { look } from "./look.ts";
import type { Cluster, Parts } from "./parts.ts";
import { drain, steadily } from "./steadily.ts";

/** Several lanes, so that while one waits for its slowest create the others go on. */
const LANES = 3;
const MOST = 24;

export function launch(parts: Parts, cluster: Cluster) {
  return async (signal: AbortSignal): Promise<void> => {
    const turns = pace(parts.clock, cluster.createsPerSecond);
    const lane = () =>
      steadily(parts, { what: `launch ${cluster.name}`, ms: parts.timing.pollMs, bell: parts.bells.ready, signal }, (signal) =>
        drain(signal, async () => {
          if (parts.views.get(cluster.name)?.isElsewhere === true) return false;
          const { claimMs: forMs } = parts.timing;
          const most = await turns.take(MOST, signal);
          if (most === 0) return false;
          const works = await parts.ledger.claim({ group: cluster.name, most, by: parts.owner, forMs });
          turns.giveBack(most - works.length);
          await Promise.all(works.map((work) => launchOne(parts, cluster, work, signal)));
          return works.length === most;
        }),
      );
    await Promise.all([...Array.from({ length: LANES }, lane), unfence(parts, cluster, signal)]);
  };
}

/**
 * Turns to create, so many a second. They are taken before the claim: an attempt that was claimed and waits for its turn keeps
 * another group from taking it, and its claim runs out.
 */
function pace(clock: Parts["clock"], perSecond: number | undefined) {
  const burst = Math.max(1, perSecond ?? 0);
  let left = burst;
  let countedMs = clock.now();
  return {
    /** At least one, where it is not asked to stop. */
    async take(most: number, signal: AbortSignal): Promise<number> {
      if (perSecond === undefined) return most;
      for (;;) {
        const nowMs = clock.now();
        left = Math.min(burst, left + (Math.max(0, nowMs - countedMs) / 1000) * perSecond);
        countedMs = nowMs;
        if (left >= 1) break;
        await clock.sleep(((1 - left) / perSecond) * 1000, signal);
        if (signal.aborted) return 0;
      }
      const taken = Math.min(most, Math.floor(left));
      left -= taken;
      return taken;
    },
    giveBack(unused: number): void {
      left = Math.min(burst, left + unused);
    },
  };
}

async function launchOne(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal): Promise<void> {
  const { run, attempt, nowMs } = work;
  const record = (input: AttemptInput) => writeDown(parts, { run: run.id, step: attempt.step, n: attempt.n, input }, signal);
  if (nowMs >= attempt.notes.waitUntilMs) return await giveUp(attempt, nowMs, record);
  await parts.fail("beforePost");
  const input = await createOrAdopt(parts, cluster, work, signal);
  await parts.fail("afterPost");
  await record(input);
}

/**
 * An answer that is not written down leaves its create in doubt until the fence has passed, and the Job held as long. Where only
 * the COMMIT's answer was lost this says it twice, which the lifecycle knows.
 */
async function writeDown(parts: Parts, entry: Entry, signal: AbortSignal): Promise<void> {
  const untilMs = parts.clock.now() + parts.timing.claimMs;
  for (let failures = 0; ; await parts.pause(++failures, signal)) {
    try {
      await parts.recording(entry);
      return;
    } catch (error) {
      const passes = error instanceof Failure && error.disposition === "retry";
      if (!passes || signal.aborted || parts.clock.now() >= untilMs) throw error;
    }
  }
}

/** A cluster that answers every create with an error would be asked for ever: `waitFor` bounds that too. Nothing was sent for this claim. */
async function giveUp(
  { claimNo, notes }: Attempt,
  nowMs: number,
  record: (input: AttemptInput) => Promise<unknown>,
): Promise<void> {
  const diagnosis = diagnose("WaitExpired", "Its cluster gave no answer that could be relied on within `waitFor`.");
  await record({ kind: "deferred", claimNo, diagnosis: notes.stall ?? diagnosis, retryAtMs: nowMs });
  await record({ kind: "waitExpired" });
}

/** Claims that nobody answered and whose fence has passed: a look begun after that decides. */
function unfence(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<void> {
  return steadily(parts, { what: `unfence ${cluster.name}`, ms: parts.timing.pollMs * 5, signal }, async (signal) => {
    const works = await parts.ledger.take({ state: "claimed", group: cluster.name, most: MOST, holdMs: parts.timing.holdMs });
    for (const work of works) {
      const { run, attempt, nowMs } = work;
      const of = { run: run.id, step: attempt.step, n: attempt.n };
      const seen = await look(parts, cluster, work, signal);
      if (seen.kind === "ours") {
        const { uid, resourceVersion } = seen.job;
        await parts.recording({
          ...of,
          input: { kind: "created", uid, rv: resourceVersion, group: cluster.name, adopted: true },
        });
      } else if (seen.kind !== "unseen") {
        const found = seen.kind === "missing" ? "nothing" : "foreign";
        await parts.recording({ ...of, input: { kind: "fencePassed", claimNo: attempt.claimNo, begunAtMs: nowMs, found } });
      }
    }
  });
}
