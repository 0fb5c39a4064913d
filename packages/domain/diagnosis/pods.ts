/**
 * Reads the diagnosis from the pods of one attempt.
 *
 * Each rule looks for one cause. The first rule that finds its cause wins, so the rules are ordered from cause to consequence:
 * a lost node explains an exit code, never the reverse.
 */
import { diagnose, type Code, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { isOnlyLate, missingOf, pullWhy, startWhy } from "./runtime-words.ts";
import { firstLineOf } from "./foreign-words.ts";
import { unplacedWhy } from "./scheduler-words.ts";
import { type ContainerSeen, type EventSeen, isUnfinished, type PodSeen, type Terminated } from "../watch/seen.ts";

export interface Pods {
  readonly pods: readonly PodSeen[];
  /**
   * For each container: the API's last reason why its image could not be pulled. A later "back-off" often leaves the reason
   * out.
   */
  readonly pulls?: Pulls;
  /** Events about these pods, if they were asked for. */
  readonly events?: readonly EventSeen[];
}
export type Pulls = Readonly<Record<string, string>>;

interface Found {
  readonly sentence: string;
  readonly evidence: string;
  readonly hint: string | undefined;
  readonly isLasting: boolean;
}
type Rule = (seen: Pods) => Found | undefined;

/** Makes rules of one kind: `look` returns the objects to search, `quote` makes the evidence of the object that was found. */
function rule<T extends object>(look: (seen: Pods) => readonly T[], quote: (it: T) => string) {
  return (
    sees: (it: T) => boolean,
    says: (it: T) => string,
    hints?: (it: T) => string | undefined,
    lasts: (it: T) => boolean = () => false,
  ): Rule =>
    (seen) => {
      const it = look(seen).find(sees);
      return it && { sentence: says(it), evidence: quote(it), hint: hints?.(it), isLasting: lasts(it) };
    };
}

interface Waiting {
  readonly container: string;
  readonly image: string;
  readonly reason: string;
  readonly message: string;
}
interface Exit extends Terminated {
  readonly container: string;
  readonly role: ContainerSeen["role"];
  readonly memory: string;
  readonly exitCode: number;
}

const pod = rule<PodSeen>(
  ({ pods }) => pods,
  (it) =>
    `pod ${it.name}: ${[it.reason ?? it.disruption?.reason, it.message ?? it.disruption?.message].filter(Boolean).join(": ")}`,
);
const unplaced = rule<PodSeen>(
  ({ pods }) => pods,
  (it) => `pod ${it.name}: ${it.unscheduled?.message ?? it.message ?? it.reason ?? ""}`,
);
const deleted = rule<PodSeen>(
  ({ pods }) => pods,
  (it) => `pod ${it.name}: it was to be deleted from ${it.deletionAskedAt ?? it.deletionAt ?? ""} on`,
);
const waiting = rule<Waiting>(waits, (it) => `${it.container}: ${it.reason}: ${it.message}`);
const exit = rule<Exit>(
  exits,
  (it) =>
    `${it.container}: ${it.reason ?? "ended"}, exit code ${it.exitCode}${it.message ? `: ${it.message.slice(0, 500)}` : ""}`,
);

const isAny =
  (...reasons: readonly string[]) =>
  (it: { readonly reason: string | undefined }): boolean =>
    reasons.includes(it.reason ?? "");
const pulling = isAny("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError");
const denied =
  /\bdenied\b|unauthori[sz]ed|authentication required|no basic auth credentials|\b(?:401|403) (?:unauthori|forbidden)/i;
const absent = /not found|manifest unknown|name unknown|does not exist/i;
const unbound = /persistentvolumeclaim|unbound immediate|volume node affinity|volume/i;
const asRoot = /runAsNonRoot|non-root|run as root/i;
/** The image exists, but not for this node's platform. */
const foreign = /no match for platform|no matching manifest/i;
const disrupted =
  (...reasons: readonly string[]) =>
  (it: PodSeen): boolean =>
    reasons.includes(it.disruption?.reason ?? "");
const rejected = (it: PodSeen): boolean =>
  /^(OutOf\w+|NodeAffinity|NodeName|NodePorts|UnexpectedAdmissionError|Taint\w+)$/.test(it.reason ?? "");

const subPath = /failed to prepare subPath for volumeMount "([^"]*)"/;
const either =
  (...rules: readonly Rule[]): Rule =>
  (seen) => {
    for (const look of rules) {
      const found = look(seen);
      if (found) return found;
    }
    return undefined;
  };
