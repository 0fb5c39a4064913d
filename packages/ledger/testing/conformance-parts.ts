/**
 * Parts that the files of the conformance suite share: runs to admit, one turn of each loop, and what each kind of ledger
 * provides for a test.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { type ConfiguredGroup, GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, Installation, RunId, StepName, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { Admission } from "@longshore/domain/run/admit.ts";
import type { AttemptInput, InputOf } from "@longshore/domain/attempt/input.ts";
import type { Concurrency, Limits, PlannedStep, PlannedStorage } from "@longshore/domain/run/record.ts";
import type { Placer } from "@longshore/domain/group/group.ts";
import type { Test } from "tap";
import type { Admitted, Entry, Intake, Ledger, StoryEvent, Work } from "../port.ts";

/** One ledger for one test. */
export interface Opened extends AsyncDisposable {
  /** Opens a connection. Each connection stands for one launcher. */
  connect(keyMark?: string): Promise<Ledger>;
  /** Moves the ledger's clock on by this much. */
  pass(ms: number): Promise<void>;
}

export interface Conforming {
  readonly name: string;
  readonly open: () => Promise<Opened>;
}

export const INSTALLATION = Installation.parse("conformance");
export const MAIN = StepName.parse("main");
export const EAST = GroupName.parse("east");
export const WEST = GroupName.parse("west");
export const SHOP = TenantName.parse("shop");
export const BANK = TenantName.parse("bank");
export const runId = (id: string): RunId => RunId.parse(id);
export const uid = (id: string): Uid => Uid.parse(id);
export const jobName = (run: RunId, step: StepName, n: number): string => `${run}-${step}-${n}`;

export const HOUR_MS = 3_600_000;

export const LIMITS: Limits = {
  waitForMs: HOUR_MS,
  startWithinMs: HOUR_MS,
  deadlineMs: HOUR_MS,
  retriesMax: 0,
  retriesOn: ["failure"],
  backoffFirstMs: 1_000,
  backoffMostMs: 60_000,
  keepSucceededMs: HOUR_MS,
  keepFailedMs: HOUR_MS,
  giveUpAfterMs: {},
};

export interface Wanted {
  readonly tenant?: TenantName;
  readonly digest?: string;
  readonly priority?: number;
  readonly groups?: readonly GroupName[];
  readonly steps?: readonly string[];
  readonly retriesMax?: number;
  readonly command?: string;
  readonly traceparent?: string;
  readonly correlationId?: string;
  readonly concurrency?: Partial<Concurrency>;
  readonly notBeforeMs?: number;
  readonly slices?: PlannedStep["slices"];
}

/** A request that is to be admitted. */
export function wanted(
  id: string,
  {
    tenant = SHOP,
    digest = "digest",
    priority = 0,
    groups,
    steps,
    retriesMax = 0,
    command,
    traceparent,
    correlationId,
    concurrency,
    notBeforeMs,
    slices,
  }: Wanted = {},
): Intake {
  const planned = (steps ?? ["main"]).map(
    (name): PlannedStep => ({ name: StepName.parse(name), needs: [], when: "success", outputs: [], ...(slices && { slices }) }),
  );
  const plan = {
    simple: steps === undefined,
    steps: planned,
    groups,
    priority,
    notBeforeMs,
    limits: { ...LIMITS, retriesMax },
    with: undefined,
    ...(traceparent !== undefined && { traceparent }),
    ...(correlationId !== undefined && { correlationId }),
    ...(concurrency && { concurrency: { key: "key", limit: 1, then: "queue" as const, ...concurrency } }),
  };
  const source = "test";
  const admission: Admission = { kind: "run", told: {}, run: { id: runId(id), tenant, source, digest, plan, nowMs: 0 } };
  const request = { image: "registry.example/app:1", env: { ZONE: "z", APP: "a" } };
  return { run: runId(id), tenant, source, command: command ?? `request ${id}`, admission, request };
}

export interface Saying {
  readonly tenant?: TenantName;
  readonly command?: string;
  readonly generation?: number;
}

const said = (id: string, command: string, admission: Admission, tenant: TenantName): Intake => ({
  run: runId(id),
  tenant,
  source: "test",
  command,
  admission,
});

export const cancelled = (id: string, { tenant = SHOP, command = `cancel ${id}`, generation }: Saying = {}): Intake =>
  said(id, command, { kind: "cancel", generation, cancel: { reason: "enough" } }, tenant);

export const restarted = (id: string, { tenant = SHOP, command = `restart ${id}`, generation }: Saying = {}): Intake =>
  said(id, command, { kind: "restart", generation, from: "failed", with: undefined, actor: undefined }, tenant);

