/** Prepared Jobs and CronJobs: what is told of them, what their cards say, and what a run's Job has of them. */
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { Prepared, PreparedKind } from "@longshore/contract/messages/fact.ts";
import t from "tap";
import type { ManifestInput } from "../pod/manifest.ts";
import { DEFAULTS } from "../run/plan.ts";
import { definitionOf, type PreparedDefinition } from "./definition-of.ts";
import { manifestFrom } from "./manifest.ts";
import { notAllowedInPod, usesOfPod } from "./pod-uses.ts";
import { isPrepared, nameOfPrepared, seePrepared } from "./see.ts";

const GROUP = GroupName.parse("prod");
const PEOPLE = ["job-assistant", "enable"] as const;
const work = { name: "work", image: "shop/work:1" };

interface Written {
  readonly metadata?: object;
  readonly spec?: object;
  readonly pod?: object;
  readonly container?: object;
  readonly words?: Readonly<Record<string, string>>;
}

function jobOf({ metadata = {}, spec = {}, pod = {}, container = {}, words = {} }: Written = {}): object {
  const longshore = Object.fromEntries(Object.entries(words).map(([name, text]) => [`longshore.dev/${name}`, text]));
  return {
    kind: "Job",
    metadata: { name: "export", namespace: "jobs", uid: "u-1", resourceVersion: "7", ...metadata, annotations: { "job-assistant": "enable", ...longshore, ...(metadata as { annotations?: object }).annotations } },
    spec: {
      suspend: true,
      backoffLimit: 3,
      parallelism: 1,
      completions: 1,
      completionMode: "NonIndexed",
      podReplacementPolicy: "TerminatingOrFailed",
      selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "u-1" } },
      template: {
        metadata: { labels: { app: "shop", "app.kubernetes.io/instance": "shop", "batch.kubernetes.io/controller-uid": "u-1", "controller-uid": "u-1", "batch.kubernetes.io/job-name": "export", "job-name": "export" } },
        spec: { restartPolicy: "OnFailure", ...pod, containers: [{ ...work, ...container }] },
      },
      ...spec,
    },
  }; // biome-ignore format: an object of Kubernetes
}

function seen(raw: unknown, kind: PreparedKind = "Job"): Prepared {
  const found = seePrepared(raw, kind, PEOPLE[0]);
  if (found === undefined) throw new TypeError("it is no object");
  return { ...found, installation: Installation.parse("main"), group: GROUP };
}

function definition(written: Written, settings: object = { policy: { secrets: ["db"] } }): PreparedDefinition {
  const made = definitionOf(seen(jobOf(written)), { name: GROUP, settings: GroupSettings.parse(settings) });
  if (made === undefined) throw new TypeError("no definition has such a name");
  return made;
}

t.test("an object asks to be run by its annotation's value, and neither our own Jobs nor a schedule's are listed", async (t) => {
  const isIt = (metadata: object): boolean => isPrepared(jobOf({ metadata }), PEOPLE);
  t.ok(isIt({}));
  t.notOk(isIt({ annotations: { "job-assistant": "disable" } }));
  t.notOk(isIt({ labels: { "longshore.dev/installation": "other" } }));
  t.notOk(isIt({ ownerReferences: [{ kind: "CronJob", controller: true }] }));
  t.ok(isIt({ ownerReferences: [{ kind: "Shop", controller: true }] }), "what an operator owns may be prepared");
  t.notOk(isIt({ deletionTimestamp: "2030-01-01T00:00:00Z" }));
});

t.test("nothing of the object's identity, of its schedule and of GitOps tools is copied; labels of its pods are", async (t) => {
  const labels = {
    team: "shop", "app.kubernetes.io/name": "export", "app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm",
    "argocd.argoproj.io/instance": "shop", "kustomize.toolkit.fluxcd.io/name": "shop", "helm.sh/chart": "shop-1", "job-name": "export",
  }; // biome-ignore format: a list
  const annotations = {
    note: "kept", "argocd.argoproj.io/tracking-id": "shop:batch/Job", "meta.helm.sh/release-name": "shop", "helm.sh/hook": "pre-install",
    "kubectl.kubernetes.io/last-applied-configuration": "{}", "longshore.dev/title": "Export", "batch.kubernetes.io/job-tracking": "",
  }; // biome-ignore format: a list
  const found = seen(jobOf({ metadata: { labels, annotations }, spec: { ttlSecondsAfterFinished: 60 } }));
  t.same(found.labels, { team: "shop", "app.kubernetes.io/name": "export" });
  t.same(found.annotations, { note: "kept" });
  t.same(found.words, { title: "Export" });
  t.same(
    Object.keys(found.runs ?? {}).filter((it) => ["suspend", "selector", "ttlSecondsAfterFinished"].includes(it)),
    [],
  );
  t.match(found.runs, { template: { metadata: { labels: { app: "shop", "app.kubernetes.io/instance": "shop" } } } });
  t.notMatch(JSON.stringify(found.runs), /u-1|job-name/);
});