const unset = (it: Waiting): boolean => isAny("CreateContainerConfigError")(it) && !isOnlyLate(it.message);

/** An image may name its user by a word, and nobody knows whether that word means root. */
function refusedAsRoot({ container, message }: Waiting): string {
  const [, user] = /non-numeric user \(([^)]*)\)/.exec(message) ?? [];
  return user === undefined
    ? `The container ${container} would run as root, which its pod forbids.`
    : `The pod forbids root, and the image of the container ${container} names its user by a word ("${user}"), which may mean root.`;
}

/** Causes that keep a pod from starting, or a started one from going on. */
// biome-ignore format: a table is read down its columns
const STALLS = {
  VolumeUnavailable:   either(unplaced((it) => isUnfinished(it) && unbound.test(whyUnplaced(it)),  (it) => `A volume of the pod cannot be used: ${whyUnplaced(it)}.`),
                              waiting((it) => unset(it) && subPath.test(it.message),               (it) => `The path (subPath) that the container ${it.container} mounts from the volume "${subPath.exec(it.message)?.[1]}" cannot be used.`,
                                                                                                   () => "Check that `subPath` names a folder or file that the volume has, or can have.")),
  Unschedulable:       unplaced((it) => (isUnfinished(it) && it.unscheduled?.reason === "Unschedulable") || rejected(it),
                                                                                                   (it) => rejected(it) ? `The node ${it.node ?? "(unknown)"} did not take the pod: ${rejectedWhy(it)}.` : `No node can take the pod: ${whyUnplaced(it)}.`),
  ImageNameInvalid:    waiting(isAny("InvalidImageName"),                                          (it) => `"${it.image}" is not an image name.`),
  ImagePullDenied:     waiting((it) => isAny("SignatureValidationFailed")(it) || (pulling(it) && denied.test(it.message)),
                                                                                                   (it) => `The registry will not let the cluster pull ${it.image}.`),
  ImageNotFound:       waiting((it) => isAny("ErrImageNeverPull")(it) || (pulling(it) && (absent.test(it.message) || foreign.test(it.message))),
                                                                                                   (it) => foreign.test(it.message) ? `The image ${it.image} is not made for the processor of the node.` : `The registry has no ${it.image}.`,
                                                                                                   (it) => foreign.test(it.message) ? "Build and push the image for the cluster's kind of processor, too (docker buildx build --platform …)." : undefined),
  RegistryUnreachable: waiting(pulling,                                                            (it) => `The cluster cannot pull ${it.image}${after(pullWhy(it.message).why)}.`,
                                                                                                   (it) => pullWhy(it.message).hint),
  PolicyRefused:       waiting((it) => unset(it) && asRoot.test(it.message),                       refusedAsRoot,
                                                                                                   () => "Give the image a user of its own, as a number (USER 1000), or ask the cluster's people, whose rule it is."),
  ConfigMissing:       waiting((it) => unset(it) && missingOf(it.message) !== undefined,           (it) => `The container ${it.container} needs ${missingOf(it.message)?.why}.`,
                                                                                                   (it) => missingOf(it.message)?.hint),
  Unknown:             waiting((it) => unset(it) || isAny("CreateContainerError", "RunContainerError", "CrashLoopBackOff", "PostStartHookError")(it),
                                                                                                   (it) => `The cluster cannot start the container ${it.container}${after(startWhy(it.message).why)}.`,
                                                                                                   (it) => startWhy(it.message).hint),
} as const satisfies Partial<Record<Code, Rule>>;

