/**
 * What went wrong, in a closed list of codes that upstream may branch on and monitoring may count.
 *
 * A row says when it happens in a step's life, whose move it is, whether the same run may simply be tried again, and
 * what its reader can do. The sentence with the particulars is made where the thing was seen (domain/diagnosis).
 */
import { z } from "zod";

export const Phase = z.enum(["before-start", "running", "after"]);
/** Who must act: the author of the request, the cluster's people, or those who run Longshore. */
export const Blame = z.enum(["request", "cluster", "platform"]);

interface Row {
  readonly phase: z.infer<typeof Phase>;
  readonly blame: z.infer<typeof Blame>;
  /** What `retries.on` must name for a new attempt to be made, or "never". */
  readonly retry: "never-started" | "infrastructure" | "failure" | "never";
  readonly hint: string;
}

// biome-ignore format: a table is read down its columns
export const DIAGNOSES = {
  AuthRejected:        { phase: "before-start", blame: "platform", retry: "never-started",  hint: "Renew the group's launch token; `longshore doctor` tests it." },
  TlsUntrusted:        { phase: "before-start", blame: "platform", retry: "never-started",  hint: "Give the group the CA that signed the cluster's certificate." },
  EndpointUnreachable: { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "Check the group's address, DNS and firewall; `longshore doctor` says which step fails." },
  Forbidden:           { phase: "before-start", blame: "platform", retry: "never-started",  hint: "Apply the group's Role again: `longshore rbac <group>` prints it." },
  AdmissionDenied:     { phase: "before-start", blame: "request",  retry: "never",          hint: "The cluster's admission rules refuse this pod; change the request, or ask the cluster's people." },
  NamespaceTerminating:{ phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "The group's namespace is being deleted; recreate it or point the group elsewhere." },
  QuotaExceeded:       { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "It waits until others finish; raise the namespace's quota if that takes too long." },
  QuotaImpossible:     { phase: "before-start", blame: "request",  retry: "never",          hint: "It asks for more than the namespace's quota ever allows; ask for less, or raise the quota." },
  Unschedulable:       { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "No node has room or matches; ask for less, or add nodes." },
  RegistryUnreachable: { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "The nodes cannot reach the image's registry." },
  ImageNotFound:       { phase: "before-start", blame: "request",  retry: "never",          hint: "Check the image's name and tag, and that it was pushed." },
  ImagePullDenied:     { phase: "before-start", blame: "request",  retry: "never",          hint: "Check the image's name; if it is private, add its pull secret to the namespace's default service account: `kubectl -n <namespace> patch serviceaccount default -p '{\"imagePullSecrets\":[{\"name\":\"<secret>\"}]}'`." },
  ImageNameInvalid:    { phase: "before-start", blame: "request",  retry: "never",          hint: "Write the image as registry/name:tag, in lower case." },
  ConfigMissing:       { phase: "before-start", blame: "request",  retry: "never",          hint: "Create the Secret or ConfigMap in the group's namespace, or correct its name." },
  VolumeUnavailable:   { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "The volume cannot be bound or mounted; check its claim, class and access mode." },
  InitFailed:          { phase: "before-start", blame: "request",  retry: "failure",        hint: "An init container failed; its log says why." },
  ExitCode:            { phase: "running",      blame: "request",  retry: "failure",        hint: "The program ended with an error; its log is the place to look." },
  Signal:              { phase: "running",      blame: "request",  retry: "failure",        hint: "The program was ended by a signal; its log may say why." },
  OutOfMemory:         { phase: "running",      blame: "request",  retry: "failure",        hint: "Raise resources.limits.memory, or process less per run." },
  Evicted:             { phase: "running",      blame: "cluster",  retry: "infrastructure", hint: "The node ran short; set requests that match what the run needs." },
  Preempted:           { phase: "running",      blame: "cluster",  retry: "infrastructure", hint: "More important work took the node; run again." },
  NodeLost:            { phase: "running",      blame: "cluster",  retry: "infrastructure", hint: "The node vanished; run again." },
  DeadlineExceeded:    { phase: "running",      blame: "request",  retry: "never",          hint: "It ran longer than its deadline; raise `deadline` or make it faster." },
  WaitExpired:         { phase: "before-start", blame: "cluster",  retry: "never",          hint: "No group had room within `waitFor`; raise it, or add room. Nothing ran." },
  StartExpired:        { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "The pod did not start within `startWithin`." },
  DeletedExternally:   { phase: "running",      blame: "cluster",  retry: "infrastructure", hint: "Somebody deleted the Job; the cluster's audit log says who." },
  Cancelled:           { phase: "running",      blame: "request",  retry: "never",          hint: "It was cancelled on request." },
  OutputsLost:         { phase: "after",        blame: "request",  retry: "never",          hint: "A declared output was not written; write it to the termination message before ending." },
  OutputsTooLarge:     { phase: "after",        blame: "request",  retry: "never",          hint: "Outputs are limited to 4 KiB of JSON; write large results elsewhere and put their address here." },
  OutputsInvalid:      { phase: "after",        blame: "request",  retry: "never",          hint: "The termination message must be one JSON object." },
  Unwatched:           { phase: "running",      blame: "platform", retry: "never",          hint: "No watcher reports on this group; start one." },
  GroupMoved:          { phase: "running",      blame: "platform", retry: "never",          hint: "The group now points at another cluster or namespace; point it back, or abandon the run." },
  PolicyRefused:       { phase: "before-start", blame: "request",  retry: "never",          hint: "The group's policy forbids this; change the request, or ask whoever runs the group." },
  RequestInvalid:      { phase: "before-start", blame: "request",  retry: "never",          hint: "Correct what the problems name and send it again; the run's id is not used up." },
  IdempotencyConflict: { phase: "before-start", blame: "request",  retry: "never",          hint: "This id was used with other content; use a new id." },
  NameConflict:        { phase: "before-start", blame: "cluster",  retry: "never-started",  hint: "A Job of somebody else holds the name; remove it." },
  RunUnknown:          { phase: "before-start", blame: "request",  retry: "never",          hint: "No run has this id." },
  AlreadyEnded:        { phase: "after",        blame: "request",  retry: "never",          hint: "The run is over; use run.restart to run it again." },
  NotEnded:            { phase: "running",      blame: "request",  retry: "never",          hint: "The run is not over; cancel it first." },
  VolumesGone:         { phase: "after",        blame: "request",  retry: "never",          hint: "The run's volumes were removed; restart it from the start." },
  SpecPruned:          { phase: "after",        blame: "request",  retry: "never",          hint: "The run is too old to be restarted; publish a new one." },
  Gone:                { phase: "running",      blame: "cluster",  retry: "never",          hint: "The Job vanished without an outcome; look at what the run was to do before running it again." },
  Abandoned:           { phase: "running",      blame: "platform", retry: "never",          hint: "An operator gave the run up; its Job may still be there." },
  Unknown:             { phase: "running",      blame: "platform", retry: "failure",        hint: "The evidence fits no known cause; it is shown as it was found." },
} as const satisfies Record<string, Row>;

export type Code = keyof typeof DIAGNOSES;
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

/** A diagnosis from its code, with the particulars of this case. `hint`: where the code's own would send its reader astray. */
export function diagnose(
  code: Code,
  sentence: string,
  evidence: readonly string[] = [],
  hint: string = DIAGNOSES[code].hint,
): Diagnosis {
  const { phase, blame, retry } = DIAGNOSES[code];
  return { code, phase, blame, sentence, hint, evidence: [...evidence], retryable: retry !== "never" };
}