t.test("a CronJob is told by its Job's template, with its schedule and what of it runs", async (t) => {
  const { spec } = jobOf() as { spec: object };
  const raw = {
    kind: "CronJob",
    metadata: { name: "nightly", uid: "u-2", resourceVersion: "9", labels: { of: "schedule" } },
    spec: { schedule: "@daily", suspend: true, jobTemplate: { metadata: { labels: { of: "job" } }, spec } },
    status: { active: [{ name: "nightly-1" }], lastScheduleTime: "2030-01-01T00:00:00Z" },
  };
  const found = seen(raw, "CronJob");
  t.match(found, { kind: "CronJob", schedule: "@daily", suspended: true, active: 1, lastStartedAt: "2030-01-01T00:00:00Z" });
  t.same(found.labels, { of: "job" });
  t.same(found.runs, seen(jobOf()).runs, "it runs what such a Job runs");
});

t.test("a template that cannot be told says why", async (t) => {
  const big = { env: [{ name: "A", value: "x".repeat(300_000) }] };
  let deep: unknown = "x";
  for (let n = 0; n < 60; n++) deep = { deep };
  t.match(seen(jobOf({ container: big })).unread, /more than 256 KiB/);
  t.match(seen(jobOf({ container: { command: ["\0"] } })).unread, /cannot be stored/);
  t.equal(seen(jobOf({ container: { command: ["printf '\\u0000'"] } })).unread, undefined);
  t.match(seen(jobOf({ pod: { deep } })).unread, /nested/);
  t.match(definition({ container: big }).problems, [/more than 256 KiB/]);
});

t.test("a Job and a CronJob of any names never have the same definition's name", async (t) => {
  const names = ["export", "job.export", "cronjob.export", "job.job.export", "job.cronjob.export"];
  const all = (["Job", "CronJob"] as const).flatMap((kind) => names.map((name) => nameOfPrepared("prod", { kind, name })));
  t.equal(new Set(all).size, all.length);
  t.equal(all[0], "prod/export");
});

t.test("a card says what the annotations say; the Job's own limits are the run's", async (t) => {
  const words = {
    title: "Export",
    description: "A month.",
    owner: "Shop, shop@example.com",
    confirm: "It replaces the last one.",
  };
  const { body, problems } = definition({ words, spec: { activeDeadlineSeconds: 90 } });
  t.same(problems, []);
  t.match(body, {
    name: "prod/export", title: "Export", description: "A month.", owner: { name: "Shop", contact: "shop@example.com" },
    image: "shop/work:1", groups: ["prod"], deadline: "90s", concurrency: { limit: 1, then: "refuse" },
    retries: { max: 3, on: ["never-started", "infrastructure", "failure"] },
    parameters: { required: ["confirm"], properties: { confirm: { type: "boolean", const: true, title: "It replaces the last one." } } },
  }); // biome-ignore format: a table
  t.notOk("env" in body);
  t.same(definition({ words: { owner: '{"name": "Shop"}' } }).body.owner, { name: "Shop" });
  t.match(definition({ words: { "while-running": "queue" } }).body.concurrency, { then: "queue" });
  t.equal(definition({ words: { "while-running": "allow" } }).body.concurrency, undefined);
});

const parameters = (properties: object): Readonly<Record<string, string>> => ({
  parameters: JSON.stringify({ type: "object", properties }),
});
const env = [{ name: "MONTH", value: "2030-01" }, { name: "ROWS", value: "10" }, { name: "KEY", valueFrom: { secretKeyRef: { name: "db", key: "k" } } }, { name: "SAID", value: "$(MONTH)" }]; // biome-ignore format: a list

t.test("the manifest's own value is a parameter's default, and nothing but a plain variable can be one", async (t) => {
  const { body, problems } = definition({
    container: { env },
    words: parameters({
      MONTH: { type: "string", pattern: "^\\d{4}-(0[1-9]|1[0-2])$" },
      ROWS: { type: "integer", minimum: 1 },
      SAID: { type: "string" },
    }),
  });
  t.same(problems, []);
  t.match(body.parameters?.properties, { MONTH: { default: "2030-01" }, ROWS: { default: 10 } });
  t.notOk("default" in (body.parameters?.properties?.["SAID"] ?? {}), "which the kubelet would expand");
  t.same("env" in body && body.env, {
    MONTH: "${{ parameters.MONTH }}",
    ROWS: "${{ parameters.ROWS }}",
    SAID: "${{ parameters.SAID }}",
  });
});

