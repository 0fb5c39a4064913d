/**
 * A sound history of a few runs, and helpers that change one thing in it: for the checker's tests.
 *
 * The bug this prevents: a wrong history with two faults, of which the checker finds only the unintended one.
 */
import { SOMETIME } from "../../judge/view.ts";
import type { ClusterHistory, History, Passed } from "./journals.ts";

/** A history that a test can change; for the checks it is read-only. */
export type Open<T> = T extends readonly (infer E)[]
  ? Open<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Open<T[K]> }
    : T;
export type Wrong = (history: Open<History>) => void;

const LAUNCHER = "system:serviceaccount:batch:longshore-launcher";
export const T = Date.parse("2026-01-01T00:00:00Z");

export const event = (run: string, sequence: number, type: string, data: object = {}) => ({
  run,
  sequence,
  generation: 1,
  type,
  data: { run, ...data },
});
const of = (uid: string) => ({ step: "main", attempt: 1, job: { uid } });
export const asked = (
  verb: ClusterHistory["asked"][number]["verb"],
  name: string,
  atMs: number,
  status: number,
  user = LAUNCHER,
) => ({
  verb,
  name,
  atMs,
  status,
  user,
  resource: "jobs",
});
export const passed = (run: string, it: { sequence: number; type: string }): Passed => ({
  through: "events",
  text: "",
  id: `${run}/${it.sequence}`,
  type: it.type,
  run,
  sequence: it.sequence,
  generation: 1,
  data: {},
});
const fact = (uid: string): Passed => ({
  through: "facts",
  text: "",
  id: `fact/${uid}`,
  type: "job.ended",
  run: undefined,
  sequence: undefined,
  generation: undefined,
  data: { about: { uid } },
});
export const row = (run: string, more: object) => ({
  deadlineMs: 60_000 as number | undefined,
  run,
  step: "main",
  n: 1,
  generation: 1,
  name: `${run}-1`,
  group: "a",
  state: "done",
  uid: `uid-${run}`,
  started: "yes",
  result: "succeeded",
  code: undefined,
  cause: undefined,
  recordedMs: T + 4_000,
  ...more,
});
export const job = (run: string, more: object = {}) => ({
  uid: `uid-${run}`,
  name: `${run}-1`,
  occupant: false,
  createdMs: T + 1_500,
  completeMs: undefined,
  failedMs: undefined,
  deletedMs: undefined,
  held: false,
  stripped: false,
  goneMs: undefined,
  ...more,
});
export const pod = (run: string, more: object = {}) => ({
  uid: `pod-${run}`,
  name: `${run}-1-x`,
  job: `uid-${run}`,
  createdMs: T + 1_600,
  startedMs: T + 2_000,
  finishedMs: T + 3_000,
  exitCode: 0,
  goneMs: undefined,
  ...more,
});
export const sent = (run: string, type: string, more: object = {}) => ({
  id: `${type} of ${run}`,
  source: "/tests",
  type,
  run,
  content: "{}",
  confirmed: true,
  ...more,
});

/** One run that succeeded, one that failed with code 3, one that was cancelled while it ran. */
export function sound(): Open<History> {
  const events = [
    event("good", 1, "run.accepted"),
    event("good", 2, "run.launched", of("uid-good")),
    event("good", 3, "run.started", of("uid-good")),
    event("good", 4, "run.succeeded", of("uid-good")),
    event("bad", 1, "run.accepted"),
    event("bad", 2, "run.launched", of("uid-bad")),
    event("bad", 3, "run.started", of("uid-bad")),
    event("bad", 4, "run.failed", { ...of("uid-bad"), exitCode: 3, started: "yes", diagnosis: { code: "ExitCode" } }),
    event("off", 1, "run.accepted"),
    event("off", 2, "run.launched", of("uid-off")),
    event("off", 3, "run.started", of("uid-off")),
    event("off", 4, "run.cancelling"),
    event("off", 5, "run.cancelled"),
  ];
  const ended = (id: string, outcome: string, seq: number) => ({
    id,
    state: "ended",
    outcome,
    generation: 1,
    seq,
  });
  return {
    sent: [...["good", "bad", "off"].map((run) => sent(run, "run.requested")), sent("off", "run.cancel")],
    passed: [...events.map((it) => passed(it.run, it)), fact("uid-good"), fact("uid-bad")],
    factsPassed: true,
    ledger: {
      runs: [ended("good", "succeeded", 4), ended("bad", "failed", 4), ended("off", "cancelled", 5)],
      attempts: [
        row("good", {}),
        row("bad", { result: "failed", code: "ExitCode" }),
        row("off", { result: "cancelled", cause: "cancel", recordedMs: T + 5_000 }),
      ],
      events,
      commands: [{ source: "/tests", id: "run.cancel of off" }],
      refused: [],
    },
    clusters: [
      {
        group: "a",
        launcher: LAUNCHER,
        restored: false,
        asked: [
          ...["good", "bad", "off"].map((run) => asked("create", `${run}-1`, T + 1_500, 201)),
          asked("patch", "good-1", T + 4_100, 200),
          asked("patch", "bad-1", T + 4_100, 200),
          asked("delete", "off-1", T + 4_100, 200),
          asked("patch", "off-1", T + 5_100, 200),
        ],
        jobs: [
          job("good", { completeMs: SOMETIME }),
          job("bad", { failedMs: SOMETIME }),
          job("off", { deletedMs: SOMETIME, goneMs: SOMETIME }),
        ],
        pods: [
          pod("good"),
          pod("bad", { exitCode: 3 }),
          pod("off", { finishedMs: undefined, exitCode: undefined, goneMs: T + 4_900 }),
        ],
      },
    ],
  };
}

export const the = <E extends object>(list: E[], match: (it: E) => boolean): E => {
  const found = list.find(match);
  if (found === undefined) throw new Error("this history has no such thing");
  return found;
};
export const rowOf = (history: Open<History>, run: string) => the(history.ledger.attempts, (it) => it.run === run);
export const runOf = (history: Open<History>, id: string) => the(history.ledger.runs, (it) => it.id === id);
export const jobOf = (history: Open<History>, run: string) => the(cluster(history).jobs, (it) => it.name === `${run}-1`);
export const podOf = (history: Open<History>, run: string) => the(cluster(history).pods, (it) => it.job === `uid-${run}`);
export const cluster = (history: Open<History>) => the(history.clusters, () => true);
export const endOf = (history: Open<History>, run: string) =>
  the(history.ledger.events, (it) => it.run === run && it.sequence >= 4 && it.type !== "run.cancelling");
/** Changes the run "bad" to one that we ended: its Job is not Failed, we deleted it after 1.5 s, and the outcome says why. */
export function weEnded(history: Open<History>, code: string): void {
  Object.assign(jobOf(history, "bad"), { failedMs: undefined, deletedMs: SOMETIME });
  cluster(history).asked.push(asked("delete", "bad-1", T + 3_500, 200));
  Object.assign(rowOf(history, "bad"), { code, cause: code === "DeadlineExceeded" ? "deadline" : "startExpired" });
}
export const drop = <E>(list: E[], match: (it: E) => boolean): void => void list.splice(list.findIndex(match), 1);
export const tell = (history: Open<History>, it: ReturnType<typeof event>): void => {
  history.ledger.events.push(it);
  history.passed.push(passed(it.run, it));
  runOf(history, it.run).seq++;
};
