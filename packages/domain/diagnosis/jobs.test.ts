/** Conditions and Events in Kubernetes' own words, and the diagnosis that a person is told. */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { condition, event, job, pod, terminated } from "../watch/testing/fixtures.ts";
import { seeEvent } from "../watch/seen.ts";
import { saysWhatToDo } from "./testing/action.ts";
import { diagnoseEvents, diagnoseFailedJob } from "./jobs.ts";

const failed = (reason: string, message = "") => job({ status: { conditions: [condition("Failed", reason, message)] } });
const exit3 = pod({ status: { phase: "Failed" }, state: terminated(3) });

for (const { name, of, pods = [], want, says } of [
  {
    name: "a deadline",
    of: failed("DeadlineExceeded", "Job was active longer than specified deadline"),
    pods: [exit3],
    want: "DeadlineExceeded",
    says: /longer/,
  },
  {
    name: "a pod that failed, by what its pod says",
    of: failed("BackoffLimitExceeded"),
    pods: [exit3],
    want: "ExitCode",
    says: /exit code 3/,
  },
  {
    name: "a pod that is gone, as unknown and not as a guess",
    of: failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    want: "Unknown",
    says: /backoff limit/,
  },
  { name: "a reason that nobody has heard of", of: failed("SomethingNew"), want: "Unknown", says: /SomethingNew/ },
  { name: "nothing of a Job that has not failed", of: job(), pods: [exit3], want: undefined },
] as const)
  t.test(`tells ${name}`, async (t) => {
    const found = diagnoseFailedJob(of, { pods });
    t.equal(found?.code, want);
    if (says) t.match(found?.sentence, says);
    if (want) t.match(found?.evidence.join("\n"), /^Job orders/m, "quotes the condition");
  });

interface Case {
  readonly name: string;
  readonly reason?: string;
  readonly message: string;
  readonly want: Code;
  readonly says?: RegExp;
}

const quota = (requested: string, limited: string): string =>
  `Error creating: pods "x-b7k2p" is forbidden: exceeded quota: compute, requested: ${requested}, used: cpu=3,pods=5, limited: ${limited}`;

/** A breach as in the recording limit-range-is-broken. The lists of several breaches are written by hand. */
const breaks = (what: string): string => `Error creating: pods "x-b7k2p" is forbidden: ${what}`;

