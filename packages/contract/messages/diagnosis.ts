/**
 * The causes of failure, in a closed list of codes that upstream may branch on and monitoring may count.
 *
 * Each row says when the failure happens in a step's life, who must act, whether the same run may simply be tried again, and
 * what the reader can do. The sentence with the particulars is made by the code that sees the failure (domain/diagnosis).
 */
import { z } from "zod";
import type { RetryCause } from "../request/request.ts";

export const Phase = z.enum(["before-start", "running", "after"]);
/** Who must act: the author of the request, the cluster's people, or those who run Longshore. */
export const Blame = z.enum(["request", "cluster", "platform"]);

interface Row {
  readonly phase: z.infer<typeof Phase>;
  readonly blame: z.infer<typeof Blame>;
  /** The cause that `retries.on` must name for a new attempt to be made, or "never". */
  readonly retry: RetryCause | "never";
  /** The failure passes when other Jobs finish, so `waitFor` bounds this wait, not `startWithin`. */
  readonly waitsForRoom?: true;
  /**
   * The attempt is given up after this time. Set if waiting cannot help, or helps only if somebody mends the cause meanwhile.
   * Absent: `startWithin` decides.
   */
  readonly giveUpAfterMs?: number;
  readonly hint: string;
}

/** Two minutes, since somebody may just be pushing the image or creating the Secret. */
const SOON_MS = 2 * 60_000;

/** The kubelet pulls again every five minutes at the latest. After that another attempt may come to a node or group that reaches the registry. */
const WHILE_MS = 5 * 60_000;