/** Nothing was wrong with the pod or its node: somebody wanted the node empty. */
const movedOff = (it: PodSeen): boolean =>
  disrupted("EvictionByEvictionAPI")(it) || /shutdown/i.test(`${it.reason} ${it.message}`);
const MOVED_OFF = "Run it again (`run.restart`): somebody emptied the node (a drain, an upgrade, a shutdown).";

/** The pod is over a limit of its own, whatever room its node has. */
// biome-ignore format: a table is read down its columns
const OVER: readonly (readonly [about: RegExp, says: (caught: readonly string[]) => string, hint: string])[] = [
  [/ephemeral local storage usage exceeds the total limit of containers (\S+?)\.? *$/, ([, most]) => `The pod wrote more than its ${most} of disk, and the node ended it.`,                          "Raise resources.limits.ephemeral-storage, or write less per run; what is printed counts, too."],
  [/^Container (\S+) exceeded its local ephemeral storage limit "([^"]+)"/,            ([, name, most]) => `The container ${name} wrote more than its ${most} of disk, and the node ended the pod.`, "Raise resources.limits.ephemeral-storage, or write less per run; what is printed counts, too."],
  [/Usage of EmptyDir volume "([^"]+)" exceeds the (?:total )?limit "([^"]+)"/,        ([, name, most]) => `The pod wrote more than ${most} into its volume "${name}", and the node ended it.`,        "Write less into it, or have its sizeLimit raised by whoever adds that volume to the pods."],
];
const over = (it: PodSeen) => OVER.find(([about]) => about.test(it.message ?? ""));

/**
 * True if the pod ended after somebody asked for its deletion. The end then says nothing about the program: a program that is
 * told to stop ends as it likes, and a container that was never made is shown as ended with 137.
 */
function isDeletedAlone(it: PodSeen): boolean {
  const asked = it.deletionAskedAt;
  if (asked === undefined || it.disruption !== undefined || it.phase === "Succeeded") return false;
  const ends = it.containers.flatMap(({ role, terminated }) => (role === "sidecar" ? [] : (terminated?.finishedAt ?? [])));
  return ends.length === 0 || ends.some((at) => at >= asked);
}

function evictedHow(it: PodSeen): string {
  const [exceeded, says] = over(it) ?? [];
  if (exceeded && says) return says(exceeded.exec(it.message ?? "") ?? []);
  const node = `the node ${it.node ?? "(unknown)"}`;
  const [, short] = /low on resource: ([\w-]+)/.exec(it.message ?? "") ?? [];
  if (short !== undefined) return `The node ${it.node ?? "(unknown)"} ran short of ${short} and evicted the pod.`;
  if (disrupted("EvictionByEvictionAPI")(it)) return `The pod was evicted from ${node}, which somebody empties.`;
  return `The node ${it.node ?? "(unknown)"} evicted the pod${it.message ? `: ${firstLineOf(it.message)}` : ""}.`;
}

/**
 * The node lost sight of a container. Evicted and deleted pods are left out: their node reports the same if it had not seen the
 * container run yet.
 */
const isForgotten = (it: PodSeen): boolean =>
  it.deletionAt === undefined &&
  it.reason === undefined &&
  it.containers.some(({ terminated }) => terminated?.reason === "ContainerStatusUnknown");

/**
 * Causes that took a pod away. They come before the causes that kept it from starting (STALLS) and its program's own end
 * (EXITS).
 */
