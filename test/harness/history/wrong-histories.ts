/** Histories with one mistake each, and what the check says of it. */
import { SOMETIME } from "../../judge/view.ts";
import type { History } from "./journals.ts";
import {
  asked,
  cluster,
  drop,
  endOf,
  event,
  job,
  jobOf,
  type Open,
  passed,
  pod,
  podOf,
  row,
  rowOf,
  runOf,
  sent,
  T,
  tell,
  the,
  weEnded,
  type Wrong,
} from "./sound.ts";

/** The run "bad" has another attempt, whose Job was created while the first one's pod ran. */
export function later(it: Open<History>, n: number): void {
  const [name, uid] = [`bad-${n}`, `uid-bad-${n}`];
  it.ledger.attempts.push(row("bad", { n, name, uid }));
  cluster(it).jobs.push(job("bad", { uid, name, completeMs: SOMETIME, createdMs: T + 1_700 }));
}

export const wrongs: readonly { readonly name: string; readonly wrong: Wrong; readonly says: RegExp }[] = [
  {
    name: "a confirmed request left no trace",
    says: /^G1: .*run.requested of other/,
    wrong: (it) => it.sent.push(sent("other", "run.requested")),
  },
  { name: "a confirmed cancel left no trace", says: /^G1: .*run.cancel of off/, wrong: (it) => it.ledger.commands.pop() },
  {
    name: "a run was accepted twice",
    says: /^G2: .*good was accepted 2 times/,
    wrong: (it) => tell(it, event("good", 5, "run.accepted")),
  },
  {
    name: "a run was restarted that nobody restarted",
    says: /^G2: .*good was restarted 1 times, and 0/,
    wrong: (it) => {
      tell(it, { ...event("good", 5, "run.restarted"), generation: 2 });
      runOf(it, "good").generation = 2;
    },
  },
  {
    name: "two contents of one run were both taken",
    says: /^G2: .*good was asked for with 2 contents/,
    wrong: (it) => it.sent.push(sent("good", "run.requested", { id: "another", content: '{"image":"b"}' })),
  },
  {
    name: "two Jobs of one attempt ran",
    says: /^G3: .*2 Jobs good-1 of good had pods/,
    wrong: (it) => {
      cluster(it).jobs.push(job("good", { uid: "second", goneMs: SOMETIME }));
      cluster(it).pods.push(pod("good", { uid: "p2", job: "second" }));
    },
  },
  {
    name: "a surplus Job stays",
    says: /^G3: .*a surplus Job good-1/,
    wrong: (it) => cluster(it).jobs.push(job("good", { uid: "second" })),
  },
  {
    name: "a Job was created that no attempt asked for",
    says: /^G2: .*else-1 was created/,
    wrong: (it) => cluster(it).asked.push(asked("create", "else-1", T, 201)),
  },
  {
    name: "the next attempt began while a pod of the last one ran",
    says: /^G3: two attempts of one step never run at once: the pod bad-1-x of bad-1 of bad still ran/,
    wrong: (it) => later(it, 2),
  },
  {
    name: "an attempt began while a pod of one long before it ran",
    says: /^G3: two attempts of one step never run at once: the pod bad-1-x of bad-1 of bad still ran/,
    wrong: (it) => {
      it.ledger.attempts.push(row("bad", { n: 2, name: "bad-2", uid: undefined }));
      later(it, 3);
    },
  },
  {
    name: "the test's own watch missed a Job",
    says: /^The test.s own watch.*of 2 Jobs good-1 that were created in a it saw 1/,
    wrong: (it) => cluster(it).asked.push(asked("create", "good-1", T, 201)),
  },
  {
    name: "a Job ended and its outcome is not recorded",
    says: /^G4: .* its outcome is not recorded/,
    wrong: (it) => void (rowOf(it, "bad").result = undefined),
  },
  {
    name: "a Job ended and no fact told so",
    says: /^G4: .* no fact told so/,
    wrong: (it) => drop(it.passed, ({ through }) => through === "facts"),
  },
  {
    name: "a hold was left behind",
    says: /^G4: .*the hold is still on the Job good-1/,
    wrong: (it) => void (jobOf(it, "good").held = true),
  },
  {
    name: "a hold was taken off before the outcome was recorded",
    says: /^G4: .*the hold was taken off good-1/,
    wrong: (it) => void (the(cluster(it).asked, ({ verb }) => verb === "patch").atMs = T + 3_900),
  },
  {
    name: "succeeded was said of a Job that never completed",
    says: /^G5: .*good-1 of good ended succeeded, and its Job was never Complete/,
    wrong: (it) => void (jobOf(it, "good").completeMs = undefined),
  },
  {
    name: "failed was said of a Job that completed",
    says: /^G4: .*bad-1 of bad ended failed, and its Job was Complete/,
    wrong: (it) => void (jobOf(it, "bad").completeMs = SOMETIME),
  },
  {
    name: "failed was said of a Job that neither failed nor was deleted",
    says: /^G5: .*bad-1 of bad ended failed .*was never Failed/,
    wrong: (it) => void (jobOf(it, "bad").failedMs = undefined),
  },
  {
    name: "a Job that ran was ended by us as one that did not start",
    says: /^Timers .*bad-1 of bad ended failed \(StartExpired\), and it had run since 00:00:02.000 when we deleted it at 00:00:03.500/,
    wrong: (it) => weEnded(it, "StartExpired"),
  },
  {
    name: "a Job that ran was ended by us for what kept it from starting",
    says: /^Timers .*bad-1 of bad ended failed \(ImageNotFound\), and it had run since/,
    wrong: (it) => weEnded(it, "ImageNotFound"),
  },
  {
    name: "a Job whose pod we deleted before it had run",
    says: /^Timers .*bad-1 of bad ended failed \(StartExpired\), and it had run since .* when we deleted it at 00:00:03.200/,
    wrong: (it) => {
      weEnded(it, "StartExpired");
      cluster(it).asked.push({ ...asked("delete", "bad-1-x", T + 3_200, 200), resource: "pods" });
    },
  },
  {
    name: "a Job was ended by us before its deadline",
    says: /^Timers .*bad-1 of bad ended failed \(DeadlineExceeded\), and we deleted it after 1.5 s of the 60 s that it had/,
    wrong: (it) => weEnded(it, "DeadlineExceeded"),
  },
  {
    name: "a Job was ended by us for its deadline, and had not started",
    says: /^Timers .*bad-1 of bad ended failed \(DeadlineExceeded\), and no container of it ran/,
    wrong: (it) => {
      weEnded(it, "DeadlineExceeded");
      podOf(it, "bad").startedMs = undefined;
    },
  },
  {
    name: "a Job was ended by us, and its program was blamed",
    says: /^Timers .*bad-1 of bad ended failed \(ExitCode\), and we deleted its Job at 00:00:03.500, for which that is no reason/,
    wrong: (it) => weEnded(it, "ExitCode"),
  },
  {
    name: "a healthy Job was ended in a cluster that does not say who asked",
    says: /^Timers .*bad-1 of bad ended failed \(StartExpired\), and it had run since/,
    wrong: (it) => {
      weEnded(it, "StartExpired");
      cluster(it).launcher = "";
    },
  },
  {
    name: "a Job is on its way out that nobody deleted",
    says: /^Timers .*bad-1 of bad ended failed \(StartExpired\), and nobody deleted its Job/,
    wrong: (it) => {
      weEnded(it, "StartExpired");
      drop(cluster(it).asked, ({ verb, name }) => verb === "delete" && name === "bad-1");
    },
  },
  {
    name: "our deletion was refused",
    says: /^Timers .*bad-1 of bad ended failed \(StartExpired\), and nobody deleted its Job/,
    wrong: (it) => {
      weEnded(it, "StartExpired");
      the(cluster(it).asked, ({ verb, name }) => verb === "delete" && name === "bad-1").status = 403;
    },
  },
  {
    name: "a Job was said to be deleted that only we deleted",
    says: /^G5: .* nobody but us deleted/,
    wrong: (it) => void (rowOf(it, "off").result = "deleted"),
  },
  {
    name: "a Job was said to be gone that is there",
    says: /^G5: .* its Job is still there/,
    wrong: (it) => {
      Object.assign(rowOf(it, "bad"), { result: "lost", code: "Gone" });
    },
  },
  {
    name: "a run succeeded by a Job that nobody saw",
    says: /^G3: .*which nobody saw/,
    wrong: (it) => drop(cluster(it).jobs, ({ name }) => name === "good-1"),
  },
  {
    name: "a run was cancelled that nobody cancelled",
    says: /^G5: .*run.cancelled of off, and nobody asked/,
    wrong: (it) => drop(it.sent, ({ type }) => type === "run.cancel"),
  },
  {
    name: "a run was lost as abandoned that nobody abandoned",
    says: /^G5: .*run.lost of bad, and nobody abandoned/,
    wrong: (it) => {
      Object.assign(endOf(it, "bad"), { type: "run.lost", data: { diagnosis: { code: "Abandoned" } } });
    },
  },
  {
    name: "a run was said to have started that did not",
    says: /^G5: .*run.started of good .* no container of it ran/,
    wrong: (it) => void (podOf(it, "good").startedMs = undefined),
  },
  {
    name: "a run was said not to have started that did",
    says: /^G5: .*run.failed of bad .* says that nothing was started/,
    wrong: (it) => void (endOf(it, "bad").data["started"] = "no"),
  },
  {
    name: "another exit code was told",
    says: /^G5: .*run.failed of bad .* says exit code 3, and it was 4/,
    wrong: (it) => void (podOf(it, "bad").exitCode = 4),
  },
  {
    name: "an attempt was recorded as started that did not",
    says: /^G5: .*good-1 of good is said to have started, and no container/,
    wrong: (it) => void (podOf(it, "good").startedMs = undefined),
  },
  {
    name: "an attempt was recorded as not started that did",
    says: /^G5: .*bad-1 of bad is said not to have started, and bad-1-x ran/,
    wrong: (it) => void (rowOf(it, "bad").started = "no"),
  },
  {
    name: "an attempt was moved elsewhere that may have started",
    says: /^G5: .*bad-1 of bad ended moved .* and may have started/,
    wrong: (it) => void (rowOf(it, "bad").result = "moved"),
  },
  {
    name: "cancelled was said of a Job that nobody deleted",
    says: /^G5: .*off-1 of off ended cancelled, and its Job neither failed nor was it deleted/,
    wrong: (it) => void Object.assign(jobOf(it, "off"), { deletedMs: undefined, goneMs: undefined }),
  },
  {
    name: "a Job Failed, and its attempt is recorded as something else",
    says: /^G4: .*bad-1 of bad ended deleted, and its Job was Failed/,
    wrong: (it) => void (rowOf(it, "bad").result = "deleted"),
  },
  {
    name: "a run's outcome is not what its last event says",
    says: /^G5: .*run.cancelled of off, and the run's outcome is failed/,
    wrong: (it) => void (runOf(it, "off").outcome = "failed"),
  },
  {
    name: "a run's end does not agree with its attempt",
    says: /^G5: .*run.succeeded of good, and its attempt ended failed/,
    wrong: (it) => {
      rowOf(it, "good").result = "failed";
    },
  },
  {
    name: "an event is missing in the ledger",
    says: /^G6: .*event 2 of good, run.launched .* is not in the ledger/,
    wrong: (it) => drop(it.ledger.events, ({ run, sequence }) => run === "good" && sequence === 2),
  },
  {
    name: "two ends in one generation",
    says: /^G6: .*good: event 5, run.failed: it stands where only run.restarted may/,
    wrong: (it) => tell(it, event("good", 5, "run.failed")),
  },
  {
    name: "no end at all",
    says: /^G6: .*bad: its story has no end/,
    wrong: (it) => {
      drop(it.ledger.events, ({ type }) => type === "run.failed");
      drop(it.passed, ({ type }) => type === "run.failed");
    },
  },
  {
    name: "a run was restarted before it had ended",
    says: /^G6: .*good: event 4, run.restarted: generation 1 has not ended before it/,
    wrong: (it) => {
      the(it.ledger.events, ({ run, sequence }) => run === "good" && sequence === 4).type = "run.restarted";
      the(it.passed, ({ id }) => id === "good/4").type = "run.restarted";
    },
  },
  {
    name: "an event was told of another generation",
    says: /^G6: .*good: event 3, run.started: it is told of generation 2, which is 1/,
    wrong: (it) => {
      the(it.ledger.events, ({ run, sequence }) => run === "good" && sequence === 3).generation = 2;
      the(it.passed, ({ id }) => id === "good/3").generation = 2;
    },
  },
  {
    name: "the run is ahead of its story",
    says: /^G6: .*the ledger has 4 events of good, and the run is at 5/,
    wrong: (it) => void runOf(it, "good").seq++,
  },
  {
    name: "something was told after the end",
    says: /^G6: .*good: event 5, run.stalled: it stands where only run.restarted may/,
    wrong: (it) => tell(it, event("good", 5, "run.stalled")),
  },
  {
    name: "an event was never published",
    says: /^G6: .*event 3 of good, run.started .* was not published/,
    wrong: (it) => drop(it.passed, ({ id }) => id === "good/3"),
  },
  {
    name: "an event was published that is not in the ledger",
    says: /^G6: .*event 5 of good, run.failed .* was published, and is not in the ledger/,
    wrong: (it) => it.passed.push(passed("good", { sequence: 5, type: "run.failed" })),
  },
  {
    name: "events were published out of order",
    says: /^G6: .*good: told out of order/,
    wrong: (it) => it.passed.unshift(...it.passed.splice(2, 1)),
  },
  {
    name: "one id was two events",
    says: /^G6: .*good: one id for two events/,
    wrong: (it) => it.passed.push({ ...passed("good", { sequence: 4, type: "run.failed" }) }),
  },
  {
    name: "events of a run that the ledger does not know",
    says: /^G6: .*events of ghost/,
    wrong: (it) => it.passed.push(passed("ghost", { sequence: 1, type: "run.accepted" })),
  },
  {
    name: "cancelled was said while a pod ran",
    says: /^G10: .*off-1 of off is recorded as cancelled at .* its pod off-1-x was there .* until/,
    wrong: (it) => void (podOf(it, "off").goneMs = T + 6_000),
  },
  {
    name: "cancelled was said while a pod ran that was only told to end",
    says: /^G10: .*off-1 of off is recorded as cancelled at .* its pod off-1-x was there .* until/,
    wrong: (it) => {
      podOf(it, "off").goneMs = T + 6_000;
      cluster(it).asked.push({ ...asked("delete", "off-1-x", T + 5_900, 200), resource: "pods" });
    },
  },
  {
    name: "a pod came after the end",
    says: /^G10: .*off-1 of off is recorded as cancelled at .* its pod late was there from 00:00:09/,
    wrong: (it) => cluster(it).pods.push(pod("off", { uid: "late", name: "late", createdMs: T + 9_000 })),
  },
  {
    name: "a recorded cancel lost to something else than Complete",
    says: /^G10: .*off was being cancelled, and ended as run.failed/,
    wrong: (it) => {
      endOf(it, "off").type = "run.failed";
    },
  },
];