// biome-ignore format: a table is read down its columns
const ROWS = {
  AuthRejected:        { phase: "before-start", blame: "platform", retry: "never-started",                          hint: "Renew the group's launch token; `longshore doctor` tests it." },
  TlsUntrusted:        { phase: "before-start", blame: "platform", retry: "never-started",                          hint: "Give the group the CA that signed the cluster's certificate." },
  EndpointUnreachable: { phase: "before-start", blame: "cluster",  retry: "never-started",                          hint: "Check the group's address, DNS and firewall; `longshore doctor` says which step fails." },
  Forbidden:           { phase: "before-start", blame: "platform", retry: "never-started",                          hint: "Apply the group's Role again: `longshore rbac <group>` prints it." },
  AdmissionDenied:     { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "The cluster's admission rules refuse this pod; change the request, or ask the cluster's people." },
  NamespaceTerminating:{ phase: "before-start", blame: "cluster",  retry: "never-started",                          hint: "The group's namespace is being deleted; recreate it or point the group elsewhere, then `longshore group accept <group>`." },
  NoGroup:             { phase: "before-start", blame: "platform", retry: "never-started",                          hint: "Add a group to a launcher's groups file, or start the launcher that has it: the run then starts by itself. `longshore group list` shows the groups." },
  QuotaExceeded:       { phase: "before-start", blame: "cluster",  retry: "never-started",  waitsForRoom: true,     hint: "It waits until others finish, and ended ones that count are deleted (`keepFor`); raise the namespace's quota if that takes too long." },
  QuotaImpossible:     { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: 0,       hint: "It asks for more than the namespace's quota ever allows; ask for less, or raise the quota." },
  Unschedulable:       { phase: "before-start", blame: "cluster",  retry: "never-started",  waitsForRoom: true,     hint: "No node has room or matches; ask for less, or add nodes." },
  RegistryUnreachable: { phase: "before-start", blame: "cluster",  retry: "never-started",  giveUpAfterMs: WHILE_MS, hint: "Check from a node whether it reaches the image's registry (name, firewall, proxy); `kubectl -n <namespace> get events` shows what it was told." },
  ImageNotFound:       { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "Check the image's name and tag, and that it was pushed." },
  ImagePullDenied:     { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "Check the image's name; if it is private, add its pull secret to the namespace's default service account: `kubectl -n <namespace> patch serviceaccount default -p '{\"imagePullSecrets\":[{\"name\":\"<secret>\"}]}'`." },
  ImageNameInvalid:    { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "Write the image as registry/name:tag, in lower case." },
  ConfigMissing:       { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "Create the Secret or ConfigMap in the group's namespace, or correct its name." },
  VolumeUnavailable:   { phase: "before-start", blame: "cluster",  retry: "never-started",                          hint: "Check the volume's claim, class and access mode; `kubectl -n <namespace> describe pvc` shows what it waits for." },
  VolumeInUse:         { phase: "before-start", blame: "cluster",  retry: "never-started",  waitsForRoom: true,     hint: "It waits until that pod has ended; if its node is lost for good, delete the pod: `kubectl -n <namespace> delete pod --force`." },
  InitFailed:          { phase: "before-start", blame: "request",  retry: "failure",                                hint: "Read the init container's log: `kubectl -n <namespace> logs job/<job> --all-containers`." },
  StartError:          { phase: "before-start", blame: "request",  retry: "failure",                                hint: "Check the container's `command` and working directory, and that its image has the program for the node's processor. Nothing ran." },
  ExitCode:            { phase: "running",      blame: "request",  retry: "failure",                                hint: "Read the program's log: `kubectl -n <namespace> logs job/<job>`; `longshore runs show <run>` names both." },
  Signal:              { phase: "running",      blame: "request",  retry: "failure",                                hint: "Read the last lines of its log, which may say why: `kubectl -n <namespace> logs job/<job>`; `longshore runs show <run>` names both." },
  OutOfMemory:         { phase: "running",      blame: "request",  retry: "failure",                                hint: "Raise resources.limits.memory, or process less per run." },
  Evicted:             { phase: "running",      blame: "cluster",  retry: "infrastructure",                         hint: "The node ran short; set requests that match what the run needs." },
  Preempted:           { phase: "running",      blame: "cluster",  retry: "infrastructure",                         hint: "Run it again (`run.restart`), or name infrastructure in `retries.on`, so that it is done by itself; more important work took the node." },
  NodeLost:            { phase: "running",      blame: "cluster",  retry: "infrastructure",                         hint: "Run it again (`run.restart`), or name infrastructure in `retries.on`, so that it is done by itself; the node is lost." },
  LocalStop:           { phase: "running",      blame: "request",  retry: "infrastructure",                         hint: "Run it again: `longshore runs restart <run>`; or name infrastructure in `retries.on`, so that it is done by itself at the next start." },
  DeadlineExceeded:    { phase: "running",      blame: "request",  retry: "never",                                  hint: "Raise `deadline`, or make it faster." },
  WaitExpired:         { phase: "before-start", blame: "cluster",  retry: "never",                                  hint: "No group had room within `waitFor`; raise it, or add room. Nothing ran." },
  StartExpired:        { phase: "before-start", blame: "cluster",  retry: "never-started",                          hint: "Read what the pod waited for (kept for an hour): `kubectl -n <namespace> get events`; raise `startWithin` if such a wait is normal." },
  DeletedExternally:   { phase: "running",      blame: "cluster",  retry: "infrastructure",                         hint: "Ask the cluster's people who deleted the Job: their audit log says so." },
  Cancelled:           { phase: "running",      blame: "request",  retry: "never",                                  hint: "Restart it (`run.restart`) if it is wanted after all." },
  OutputsLost:         { phase: "after",        blame: "request",  retry: "never",                                  hint: "Write it as a key of one JSON object to the file `${LONGSHORE_TERMINATION_LOG:-/dev/termination-log}` before the program ends; an output that is an annotation, as an annotation of its pod." },
  OutputsTooLarge:     { phase: "after",        blame: "request",  retry: "never",                                  hint: "Outputs are limited to 4 KiB of JSON, 4 KiB for each annotation and 64 KiB for a run; write large results elsewhere and put their address here." },
  OutputsInvalid:      { phase: "after",        blame: "request",  retry: "never",                                  hint: "Write one JSON object, and nothing beside it, to the file `${LONGSHORE_TERMINATION_LOG:-/dev/termination-log}`." },
  Unwatched:           { phase: "running",      blame: "platform", retry: "never",                                  hint: "Start a watcher for this group; if one runs, its `/readyz` and log say what it lacks." },
  GroupMoved:          { phase: "running",      blame: "platform", retry: "never",                                  hint: "The group now points at another cluster or namespace; point it back, or accept it: `longshore group accept <group>`." },
  PolicyRefused:       { phase: "before-start", blame: "request",  retry: "never",          giveUpAfterMs: SOON_MS, hint: "The group's policy forbids this; change the request, or ask whoever runs the group." },
  DefinitionBusy:      { phase: "before-start", blame: "cluster",  retry: "never-started",  waitsForRoom: true,     hint: "It waits until what its schedule or its owner started has ended: `kubectl -n <namespace> get jobs`." },
  DefinitionChanged:   { phase: "before-start", blame: "cluster",  retry: "never",                                  hint: "Run it again: the catalogue shows what it runs now. Nothing ran." },
  DefinitionGone:      { phase: "before-start", blame: "cluster",  retry: "never",                                  hint: "Ask whoever prepared the Job to apply it again, with its annotation. Nothing ran." },
  RequestInvalid:      { phase: "before-start", blame: "request",  retry: "never",                                  hint: "Correct what the problems name and send it again; the run's id is not used up." },
  IdempotencyConflict: { phase: "before-start", blame: "request",  retry: "never",                                  hint: "This id was used with other content; use a new id." },
  NameConflict:        { phase: "before-start", blame: "cluster",  retry: "never-started",                          hint: "Remove the Job of somebody else that holds the name." },
  RunUnknown:          { phase: "before-start", blame: "request",  retry: "never",                                  hint: "Check the run's id: `longshore runs list` shows what there is." },
  AlreadyEnded:        { phase: "after",        blame: "request",  retry: "never",                                  hint: "The run is over; use run.restart to run it again." },
  NotEnded:            { phase: "running",      blame: "request",  retry: "never",                                  hint: "The run is not over; cancel it first." },
  Gone:                { phase: "running",      blame: "cluster",  retry: "never",                                  hint: "The Job vanished without an outcome; before you run it again, check how much of its work is done." },
  Abandoned:           { phase: "running",      blame: "platform", retry: "never",                                  hint: "Check whether its Job still runs, since Longshore no longer follows it: `kubectl -n <namespace> get job <job>`." },
  Unknown:             { phase: "running",      blame: "platform", retry: "failure",                                hint: "Read the evidence, which is what the cluster said; `kubectl -n <namespace> describe job <job>` may show more." },
} as const satisfies Record<string, Row>;