// biome-ignore format: a table is read down its columns
const TAKEN = {
  NodeLost:  pod((it) => it.reason === "NodeLost" || disrupted("DeletionByTaintManager", "DeletionByPodGC")(it) || isForgotten(it),
                                                                                       (it) => `The node ${it.node ?? "(unknown)"} was lost${disrupted("DeletionByTaintManager")(it) ? ", or taken out of use," : ""} while the pod was on it.`),
  Preempted: pod((it) => ["Preempting", "Preempted"].includes(it.reason ?? "") || disrupted("PreemptionByScheduler", "PreemptionByKubeScheduler")(it),
                                                                                       (it) => `More important work took the pod's place on the node ${it.node ?? "(unknown)"}.`),
  Evicted:   pod((it) => ["Evicted", "Terminated", "NodeShutdown"].includes(it.reason ?? "") || disrupted("EvictionByEvictionAPI", "TerminationByKubelet")(it),
                                                                                       evictedHow, (it) => (movedOff(it) ? MOVED_OFF : over(it)?.[2])),
  LocalStop: pod((it) => it.reason === "LocalStop",                                    (it) => `${firstLineOf(it.message ?? "Longshore was stopped while this ran")}.`),
  DeadlineExceeded: pod((it) => it.reason === "DeadlineExceeded",                      () => "It ran longer than its pod's own deadline, and the node ended it.",
                                                                                       () => "Ask the cluster's people which rule of theirs sets activeDeadlineSeconds on pods (Longshore sets it on Jobs only), or make it faster."),
  DeletedExternally: deleted(isDeletedAlone,                                           (it) => `Somebody deleted the pod ${it.containers.some(({ terminated, running }) => (terminated?.startedAt ?? running) !== undefined) ? "while its program ran" : "before its program started"}.`,
                                                                                       () => "Ask the cluster's people who deleted the pod, a person or a program that tidies up: their audit log says so."),
} as const satisfies Partial<Record<Code, Rule>>;

const unstarted = isAny("StartError", "ContainerCannotRun");
const isLasting = (it: Exit): boolean => unstarted(it) && startWhy(it.message ?? "").isLasting === true;

/** Exit codes that mean something to shells. */
const EXIT_HINTS: Readonly<Record<number, string>> = {
  126: "Look in the log for the file that the shell may not execute: that is what 126 means there.",
  127: "Look in the log for the command that the shell did not find: that is what 127 means there.",
};

// biome-ignore format: a table is read down its columns
const EXITS = {
  OutOfMemory: exit(isAny("OOMKilled"),                                  (it) => `The container ${it.container} needed more than its ${it.memory} of memory.`),
  InitFailed:  exit((it) => it.role === "init" && it.exitCode !== 0,     (it) => unstarted(it) ? `The init container ${it.container} could not be started${after(startWhy(it.message ?? "").why)}.`
                                                                                               : `The init container ${it.container} ended with exit code ${it.exitCode}.`,
                                                                         (it) => unstarted(it) ? startWhy(it.message ?? "").hint : undefined, isLasting),
  StartError:  exit((it) => it.exitCode !== 0 && unstarted(it),          (it) => `The container ${it.container} could not be started${after(startWhy(it.message ?? "").why)}.`,
                                                                         (it) => startWhy(it.message ?? "").hint, isLasting),
  ExitCode:    exit((it) => it.exitCode !== 0 && (it.exitCode <= 128 || it.exitCode > 128 + 64),
                                                                         (it) => `The program ended with exit code ${it.exitCode}.`,
                                                                         (it) => EXIT_HINTS[it.exitCode]),
  Signal:      exit((it) => it.exitCode > 128,                           (it) => `The program was ended by ${signalName(it.signal ?? it.exitCode - 128)}.`),
} as const satisfies Partial<Record<Code, Rule>>;

/** Diagnoses pods that should start and do not, or cannot go on; `undefined` if nothing keeps them from it. */
export const diagnoseStall = (seen: Pods): Diagnosis | undefined => first({ NodeLost: lostWhileRunning, ...STALLS }, seen);

/** Diagnoses how the pods of a failed or deleted Job ended. */
export const diagnoseEnd = (seen: Pods): Diagnosis | undefined => first({ ...TAKEN, ...STALLS, ...EXITS }, seen);

/**
 * Returns the cause of a pod's end, if the pod shows it without its Job. The watcher keeps the cause, since the pod may be gone
 * when the Job has failed.
 */
export const diagnosePodsEnd = (seen: Pods): Diagnosis | undefined => first({ ...TAKEN, ...EXITS }, seen);

