/**
 * The manifests and alerts in deploy/, checked against the programs. No cluster applies them in these tests, so mistakes are
 * found here: a variable that is no setting, a probe that nobody answers, an alert on a metric that does not exist.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { GroupsFile } from "@longshore/kubernetes/groups.ts";
import { FENCE_MS } from "@longshore/domain/run/record.ts";
import { EARLIER } from "@longshore/domain/run/steps.ts";
import { confinement } from "@longshore/kubernetes/permissions/confine.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { environmentName, leaves } from "@longshore/runtime/config/shape.ts";
import { METRICS } from "@longshore/runtime/metrics.ts";
import { RecorderConfig } from "@longshore/recorder/config.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import t from "tap";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";

const deploy = resolve(import.meta.dirname, "../deploy");
const settings = { launcher: LauncherConfig, watcher: WatcherConfig, recorder: RecorderConfig, console: ConsoleConfig };
const PROGRAMS = ["launcher", "watcher", "recorder", "console"] as const;

const Deployment = z.object({
  kind: z.literal("Deployment"),
  spec: z.object({
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.object({
      metadata: z.object({ labels: z.record(z.string(), z.string()) }),
      spec: z.object({
        automountServiceAccountToken: z.literal(false),
        enableServiceLinks: z.literal(false, "variables of Services would stand among the settings"),
        terminationGracePeriodSeconds: z.number().min(30, "longer than the program's own 25 s"),
        securityContext: z.object({ runAsNonRoot: z.literal(true) }),
        containers: z.tuple([
          z.object({
            env: z.array(z.object({ name: z.string(), value: z.string() })),
            livenessProbe: z.object({ httpGet: z.object({ path: z.literal("/healthz") }) }),
            readinessProbe: z.object({ httpGet: z.object({ path: z.literal("/readyz") }) }),
            securityContext: z.object({ readOnlyRootFilesystem: z.literal(true), allowPrivilegeEscalation: z.literal(false) }),
            volumeMounts: z.array(z.object({ mountPath: z.string() })),
            resources: z.object({ limits: z.object({ memory: z.string().regex(/^\d+Mi$/) }) }),
          }),
        ]),
      }),
    }),
  }),
});

for (const name of PROGRAMS) {
  t.test(`the ${name}'s Deployment gives it settings that it has, and files that are mounted`, async (t) => {
    const text = readFileSync(join(deploy, `kubernetes/${name}.yaml`), "utf8");
    const [first] = parseAllDocuments(text).map((it): unknown => it.toJS());
    const { spec } = Deployment.parse(first);
    const [container] = spec.template.spec.containers;
    const known = leaves(settings[name]).map(({ path }) => environmentName(path));
    for (const variable of container.env) t.ok(known.includes(variable.name), `${variable.name} is a setting`);
    const files = container.env.filter((it) => it.name.endsWith("_FILE"));
    t.ok(
      files.length > 0 &&
        files.every(({ value }) => container.volumeMounts.some(({ mountPath }) => value.startsWith(`${mountPath}/`))),
      "its files are mounted",
    );
    t.match(spec.template.metadata.labels, spec.selector.matchLabels, "it selects its own pods");
    t.ok(
      existsSync(resolve(deploy, `../services/${name}/Dockerfile`)) && text.includes(`-f services/${name}/Dockerfile`),
      "its image can be built as it says",
    );
    const heap = /--max-old-space-size=(\d+)/.exec(readFileSync(resolve(deploy, `../services/${name}/Dockerfile`), "utf8"))?.[1];
    t.ok(
      Number(heap) * 2 <= Number.parseInt(container.resources.limits.memory, 10),
      "a heap that grows too large ends with V8's words, before the kernel kills the program without any",
    );
  });
}

const Mounted = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        volumes: z.array(
          z.object({
            name: z.string(),
            configMap: z.object({ name: z.string() }).optional(),
            secret: z.object({ secretName: z.string() }).optional(),
          }),
        ),
      }),
    }),
  }),
});

t.test(
  "on Kubernetes the settings name files that are mounted, from Secrets that deploy/README.md makes with just these",
  async (t) => {
    const page = readFileSync(join(deploy, "README.md"), "utf8");
    const { data, metadata } = z
      .object({ metadata: z.object({ name: z.string() }), data: z.record(z.string(), z.string()) })
      .parse(parse(readFileSync(join(deploy, "kubernetes/settings.yaml"), "utf8")));
    const made = mkdtempSync(join(tmpdir(), "longshore-deploy-"));
    t.teardown(() => rmSync(made, { recursive: true }));
    for (const [name, text] of Object.entries(data))
      writeFileSync(join(made, name), text.replaceAll("/run/secrets/longshore", made));
    const { groups } = readConfig(GroupsFile, { file: join(made, "groups.yaml"), env: {} });
    for (const name of PROGRAMS) {
      const [first] = parseAllDocuments(readFileSync(join(deploy, `kubernetes/${name}.yaml`), "utf8")).map((it): unknown =>
        it.toJS(),
      );
      const [container] = Deployment.parse(first).spec.template.spec.containers;
      const { volumes } = Mounted.parse(first).spec.template.spec;
      t.equal(volumes.find((it) => it.configMap)?.configMap?.name, metadata.name, "the settings are mounted");
      const given = container.env.filter((it) => it.name.endsWith("_FILE")).map(({ value }) => basename(value));
      const ofGroups = Object.values(name === "recorder" || name === "console" ? {} : groups).flatMap((it) => [
        it.cluster.caFile,
        (name === "launcher" ? it.launch : it.watch)?.tokenFile,
      ]);
      const secret = volumes.find((it) => it.secret)?.secret?.secretName;
      const [command = ""] = new RegExp(`kubectl .*create secret generic ${secret} (.*\\\\\\n)*.*`).exec(page) ?? [];
      const files = [...command.matchAll(/--from-file=config\/secrets\/(\S+)/g)].map(([, file = ""]) => file);
      t.same(files.toSorted(), [...given, ...ofGroups.map((it) => basename(it ?? ""))].toSorted(), `the Secret ${secret}`);
      for (const file of given) writeFileSync(join(made, file), "0123456789abcdef0123456789abcdef");
      const env = Object.fromEntries(container.env.map((it) => [it.name, it.value.replace("/run/secrets/longshore", made)]));
      t.match(readConfig<z.ZodType>(settings[name], { file: join(made, `${name}.yaml`), env }), {
        http: name === "console" ? { listen: "0.0.0.0:7373", health: "0.0.0.0:9090" } : { listen: "0.0.0.0:9090" },
      });
    }
  },
);

t.test("the namespace of the Jobs is created before anything is applied to it", async (t) => {
  const page = readFileSync(join(deploy, "README.md"), "utf8");
  const [created, applied] = [page.indexOf("kubectl create namespace batch"), page.indexOf("kubectl apply")];
  t.ok(created > 0 && created < applied, "kubectl create namespace batch");
});

t.test("deploy/README.md and README.md say how long an ended Job may keep its hold after a crash", async (t) => {
  t.equal(FENCE_MS, 10 * 60_000, "ten minutes is what the pages say");
  t.match(
    readFileSync(join(deploy, "README.md"), "utf8"),
    new RegExp(`After a crash\\.[^#]*up to ten minutes later, the ended Job keeps its hold[^#]*${EARLIER}`),
  );
  t.match(
    readFileSync(join(deploy, "../README.md"), "utf8"),
    /After a crash of a launcher an\s+ended Job may keep its hold for ten minutes/,
  );
});

t.test("the policy that confines the launcher is the one that `longshore rbac --confine` prints", async (t) => {
  const shown = parseAllDocuments(readFileSync(join(deploy, "kubernetes/confine.yaml"), "utf8")).map((it): unknown => it.toJS());
  t.same(shown, confinement("batch"));
});

t.test("every alert is about metrics that exist, and says what to do", async (t) => {
  const Alerts = z.object({
    groups: z.array(
      z.object({
        rules: z.array(
          z.object({ alert: z.string(), expr: z.string(), annotations: z.object({ summary: z.string(), action: z.string() }) }),
        ),
      }),
    ),
  });
  const rules = readdirSync(join(deploy, "prometheus")).flatMap((file) =>
    Alerts.parse(parse(readFileSync(join(deploy, "prometheus", file), "utf8"))).groups.flatMap((it) => it.rules),
  );
  t.ok(rules.length > 0, "there are alerts");
  for (const { alert, expr } of rules) {
    const named = expr.match(/longshore_[a-z_]+/g) ?? [];
    t.ok(named.length > 0 && named.every((it) => Object.hasOwn(METRICS, it)), `${alert}: ${named.join(", ")}`);
  }
});