/**
 * A code for a run whose request is no longer kept. Nothing uses it yet, and it gets no other meaning.
 */
export const RESERVED_CODES = ["SpecPruned"] as const;

/**
 * The hint for a namespace at the level "restricted" of Pod Security. No setting of a group or a request makes pods that strict
 * yet.
 */
export const RESTRICTED =
  "Lower the namespace's level to baseline, which is what Longshore's pods meet for now: `kubectl label namespace <namespace> pod-security.kubernetes.io/enforce=baseline --overwrite`.";

export type Code = keyof typeof ROWS;
export const DIAGNOSES: Readonly<Record<Code, Row>> = ROWS;
export const Code = z.enum(Object.keys(DIAGNOSES) as [Code, ...Code[]]);

export const Diagnosis = z.strictObject({
  code: Code,
  phase: Phase,
  blame: Blame,
  sentence: z.string(),
  hint: z.string(),
  evidence: z.array(z.string()),
  retryable: z.boolean(),
});
export type Diagnosis = z.infer<typeof Diagnosis>;

/**
 * Makes a diagnosis from its code and the particulars of this case. Pass `hint` if the code's own hint would mislead the
 * reader, and `isLasting` if trying again cannot help although it helps others of this code.
 */
export function diagnose(
  code: Code,
  sentence: string,
  evidence: readonly string[] = [],
  hint: string = DIAGNOSES[code].hint,
  isLasting = false,
): Diagnosis {
  const { phase, blame, retry } = DIAGNOSES[code];
  return { code, phase, blame, sentence, hint, evidence: [...evidence], retryable: retry !== "never" && !isLasting };
}

/** The values for the blanks of a hint. */
export type Blanks = Readonly<Partial<Record<"run" | "group" | "namespace" | "job", string | undefined>>>;

/** Fills `<run>`, `<group>`, `<namespace>` and `<job>` in a hint. A blank without a value stays. */
export const filledHint = (hint: string, values: Blanks): string =>
  hint.replaceAll(/<(run|group|namespace|job)>/g, (blank, name: keyof Blanks) => values[name] ?? blank);

/** Returns the diagnosis with the blanks of its hint filled, as an event or a program's answer shows it. */
export const withoutBlanks = (diagnosis: Diagnosis, values: Blanks): Diagnosis => ({
  ...diagnosis,
  hint: filledHint(diagnosis.hint, values),
});
