/**
 * For tests: the worst that may happen around one attempt. Creates land late or never and their answers are lost, two launchers
 * claim the same attempt, facts and looks are applied long after the sighting, others delete the Job. The adversary keeps the
 * promises that we rely on: a create lands at most ten minutes after its claim ended, and nobody strips the hold.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { type GroupName, Uid } from "@longshore/contract/ids.ts";
import { advance } from "../../run/advance.ts";
import { at, CLAIM, elsewhere, group, input, main, MINUTE, NOW, planOf, runOf, SECOND, step } from "./examples.ts";
import type { AttemptInput } from "../input.ts";
import { problemsOf, problemsOfChange } from "./invariants.ts";
import { type Attempt, isFenced, isParked, type RunRecord, type Stray, type Told } from "../../run/record.ts";

interface Job {
  readonly uid: Uid;
  readonly group: GroupName;
  readonly occupant: boolean;
  pod: "none" | "pending" | "running" | "succeeded" | "failed";
  condition: "Complete" | "Failed" | undefined;
  deleting: boolean;
  held: boolean;
}

interface Post {
  readonly claimNo: number;
  readonly group: GroupName;
  readonly untilMs: number;
}

type Reply = {
  readonly claimNo: number;
  readonly group: GroupName;
  readonly said: "created" | "exists" | "refused" | "full";
  readonly uid: Uid | undefined;
};
type Look = { readonly of: Attempt; readonly begunAtMs: number; readonly seen: Job | undefined };

/** Not taken from FENCE_MS, so that a fence that is too short is found. */
const LANDS_WITHIN_MS = 10 * MINUTE;