const expanded = { command: ["sh", "-c", "export $(SAID)"], env };
const deep = JSON.stringify({
  type: "object",
  properties: { A: { anyOf: [{ anyOf: [{ anyOf: [{ anyOf: [{ type: "string" }] }] }] }] } },
});
// biome-ignore format: a table
const WRONG: readonly { readonly name: string; readonly written: Written; readonly settings?: object; readonly says: RegExp }[] = [
  { name: "a misspelt annotation", written: { words: { titel: "x" } }, says: /longshore\.dev\/titel: did you mean longshore\.dev\/title\?/ },
  { name: "an owner that is none", written: { words: { owner: "{}" } }, says: /longshore\.dev\/owner/ },
  { name: "another word for while-running", written: { words: { "while-running": "maybe" } }, says: /"maybe", and none of forbid/ },
  { name: "parameters that are no JSON", written: { words: { parameters: "MONTH" } }, says: /parameters is no JSON/ },
  { name: "parameters that are no schema", written: { words: { parameters: '{"type": "list"}' } }, says: /type: object/ },
  { name: "a keyword that nobody judges", written: { words: parameters({ MONTH: { type: "string", minimun: 1 } }), container: { env } }, says: /minimun/ },
  { name: "more than 32 KiB of parameters", written: { words: { parameters: " ".repeat(32 * 1024 + 1) } }, says: /more than 32 KiB/ },
  { name: "parameters nested too deep", written: { words: { parameters: deep } }, says: /nested more than 8 deep/ },
  { name: "a parameter without a variable", written: { words: parameters({ YEAR: { type: "string" } }), container: { env } }, says: /"YEAR" is no variable of the manifest/ },
  { name: "a parameter in place of a Secret's key", written: { words: parameters({ KEY: { type: "string" } }), container: { env } }, says: /"KEY" is no variable of the manifest/ },
  { name: "a list as a parameter", written: { words: parameters({ MONTH: { type: "array", items: {} } }), container: { env } }, says: /must have a type of string/ },
  { name: "a pattern that may be matched for ever", written: { words: parameters({ MONTH: { type: "string", pattern: "^(a+)+$" } }), container: { env } }, says: /pattern that is not taken/ },
  { name: "a variable that stands in a command by way of another", written: { words: parameters({ MONTH: { type: "string" } }), container: expanded }, says: /\$\(MONTH\) in a command, so it needs an enum/ },
  { name: "many pods", written: { spec: { completions: 3, parallelism: 2 } }, says: /runs 3 pods/ },
  { name: "rules about failures", written: { spec: { podFailurePolicy: { rules: [] } } }, says: /`podFailurePolicy`, which a run cannot keep/ },
  { name: "an image that the policy does not allow", written: {}, settings: { policy: { images: ["other/*"] } }, says: /does not allow the image shop\/work:1/ },
  { name: "a Secret that the policy does not allow", written: { container: { envFrom: [{ secretRef: { name: "keys" } }] } }, says: /does not allow the Secret keys/ },
  { name: "a privileged container", written: { container: { securityContext: { privileged: true } } }, says: /does not allow a privileged container/ },
  { name: "an image with an expression", written: { container: { image: "${{parameters.MONTH}}" } }, says: /name of its image/ },
];
for (const { name, written, settings, says } of WRONG)
  t.test(`a card that cannot be run says so: ${name}`, async (t) =>
    t.match(definition(written, settings).problems.join("\n"), says),
  );

t.test("a variable in a command may be chosen from a list", async (t) => {
  const words = parameters({ MONTH: { enum: ["2030-01", "2030-02"] } });
  t.same(definition({ words, container: expanded }).problems, []);
});

t.test("each way by which a pod names a Secret, an account, a claim or a class is judged", async (t) => {
  const pod = {
    serviceAccountName: "worker",
    imagePullSecrets: [{ name: "pull" }],
    initContainers: [{ image: "init:1", env: [{ name: "A", valueFrom: { secretKeyRef: { name: "key" } } }] }],
    containers: [{ image: "a:1", envFrom: [{ secretRef: { name: "all" } }] }, { image: "b:1" }],
    volumes: [
      { secret: { secretName: "file" } }, { projected: { sources: [{ secret: { name: "part" } }] } }, { csi: { driver: "x", nodePublishSecretRef: { name: "csi" } } },
      { persistentVolumeClaim: { claimName: "data" } }, { ephemeral: { volumeClaimTemplate: { spec: { storageClassName: "fast" } } } },
    ],
  }; // biome-ignore format: a pod
  t.same(usesOfPod(pod), {
    image: "a:1", initImages: ["b:1", "init:1"], secrets: ["key", "all", "pull", "file", "csi", "part"], serviceAccount: "worker", token: true, claims: ["data"], storageClasses: ["fast"],
  }); // biome-ignore format: one value
  t.equal(usesOfPod({ serviceAccountName: "worker", automountServiceAccountToken: false }).token, undefined);
  t.equal(usesOfPod({ serviceAccountName: "default" }).serviceAccount, undefined);
});