// biome-ignore format: rows are read side by side
const cases: readonly Case[] = [
  { name: "a quota that is full", message: quota("cpu=1", "cpu=4"), want: "QuotaExceeded", says: /"compute" has no room now: 1 CPU wanted, 3 of 4 in use/ },
  { name: "a quota that it fills alone", message: quota("cpu=4", "cpu=4"), want: "QuotaExceeded" },
  { name: "a quota that will never do", message: quota("cpu=5", "cpu=4"), want: "QuotaImpossible", says: /asks for 5 CPU, and the quota "compute" allows 4/ },
  { name: "a quota that demands amounts", message: 'Error creating: pods "x-b7k2p" is forbidden: failed quota: compute: must specify limits.cpu for: main; requests.memory for: main', want: "AdmissionDenied", says: /states limits of CPU and requests of memory/ },
  { name: "a range that it breaks", message: 'Error creating: pods "x-b7k2p" is forbidden: maximum cpu usage per Container is 1, but limit is 2', want: "QuotaImpossible", says: /limit of 2 CPU breaks the namespace's maximum of 1 per container/ },
  { name: "a range that it breaks twice", message: breaks("[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]"), want: "QuotaImpossible", says: /^The limit of 2 CPU breaks the namespace's maximum of 1 per container and the limit of 2Gi memory breaks the namespace's maximum of 1Gi per container\.$/ },
  { name: "a range that it breaks three times", message: breaks("[maximum cpu usage per Pod is 1, but limit is 1500m, minimum memory usage per Container is 64Mi, but request is 10Mi, maximum memory usage per Container is 1Gi, but limit is 2Gi]"), want: "QuotaImpossible", says: /^The limit of 1500m CPU breaks the namespace's maximum of 1 per pod, the request of 10Mi memory breaks the namespace's minimum of 64Mi per container and the limit of 2Gi memory breaks the namespace's maximum of 1Gi per container\.$/ },
  { name: "a range that wants amounts", message: breaks("[maximum cpu usage per Container is 1.  No limit is specified, maximum memory usage per Container is 1Gi, but limit is 2Gi]"), want: "QuotaImpossible", says: /^The missing limit of CPU breaks the namespace's maximum of 1 per container and the limit of 2Gi memory breaks/ },
  { name: "a range of ratios", message: breaks("[cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000, maximum memory usage per Container is 1Gi, but limit is 2Gi]"), want: "QuotaImpossible", says: /the limit of 2Gi memory breaks .* and the limit of CPU breaks the namespace's maximum of 2 times its request per container\./i },
  { name: "Pod Security", message: 'Error creating: pods "x-b7k2p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true)', want: "AdmissionDenied", says: /Pod Security level "restricted" refuses the pod: pod or container "main" must set securityContext.runAsNonRoot=true\./ },
  { name: "a webhook", message: 'Error creating: admission webhook "images.example.com" denied the request: not signed', want: "AdmissionDenied", says: /not signed/ },
  { name: "a missing service account", message: 'Error creating: pods "x-" is forbidden: error looking up service account batch/robot: serviceaccount "robot" not found', want: "ConfigMissing", says: /robot/ },
  { name: "a namespace that goes away", message: 'Error creating: pods "x-b7k2p" is forbidden: unable to create new content in namespace batch because it is being terminated', want: "NamespaceTerminating" },
  { name: "something new", message: "Error creating: the moon is in the wrong phase", want: "Unknown", says: /the moon is in the wrong phase/ },
  { name: "a Secret to be mounted that is not there", reason: "FailedMount", message: 'MountVolume.SetUp failed for volume "s" : secret "db" not found', want: "ConfigMissing" },
  { name: "a volume that cannot be mounted", reason: "FailedMount", message: 'Unable to attach or mount volumes: unmounted volumes=[data]: timed out waiting for the condition', want: "VolumeUnavailable" },
  { name: "a volume that is attached elsewhere", reason: "FailedAttachVolume", message: 'Multi-Attach error for volume "pvc-1"', want: "VolumeUnavailable" },
  { name: "a sandbox that cannot be made", reason: "FailedCreatePodSandBox", message: "Failed to create pod sandbox: rpc error: plugin type=bridge failed", want: "Unknown", says: /cannot set the pod up/ },
];

const seen = (...raw: readonly object[]) => raw.flatMap((it) => seeEvent(it) ?? []);

for (const { name, reason = "FailedCreate", message, want, says } of cases)
  t.test(`reads ${name} from an Event`, async (t) => {
    const found = diagnoseEvents(seen(event("uid-job", reason, message)));
    t.equal(found?.code, want);
    if (says) t.match(found?.sentence, says);
    t.ok(saysWhatToDo(found?.hint ?? ""), `the hint says what to do: ${found?.hint}`);
  });

t.test("the newest Event counts", async (t) => {
  const events = seen(
    event("u", "FailedCreate", quota("cpu=1", "cpu=4"), "2026-03-01T10:00:00Z"),
    event("u", "FailedCreate", "Error creating: something else", "2026-03-01T10:01:00Z"),
    event("u", "SuccessfulCreate", "Created pod", "2026-03-01T10:02:00Z"),
  );
  t.equal(diagnoseEvents(events)?.code, "Unknown");
});

t.test("ordinary Events say nothing is wrong", async (t) => {
  t.equal(diagnoseEvents(seen(event("u", "Scheduled", "ok"), event("u", "Pulled", "ok"))), undefined);
});