/** `makesPods`: the program has a token, and makes pods of its own while it runs. */
export function adversary(makesPods = false) {
  let nowMs = NOW;
  const uses = makesPods ? { uses: { serviceAccount: "worker", token: true as const } } : {};
  let record: RunRecord = runOf(planOf([step("main", [], uses)], { retriesMax: 0 }, true));
  let children = 0;
  /** At most one Job for each group: a namespace can have a name only once. */
  const jobs = new Map<GroupName, Job>();
  let uids = 0;
  let version = 10;
  let posts: readonly Post[] = [];
  let replies: readonly Reply[] = [];
  let facts: readonly AttemptInput[] = [];
  let looks: readonly Look[] = [];
  let strays: readonly Stray[] = [];
  const ran = new Set<Uid>();
  const completed = new Set<Uid>();
  const told: Told[] = [];
  const wrong: string[] = [];

  const attempt = (): Attempt => {
    const [only] = record.attempts;
    if (only === undefined) throw new TypeError("the run has no attempt");
    return only;
  };
  const isUnfinished = (it: Job | undefined): boolean => it?.pod === "pending" || it?.pod === "running";

  function say(said: AttemptInput): void {
    const before = record;
    const advanced = advance(record, { kind: "attempt", step: main, n: 1, input: said }, { ...at, nowMs });
    settle(before, advanced.record, advanced.told, said.kind);
    strays = [...strays, ...advanced.strays];
  }
  function settle(before: RunRecord, after: RunRecord, news: readonly Told[], what: string): void {
    wrong.push(...[...problemsOf(after), ...problemsOfChange(before, after, news.length)].map((it) => `${what}: ${it}`));
    record = after;
    told.push(...news);
    const result = attempt().outcome?.result;
    if (before.run.state !== "ended" && after.run.state === "ended" && children > 0)
      wrong.push(`${what}: the run ends before its children`);
    if (before.attempts[0]?.outcome !== undefined || result === undefined) return;
    for (const { pod } of [...jobs.values()].filter(isUnfinished)) wrong.push(`${what}: ${result} is told while a pod is ${pod}`);
    const { uid } = attempt();
    if (result === "succeeded" && (uid === undefined || !completed.has(uid))) wrong.push(`${what}: a false succeeded`);
    if (result !== "succeeded" && uid !== undefined && completed.has(uid)) wrong.push(`${what}: ${result}, and it completed`);
    if (attempt().started === "no" && ran.size > 0) wrong.push(`${what}: "nothing started", and something did`);
  }
  const due = (state: Attempt["state"]): boolean => attempt().state === state && (attempt().dueMs ?? Infinity) <= nowMs;
  const rest = (ms: number): void => {
    const [only] = record.attempts;
    if (only !== undefined) record = { ...record, attempts: [{ ...only, dueMs: nowMs + ms }] };
  };
  const create = (where: GroupName, occupant: boolean): Job => {
    uids += 1;
    const uid = Uid.parse(`${occupant ? "occupant" : "job"}-${uids}`);
    const pod = occupant ? "none" : "pending";
    const made: Job = { uid, group: where, occupant, pod, condition: undefined, deleting: false, held: true };
    jobs.set(where, made);
    return made;
  };
  const some = (choice: number): Job | undefined => [...jobs.values()][choice % Math.max(1, jobs.size)];
  const seenIn = (where: GroupName | undefined): Job | undefined => {
    const job = where && jobs.get(where);
    return job && { ...job };
  };
  /** A deleted Job goes when its pods have ended and nothing holds it. */
  const collect = (): void => {
    for (const it of jobs.values()) if (it.deleting && !it.held && !isUnfinished(it)) jobs.delete(it.group);
  };
  const of = (it: Job) => ({ uid: it.uid, rv: String((version += 1)), group: it.group });
  const evidenceOf = (it: Job) => ({ started: ran.has(it.uid) ? ("yes" as const) : ("unknown" as const) });
  const endOf = (it: Job): AttemptInput | undefined => {
    if (it.condition === "Complete") return { kind: "complete", evidence: { started: "yes" }, ...of(it) };
    if (it.condition === "Failed") return { kind: "failed", evidence: evidenceOf(it), ...of(it) };
    return it.deleting && !isUnfinished(it) ? { kind: "lookedDeleted", evidence: evidenceOf(it), ...of(it) } : undefined;
  };

  function claim(choice: number): void {
    const { state, dueMs = Infinity, fenceUntilMs = 0 } = attempt();
    if (state === "waiting" && dueMs <= nowMs) say({ ...input.placed, group: choice % 2 === 0 ? group : elsewhere });
    else if (state === "ready" || (state === "claimed" && dueMs <= nowMs && fenceUntilMs > nowMs)) {
      const untilMs = nowMs + CLAIM;
      say({ kind: "claimDue", by: "launcher", untilMs });
      posts = [...posts, { claimNo: attempt().claimNo, group: attempt().group ?? group, untilMs: untilMs + LANDS_WITHIN_MS }];
    } else if (state === "claimed" && dueMs <= nowMs)
      looks = [...looks, { of: attempt(), begunAtMs: nowMs, seen: seenIn(attempt().group) }];
  }

  function land(choice: number): void {
    const post = posts[choice % posts.length];
    if (post === undefined) return;
    posts = posts.filter((it) => it !== post);
    const { claimNo, group } = post;
    const answer = (said: Reply["said"], uid?: Uid) => {
      if (choice % 3 !== 0) replies = [...replies, { claimNo, group, said, uid }];
    };
    if (choice % 7 === 0) return answer("refused");
    if (choice % 7 === 1) return answer("full");
    if (jobs.has(group)) return answer("exists");
    answer("created", create(group, false).uid);
  }

  function hear(choice: number): void {
    const reply = replies[choice % replies.length];
    if (reply === undefined) return;
    if (choice % 2 === 0) replies = replies.filter((it) => it !== reply);
    const { claimNo, group, said, uid } = reply;
    const job = jobs.get(group);
    const refusal = { claimNo, diagnosis: diagnose("AdmissionDenied", "no") };
    if (said === "created" && uid !== undefined) say({ kind: "created", claimNo, adopted: false, uid, rv: "1", group });
    else if (said === "refused") say({ kind: "refused", ...refusal });
    else if (said === "full" || job === undefined) say({ kind: "deferred", ...refusal, retryAtMs: nowMs + SECOND });
    else if (job.occupant) say({ kind: "nameTaken", ...refusal });
    else say({ kind: "created", claimNo, adopted: true, ...of(job) });
  }

  function progress(choice: number): void {
    const job = some(choice);
    if (job === undefined || job.occupant) return;
    const wasUnfinished = isUnfinished(job);
    if (job.pod === "pending" && (!job.deleting || choice % 3 === 0)) {
      job.pod = "running";
      ran.add(job.uid);
      if (attempt().outcome !== undefined) wrong.push(`${job.uid} starts after the attempt ended ${attempt().outcome?.result}`);
    } else if (makesPods && job.pod === "running" && choice % 3 === 1) children += 1;
    else if (wasUnfinished) job.pod = choice % 2 === 0 && !job.deleting ? "succeeded" : "failed";
    else if (job.condition === undefined && !job.deleting) {
      job.condition = job.pod === "succeeded" ? "Complete" : "Failed";
      if (job.condition === "Complete") completed.add(job.uid);
    }
    collect();
  }

  /** Records a fact as of now; `observe` applies the fact at any later time, perhaps twice. */
  function watch(choice: number): void {
    const job = some(choice);
    if (job === undefined || job.occupant) return;
    const end = job.condition === undefined ? undefined : endOf(job);
    if (end !== undefined) facts = [...facts, end];
    else if (job.deleting) facts = [...facts, { kind: "deleting", ...of(job) }];
    else if (ran.has(job.uid)) facts = [...facts, { kind: "started", evidence: { started: "yes" }, ...of(job) }];
    else facts = [...facts, { kind: "stalled", diagnosis: diagnose("ImageNotFound", "no"), ...of(job) }];
  }
  function observe(choice: number): void {
    const fact = facts[choice % facts.length];
    if (fact === undefined) return;
    if (choice % 2 === 0) facts = facts.filter((it) => it !== fact);
    say(fact);
  }

  function look(): void {
    if (!due("closing")) return;
    looks = [...looks, { of: attempt(), begunAtMs: nowMs, seen: seenIn(attempt().group) }];
    rest(2 * SECOND);
  }
  /** Draws the conclusion that the close loop and `unfence` draw, from the view of an earlier look. */
  function conclude(choice: number): void {
    const it = looks[choice % looks.length];
    if (it === undefined) return;
    looks = looks.filter((other) => other !== it);
    const { of: was, seen, begunAtMs } = it;
    const job = was.group && jobs.get(was.group);
    const isKnown = was.uid !== undefined && was.notes.gone !== true;
    const { claimNo } = was;
    if (seen !== undefined && !seen.occupant) {
      if (was.state === "claimed" || !isKnown || was.uid !== seen.uid)
        return say({ kind: "created", adopted: true, ...of(seen) });
      const end = endOf(seen);
      if (end !== undefined) return say(end);
      if (job?.uid === seen.uid) job.deleting = true;
      return collect();
    }
    if (was.state === "claimed")
      return say({ kind: "fencePassed", claimNo, begunAtMs, found: seen === undefined ? "nothing" : "foreign" });
    if (seen?.occupant) return say({ kind: "occupied", uid: seen.uid });
    if (isKnown) return job?.uid === was.uid || was.uid === undefined ? undefined : say({ kind: "gone", uid: was.uid });
    if (!isFenced(was, begunAtMs)) return say({ kind: "fencePassed", claimNo, begunAtMs, found: "nothing" });
    occupy(was.group);
  }
  function occupy(where: GroupName | undefined): void {
    if (where !== undefined && !jobs.has(where)) say({ kind: "occupied", uid: create(where, true).uid });
  }

  function release(): void {
    if (!due("ended")) return;
    const { uid, occupantUid, group: where } = attempt();
    const job = where && jobs.get(where);
    const fenced = isFenced(attempt(), nowMs);
    rest(30 * SECOND);
    if (attempt().notes.children === true) {
      const found = children > 0 ? "some" : "none";
      children = 0;
      return say({ kind: "children", found });
    }
    if (fenced) {
      if (job === undefined) return occupy(where);
      if (job.uid === uid || job.uid === occupantUid)
        return isUnfinished(job) ? undefined : say({ kind: "kept", uid: job.uid, begunAtMs: nowMs });
      return say(job.occupant ? { kind: "occupied", uid: job.uid } : { kind: "created", adopted: true, ...of(job) });
    }
    if (occupantUid !== undefined) {
      if (job?.uid === occupantUid) jobs.delete(job.group);
      return say({ kind: "released", found: "missing", begunAtMs: nowMs });
    }
    if (uid !== undefined && job?.uid === uid) {
      job.held = false;
      collect();
      return say({ kind: "released", found: "released", begunAtMs: nowMs });
    }
    if (uid === undefined && job !== undefined)
      return say(job.occupant ? { kind: "occupied", uid: job.uid } : { kind: "created", adopted: true, ...of(job) });
    say({ kind: "released", found: "missing", begunAtMs: nowMs });
  }

  function sweep(): void {
    const [stray] = strays;
    if (stray === undefined) return;
    strays = strays.slice(1);
    const job = jobs.get(stray.group);
    if (job?.uid !== stray.uid) return;
    if (stray.kind === "stray") job.deleting = true;
    if ((stray.kind === "stray" && isUnfinished(job)) || nowMs < stray.holdUntilMs) strays = [...strays, stray];
    else job.held = false;
    collect();
  }

  function tally(choice: number): void {
    const job = some(choice);
    if (job === undefined) return;
    const { state, uid, group: where } = attempt();
    if (job.occupant) {
      if (state === "done") jobs.delete(job.group);
    } else if (uid === undefined && job.group === where && (state === "claimed" || state === "closing"))
      say({ kind: "created", adopted: true, ...of(job) });
    else if (job.held && (uid !== job.uid || state === "done"))
      strays = [
        ...strays,
        { kind: uid === job.uid ? "release" : "stray", group: job.group, name: "name", uid: job.uid, holdUntilMs: nowMs },
      ];
  }

  function decide(choice: number): void {
    const job = some(choice);
    const before = record;
    if (choice % 3 === 0) {
      const { record: after, told: news } = advance(record, { kind: "cancel", cancel: {} }, { ...at, nowMs });
      settle(before, after, news, "cancel");
    } else if (choice % 3 === 1 && job !== undefined && !job.occupant) job.deleting = true;
    else if (!isUnfinished(job) || job?.pod === "pending") say(input.startExpired);
    collect();
  }

  function wait(choice: number): void {
    nowMs += [SECOND, CLAIM, 3 * MINUTE, CLAIM, SECOND, CLAIM, MINUTE, 11 * MINUTE][choice % 8] ?? 0;
    posts = posts.filter(({ untilMs }) => nowMs < untilMs);
    // A Job that ended and was released is kept for a while; then its name is free.
    for (const it of jobs.values()) if (it.condition !== undefined && !it.held) jobs.delete(it.group);
  }

  // An act that is listed twice is picked twice as often.
  const acts = [
    claim,
    claim,
    land,
    land,
    hear,
    hear,
    progress,
    progress,
    watch,
    observe,
    look,
    conclude,
    release,
    sweep,
    tally,
    decide,
    wait,
    wait,
  ];
  /** The step's next attempt may start as soon as this one is parked. */
  function judgeParked(): void {
    if (!isParked(attempt())) return;
    if ([...jobs.values()].some(isUnfinished)) wrong.push("it is parked while a pod of it has not finished");
    const isFree = !jobs.has(attempt().group ?? group);
    if (isFree && isFenced(attempt(), nowMs)) wrong.push("it is parked while a create of it may land");
  }
  return {
    act(which: number, choice: number): void {
      acts[which % acts.length]?.(choice);
      judgeParked();
    },
    /** From here on nothing bad happens. Returns how many rounds it took until everything was over. */
    heal(): number {
      for (let round = 1; round <= 200; round += 1) {
        for (const it of [claim, land, hear, progress, watch, observe, look, conclude, release, sweep, tally])
          it(2 + (round % 2));
        wait(round % 8);
        const idle = attempt().state === "done" && posts.length === 0 && strays.length === 0;
        if (record.run.state === "ended" && idle && [...jobs.values()].every((it) => !it.held && !it.occupant)) return round;
      }
      wrong.push(`it does not end: ${JSON.stringify({ attempt: attempt(), jobs: [...jobs.values()], posts, strays })}`);
      return Infinity;
    },
    problems(): readonly string[] {
      return ran.size > 1 ? [...wrong, `${ran.size} Jobs of one attempt ran`] : wrong;
    },
    story: (): readonly Told[] => told,
  };
}