// biome-ignore format: a table
const SECURITY: readonly (readonly [level: "baseline" | "restricted", pod: object, says: RegExp])[] = [
  ["baseline", { hostNetwork: true, containers: [work] }, /hostNetwork/],
  ["baseline", { volumes: [{ name: "x", hostPath: { path: "/" } }], containers: [work] }, /hostPath/],
  ["baseline", { containers: [work], initContainers: [{ ...work, securityContext: { privileged: true } }] }, /privileged/],
  ["baseline", { containers: [{ ...work, securityContext: { capabilities: { add: ["SYS_ADMIN"] } } }] }, /capability/],
  ["baseline", { containers: [{ ...work, ports: [{ containerPort: 80, hostPort: 80 }] }] }, /hostPort/],
  ["baseline", { containers: [work], securityContext: { seccompProfile: { type: "Unconfined" } } }, /seccomp/],
  ["baseline", { containers: [work], securityContext: { sysctls: [{ name: "kernel.msgmax", value: "1" }] } }, /sysctl/],
  ["restricted", { containers: [work] }, /allowPrivilegeEscalation/],
  ["restricted", { containers: [{ ...work, securityContext: { allowPrivilegeEscalation: false } }] }, /runAsNonRoot/],
];
for (const [podSecurity, pod, says] of SECURITY)
  t.test(`the level ${podSecurity} forbids ${says.source}`, async (t) => {
    t.match(notAllowedInPod({ podSecurity }, pod), says);
    t.equal(notAllowedInPod({ podSecurity: "privileged" }, pod), undefined);
  });

t.test("a pod that meets the level restricted is allowed there", async (t) => {
  const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
  const pod = {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [{ ...work, securityContext }],
  };
  t.equal(notAllowedInPod({ podSecurity: "restricted" }, pod), undefined);
});

const input = {
  installation: "main", group: { name: "prod", namespace: "jobs" }, run: { id: "a" }, step: { name: "main", image: "x", env: { MONTH: "$$(KEY)" } },
  attempt: 1, generation: 1, epoch: 1, name: "a-main-1", hashOfRun: "h", proof: "p", limits: DEFAULTS,
} as unknown as ManifestInput; // biome-ignore format: one value

interface MadeJob {
  readonly metadata: { readonly labels: object; readonly annotations: object; readonly finalizers: readonly string[] };
  readonly spec: {
    readonly backoffLimit: number;
    readonly template: { readonly metadata: { readonly labels: object }; readonly spec: Readonly<Record<string, unknown>> };
  };
}

t.test("the pod is as its author wrote it, but for values of parameters and restarts; the Job around it is ours", async (t) => {
  const pod = {
    priorityClassName: "low",
    initContainers: [{ ...work, name: "side", restartPolicy: "Always", env }],
    volumes: [{ name: "tmp", emptyDir: {} }],
  };
  const prepared = seen(jobOf({ pod, container: { env }, metadata: { labels: { team: "shop" } } }));
  const made = manifestFrom(prepared, input, {}) as MadeJob;
  t.match(made.metadata, {
    name: "a-main-1",
    labels: { team: "shop", "longshore.dev/step": "main" },
    finalizers: ["longshore.dev/unrecorded"],
  });
  t.equal(made.spec.backoffLimit, 0);
  t.match(made.spec.template.metadata.labels, {
    app: "shop",
    "app.kubernetes.io/instance": "shop",
    "longshore.dev/step": "main",
  });
  const [, ...others] = env;
  const valued = [{ name: "MONTH", value: "$$(KEY)" }, ...others];
  t.same(made.spec.template.spec, {
    restartPolicy: "Never", ...pod, initContainers: [{ ...work, name: "side", restartPolicy: "Always", env: valued }], containers: [{ ...work, env: valued }], automountServiceAccountToken: false,
  }); // biome-ignore format: one value
});

t.test("a pod that names no account has the token of default only where the policy allows it", async (t) => {
  const mounts = (pod: object, policy: object): unknown =>
    (manifestFrom(seen(jobOf({ pod })), input, policy) as MadeJob).spec.template.spec["automountServiceAccountToken"];
  const allowed = { serviceAccounts: ["*"], tokens: true };
  t.equal(mounts({}, {}), false);
  t.equal(mounts({}, allowed), undefined);
  t.equal(mounts({ serviceAccountName: "worker" }, allowed), undefined);
});