function first(rules: Readonly<Partial<Record<Code, Rule>>>, seen: Pods): Diagnosis | undefined {
  for (const [code, look] of Object.entries(rules) as [Code, Rule][]) {
    const found = look(seen);
    if (found) return diagnose(code, found.sentence, [found.evidence], found.hint, found.isLasting);
  }
  return undefined;
}

/** If a pod's node is gone, the pod keeps its last state and never finishes. */
const lostWhileRunning: Rule = ({ pods }) => TAKEN.NodeLost({ pods: pods.filter(isUnfinished) });

function waits(seen: Pods): readonly Waiting[] {
  const pulls = rememberPulls(seen.pulls ?? {}, seen);
  return seen.pods.filter(isUnfinished).flatMap(({ containers }) =>
    containers.flatMap(({ name, image, waiting }) => {
      if (waiting?.reason === undefined) return [];
      const message = pulling(waiting) ? (pulls[name] ?? waiting.message) : waiting.message;
      return [{ container: name, image, reason: waiting.reason, message: message ?? "" }];
    }),
  );
}

/** Main containers come first: their exit is the outcome, and the exit of a sidecar that was told to stop is not. */
function exits({ pods }: Pods): readonly Exit[] {
  const order = ["main", "init", "sidecar"];
  return pods
    .flatMap(({ containers }) =>
      containers.flatMap(({ name, role, memoryLimit, terminated }) =>
        terminated?.exitCode === undefined
          ? []
          : [{ ...terminated, exitCode: terminated.exitCode, container: name, role, memory: memoryLimit ?? "share" }],
      ),
    )
    .toSorted((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
}

/** True if the message names a cause, unlike a bare "Back-off pulling image x". */
const isPullCause = (message: string | undefined): message is string =>
  message !== undefined && !/^back-off pulling image "[^"]*"\.?$/i.test(message.trim());

/**
 * For each container, the API's reason why its image cannot be pulled: the present reason, or the last one if there is none
 * now.
 */
export function rememberPulls(before: Pulls, { pods, events = [] }: Pods): Pulls {
  const unpulled = pods.flatMap(({ containers }) => containers.filter(({ waiting }) => waiting && pulling(waiting)));
  const now = unpulled.flatMap(({ name, image, waiting }) => {
    const cause = isPullCause(waiting?.message) ? waiting.message : (before[name] ?? pullCause(events, image));
    return cause === undefined ? [] : [[name, cause] as const];
  });
  return now.length === 0 ? before : { ...before, ...Object.fromEntries(now) };
}

const pullCause = (events: readonly EventSeen[], image: string): string | undefined =>
  newestFirst(events).find(
    (it) => it.reason === "Failed" && /failed to pull image/i.test(it.message) && it.message.includes(image),
  )?.message;

/** The pod waits for an image and does not say why: its Events do. */
export const isPullUnexplained = ({ pods, pulls = {} }: Pods): boolean =>
  pods.some(({ containers }) => containers.some(({ name, waiting }) => waiting && pulling(waiting) && pulls[name] === undefined));

/** ISO times of one form compare as text; an Event without a time is the oldest. */
export const newestFirst = (events: readonly EventSeen[]): readonly EventSeen[] =>
  events.toSorted((a, b) => ((b.at ?? "") < (a.at ?? "") ? -1 : 1));

const whyUnplaced = (it: PodSeen): string => unplacedWhy(it.unscheduled?.message ?? it.message ?? it.reason ?? "");

/** The node refused the pod after the scheduler had chosen that node. */
const rejectedWhy = (it: PodSeen): string => unplacedWhy((it.message ?? it.reason ?? "").replace(/^Pod was rejected: /, ""));

const after = (why: string): string => why && `: ${why}`;

// biome-ignore format: a table
const SIGNALS: Readonly<Record<number, string>> = {
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
};

const signalName = (signal: number): string => (SIGNALS[signal] ? `signal ${signal} (${SIGNALS[signal]})` : `signal ${signal}`);