export const abandoned = (id: string, { tenant = SHOP, command = `abandon ${id}` }: Saying = {}): Intake =>
  said(id, command, { kind: "abandon" }, tenant);

export const invalid = (id: string | undefined, problems: readonly CommandProblem[]): Intake => ({
  ...said("none", `invalid ${id}`, { kind: "invalid", problems }, SHOP),
  run: id === undefined ? undefined : runId(id),
  replyTo: "answers",
});

export const codesOf = (answers: readonly Admitted[]): readonly string[] =>
  answers.map((it) => (it.kind === "refused" ? (it.problems[0]?.code ?? "") : it.kind));

// ── One turn of each loop ────────────────────────────────────────────────────────────────────────────────────────────

/** A launcher that serves both groups; neither group has asked for a pause. */
export const placer: Placer = { serves: new Set([EAST, WEST]), quiet: new Map(), placeAgainMs: HOUR_MS };

const groupOf = (name: GroupName, jobs: number): ConfiguredGroup => ({
  name,
  namespace: "jobs",
  settings: GroupSettings.parse({ limits: { jobs } }),
});

export const groupsOf = (eastMost: number, westMost = 0): readonly ConfiguredGroup[] => [
  groupOf(EAST, eastMost),
  ...(westMost > 0 ? [groupOf(WEST, westMost)] : []),
];

export const claimAll = (ledger: Ledger, most = 1_000, group = EAST): Promise<readonly Work[]> =>
  ledger.claim({ group, most, by: "one", forMs: 30_000 });

/** Admits the intakes, places them in EAST and claims them. */
export async function claimed(ledger: Ledger, intakes: readonly Intake[]): Promise<readonly Work[]> {
  await ledger.putGroups(groupsOf(1_000));
  await ledger.admit(intakes);
  await ledger.place({ most: 1_000, placer });
  return await claimAll(ledger);
}

export const entry = (work: Work, input: AttemptInput): Entry => ({
  run: work.run.id,
  step: work.attempt.step,
  n: work.attempt.n,
  input,
});

const ofJob = (work: Work, rv = "1") => ({ uid: uid(`uid of ${work.attempt.name}`), rv, group: work.attempt.group ?? EAST });

export const created = (work: Work): InputOf<"created"> => ({
  kind: "created",
  claimNo: work.attempt.claimNo,
  adopted: false,
  ...ofJob(work),
});
export const started = (work: Work): InputOf<"started"> => ({
  kind: "started",
  evidence: { started: "yes" },
  ...ofJob(work, "2"),
});
export const complete = (work: Work): InputOf<"complete"> => ({
  kind: "complete",
  evidence: { started: "yes" },
  ...ofJob(work, "3"),
});
export const failed = (work: Work): InputOf<"failed"> => ({
  kind: "failed",
  evidence: { started: "yes", exitCode: 1, diagnosis: diagnose("ExitCode", "It ended with exit code 1.") },
  ...ofJob(work, "3"),
});
export const released: InputOf<"released"> = { kind: "released", found: "released", begunAtMs: 0 };

/** Records that the Job was created, that it ended, and that its hold is off. */
export async function finish(ledger: Ledger, work: Work, how: (work: Work) => AttemptInput): Promise<void> {
  await ledger.record([entry(work, created(work)), entry(work, how(work)), entry(work, released)]);
}

export const typesOf = (story: readonly Pick<StoryEvent, "type">[]): readonly string[] =>
  story.map(({ type }) => type.replace("run.", ""));

export async function storyOf(ledger: Ledger, id: string): Promise<readonly string[]> {
  const story = await ledger.story(runId(id), 0, 1_000);
  const dense = story.every(({ sequence }, index) => sequence === index + 1);
  return dense ? typesOf(story) : [`not dense: ${story.map(({ sequence }) => sequence).join(" ")}`];
}

export const ids = (works: readonly { readonly run: { readonly id: RunId } }[]): readonly string[] =>
  works.map(({ run }) => run.id).toSorted();

export function first<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined) throw new Error("there is none, and the test needs one");
  return item;
}

/** A ledger that ends with its test, with a group and these runs. */
export async function begun(t: Test, { open }: Pick<Conforming, "open">, intakes: readonly Intake[]) {
  const opened = await open();
  t.teardown(() => opened[Symbol.asyncDispose]());
  const ledger = await opened.connect();
  await ledger.putGroups(groupsOf(10));
  await ledger.admit(intakes);
  return { opened, ledger };
}

/** The same request, of a run that needs this of a group beside its Jobs. */
export function storing(intake: Intake, storage: PlannedStorage): Intake {
  if (intake.admission.kind !== "run") throw new TypeError("a request is wanted");
  const { run } = intake.admission;
  return { ...intake, admission: { ...intake.admission, run: { ...run, plan: { ...run.plan, storage } } } };
}
